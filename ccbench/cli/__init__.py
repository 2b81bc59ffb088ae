"""The command line: every verb in its own file, and one border where errors become one line and an exit code.

Nothing here imports torch, pandas or a method's code: a verb imports what it needs when it is called. What a command
line is made of comes with the first one that needs it, so that `ccbench --version` is quick.
"""

import os
import sys
from collections.abc import Sequence

from ccbench.cli.streams import finish_streams, prepare_streams, say

__all__ = ["execute", "main"]


def main() -> None:
    """Run the command line of this process and leave with its exit code.

    OpenMP's threads wait for each other with the processor kept busy, for long. Beside other work that is many times
    slower than sleeping soon, so they do; GNU's library reads the variable when torch loads it.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    prepare_streams()
    sys.exit(finish_streams(execute(sys.argv[1:])))


def execute(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; see `command_line.run_command`."""
    if list(args) == ["--version"]:
        from ccbench import __version__

        say(__version__)
        return 0
    from ccbench.cli.command_line import run_command

    return run_command(args)
