"""Whether a run still is what its record says: files hashed, scores computed and some images sampled again."""

from ccbench.verification.checks import Check, State, Verification
from ccbench.verification.images import RESAMPLED, resample
from ccbench.verification.run import verify_run

__all__ = ["RESAMPLED", "Check", "State", "Verification", "resample", "verify_run"]
