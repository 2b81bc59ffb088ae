"""The command line: every verb in its own file, and one border where errors become one line and an exit code.

Nothing here imports torch, pandas or a method's code: a verb imports what it needs when it is called.
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from ccbench.base.environment import process_rank
from ccbench.base.signals import INTERRUPTED, TERMINATED, Terminated, handled_signals
from ccbench.cli import (
    ablate,
    cache,
    compare,
    data,
    doctor,
    leaderboard,
    methods,
    protocols,
    report,
    run,
    score,
    segment,
    synthesize,
    train,
    verify,
)
from ccbench.cli.streams import finish_streams, prepare_streams, say
from ccbench.errors import CcbenchError

__all__ = ["app", "execute", "main"]

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC)

app = typer.Typer(
    name="ccbench",
    add_completion=False,
    rich_markup_mode=None,  # plain help: drawing boxes takes longer than the rest of `ccbench --help`
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("run")(run.run)
app.command("train")(train.train)
app.command("synthesize")(synthesize.synthesize)
app.command("score")(score.score)
app.command("compare")(compare.compare)
app.command("ablate")(ablate.ablate)
app.command("verify")(verify.verify)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)
app.add_typer(methods.app, name="methods")
app.add_typer(protocols.app, name="protocols")
app.add_typer(data.app, name="data")
app.add_typer(segment.app, name="segment")
app.add_typer(cache.app, name="cache")
app.add_typer(leaderboard.app, name="leaderboard")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """The referee for controlled colonoscopy image generation: one protocol, every method, numbers you can re-run.

    Start with: ccbench run --method ccis-diff
    """
    if version:
        from ccbench import __version__

        say(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    prepare_streams()
    sys.exit(finish_streams(execute(sys.argv[1:])))


def execute(args: Sequence[str]) -> int:
    """Run one command line and return its exit code; every failure is one line on stderr.

    0 done, 1 finished with failures or an unexpected error, 2 usage, 3 something missing on this machine, 4 data,
    5 verification or drift, 130 interrupted, 143 ended by SIGTERM.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours say what is loading and how long it takes
    try:
        with handled_signals() as signals:
            code = app(args=list(args), prog_name="ccbench", standalone_mode=False)
    except CcbenchError as error:
        return _say(str(error), error.exit_code)
    except typer.TyperException as error:
        return _say(f"{error.format_message().rstrip('.')}{_help_hint(error)}", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Terminated:
        code = TERMINATED
    except Exception as error:  # noqa: BLE001  the one border where a traceback becomes a line
        return _say_unexpected(error)
    if code in (INTERRUPTED, TERMINATED):
        ended = "ended by SIGTERM" if code == TERMINATED else "interrupted"
        kept = signals.kept or ["what was finished is kept, what was under way is not"]
        return _say("; ".join([ended, *kept, "the same command goes on"]), code)
    return code if isinstance(code, int) else 0


def _help_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see `{context.command_path} --help`)" if context is not None else ""


def _say_unexpected(error: Exception) -> int:
    if os.environ.get("CCBENCH_DEBUG") == "1":
        traceback.print_exception(error)
        return CcbenchError.exit_code
    if isinstance(error, OSError) and error.errno in _NOT_ALLOWED:
        return _say(f"{error.filename or 'file system'}: {error.strerror}; choose another folder or free the disk", 2)
    return _say(
        f"unexpected {type(error).__name__}: {error}; this is a fault of ccbench or of a plugin, "
        "and CCBENCH_DEBUG=1 before the same command shows where",
        CcbenchError.exit_code,
    )


def _say(message: str, code: int) -> int:
    rank = process_rank()
    say(f"{f'process {rank}: ' if rank else ''}error: {' '.join(message.split())}", error=True)
    return code
