"""Whether a run still is what its record says: files hashed, scores computed and some images sampled again."""

from ccbench.pipeline.verification.checks import Check, State, Verification
from ccbench.pipeline.verification.resampled import RESAMPLED, resample
from ccbench.pipeline.verification.run_verification import verify_run

__all__ = ["RESAMPLED", "Check", "State", "Verification", "resample", "verify_run"]
