"""The errors a user can meet; each carries the exit code of the command that met it.

A message is one line that says where, what was found, what was wanted and what to do.
"""


class CcbenchError(Exception):
    """Base of every error that ccbench raises on purpose."""

    exit_code = 1


class UsageError(CcbenchError):
    """A wrong option, key, value or plugin: the command or its configuration must change."""

    exit_code = 2


class MissingError(CcbenchError):
    """A package or a weights file that is not installed on this machine."""

    exit_code = 3


class DataError(CcbenchError):
    """Images, masks or records that are missing, corrupt or do not fit together."""

    exit_code = 4


class VerificationError(CcbenchError):
    """A record, score or rendered board that differs from what it is recomputed to be."""

    exit_code = 5
