"""What a command line is made of: its verbs, each loaded when it is asked for, and the border of errors."""

import errno
import importlib
import os
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from ccbench.base.process_ranks import process_rank
from ccbench.base.signals import INTERRUPTED, TERMINATED, Terminated, handled_signals
from ccbench.cli.streams import say
from ccbench.errors import CcbenchError

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC)

_VERBS = (
    *("run", "status", "train", "synthesize", "score", "compare", "ablate", "verify", "report", "doctor"),
    *("methods", "protocols", "data", "segment", "cache", "leaderboard"),
)
"""In the order of the help; each is a module here, with `app`, or with a function of its name."""


class _Verbs(TyperGroup):
    """The group of all verbs: a module is imported when its verb is asked for, and the help reads docstrings alone."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = dict.fromkeys(_VERBS)  # type: ignore[assignment]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.commands and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        self.commands = {verb: TyperCommand(verb, help=getattr(_module(verb), verb).__doc__) for verb in _VERBS}
        super().format_commands(ctx, formatter)


def _module(verb: str) -> Any:
    return importlib.import_module(f"ccbench.cli.{verb}")


def _load(verb: str) -> Any:
    module = _module(verb)
    parent = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    if hasattr(module, "app"):
        parent.add_typer(module.app, name=verb)
    else:
        parent.command(verb)(getattr(module, verb))
    return get_group(parent).commands[verb]


app = typer.Typer(
    name="ccbench",
    cls=_Verbs,
    add_completion=False,
    rich_markup_mode=None,  # plain help: drawing boxes takes longer than the rest of `ccbench --help`
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """The referee for controlled colonoscopy image generation: one protocol, every method, numbers you can re-run.

    Start with: ccbench run --method ccis-diff --quick
    """
    if version:
        from ccbench import __version__

        say(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())


def run_command(args: Sequence[str]) -> int:
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
