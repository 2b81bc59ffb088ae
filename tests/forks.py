"""Real processes without their imports: forks of this one, which has imported what they use.

A new process takes some 13 seconds to import torch and diffusers.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from ccbench.cli import main


@contextmanager
def forked(
    work: Callable[..., Any], *args: Any, out: Path, err: Path, environment: Mapping[str, str] | None = None
) -> Iterator[BaseProcess]:
    """Give a process of one thread that does `work`, its streams in files; it is killed at the end.

    The process is a child of this one: `exitcode` is None until it has ended and -9 after SIGKILL.
    """
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_work, args=(work, args, out, err, dict(environment or {})))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def run_ccbench(*command: str) -> None:
    """Do what `ccbench COMMAND` does, to its exit code."""
    sys.argv = ["ccbench", *command]
    main()


def _work(work: Callable[..., Any], args: tuple[Any, ...], out: Path, err: Path, environment: dict[str, str]) -> None:
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ.update(environment)
    torch.set_num_threads(1)  # those of the parent are not in a fork
    work(*args)
