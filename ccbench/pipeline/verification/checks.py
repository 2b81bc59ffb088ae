"""What one look at a run found, and all that was found in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ccbench.errors import VerificationError
from ccbench.runs.scorecard import Scorecard
from ccbench.types import Record

State = Literal["not checked", "match", "within tolerance", "drift"]

_ORDER: tuple[State, ...] = ("not checked", "match", "within tolerance", "drift")


class Check(Record):
    """One thing that was looked at.

    Attributes:
        detail: what was found and what was wanted, or why it was not checked; empty for a match.
    """

    what: str
    state: State
    detail: str = ""


@dataclass(frozen=True)
class Verification:
    """All that was looked at in one run.

    Attributes:
        card: the scores as computed anew; None where the files already speak against the run.
    """

    run_id: str
    checks: list[Check]
    card: Scorecard | None = None

    @property
    def state(self) -> State:
        """The worst of all; what was not checked speaks neither for a run nor against it."""
        return worst(*self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return the checks as plain JSON values."""
        checks = [check.model_dump(mode="json") for check in self.checks]
        return {"run_id": self.run_id, "checks": checks, "state": self.state}

    def require_no_drift(self, path: Path) -> None:
        """Raise `VerificationError` about the first drift of the run in `path`, where there is one."""
        for check in self.checks:
            if check.state == "drift":
                raise VerificationError(f"{path}: {check.what}: {check.detail}")


def worst(*checks: Check) -> State:
    """Return the worst state of some checks; of none, that nothing was checked."""
    return max((check.state for check in checks), key=_ORDER.index, default="not checked")


def equal(what: str, found: object, wanted: object) -> Check:
    """Return the check of something that is the same on every machine."""
    same = found == wanted
    return Check(
        what=what, state="match" if same else "drift", detail="" if same else f"found {found}, wanted {wanted}"
    )
