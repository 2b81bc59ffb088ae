"""How long a first run takes and where the time goes: `ccbench run --quick`, and the whole run, as a user types them.

Each starts with an empty CCBENCH_HOME in an empty folder. The parts are read from the times of the lines on stderr.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

PARTS = (  # what a line on stderr ends
    ("start", re.compile(r"train: \d")),
    ("encoding the training images", re.compile(r"encoding training images .* took")),
    ("training", re.compile(r"train: done")),
    ("sampling", re.compile(r"synthesize: done")),
    ("reference segmenter", re.compile(r"reference segmenter: ")),
    ("scoring", re.compile(r"score: done")),
    ("pictures, report and end", None),
)


def measure(arguments: list[str]) -> dict[str, float]:
    """Run ccbench with some arguments and return the seconds of each part, and of all.

    Raises:
        CalledProcessError: it failed.
    """
    with TemporaryDirectory() as folder:
        environment = {**os.environ, "CCBENCH_HOME": str(Path(folder, "home"))}
        command = [sys.executable, "-m", "ccbench", "run", *arguments]
        begin = last = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        seconds, ahead = dict[str, float](), list(PARTS)
        for line in process.stderr:
            sys.stderr.write(line)
            at = next((number for number, (_, ends) in enumerate(ahead) if ends and ends.match(line)), None)
            if at is not None:
                now = time.perf_counter()
                seconds[ahead[at][0]] = now - last
                last, ahead = now, ahead[at + 1 :]
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)
        end = time.perf_counter()
    return {**seconds, PARTS[-1][0]: end - last, "all": end - begin}


def main() -> None:
    """Measure both runs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="ccis-diff")
    parser.add_argument("--only", choices=("quick", "whole"), help="one of the two")
    arguments = parser.parse_args()
    wanted = {"quick": ["--quick"], "whole": []}
    if arguments.only:
        wanted = {arguments.only: wanted[arguments.only]}
    found = {name: measure(["--method", arguments.method, *options]) for name, options in wanted.items()}
    print(f"| {arguments.method}, seconds | " + " | ".join(found) + " |\n|---|" + "---:|" * len(found))
    for part in (*(name for name, _ in PARTS), "all"):
        print(f"| {part} | " + " | ".join(f"{one[part]:.0f}" if part in one else "-" for one in found.values()) + " |")


if __name__ == "__main__":
    main()
