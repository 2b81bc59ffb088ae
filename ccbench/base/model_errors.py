"""Why a pydantic model refused what it was given, in one line."""

from pydantic import ValidationError

from ccbench.base.text import one_line


def first_problem(error: ValueError) -> str:
    """Return the place of the first value that a model refused, and why; of any other error its message."""
    if not isinstance(error, ValidationError):
        return one_line(error)
    problem = error.errors()[0]
    place, reason = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
    return one_line(f"{place}: {reason}" if place else reason)
