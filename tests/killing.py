"""Kills a ccbench command again and again at random moments, until it ends, and hashes what it has left.

A process of its own: `python killing.py FOLDER ROUNDS COMMAND...` with COMMAND for the protocol `tiny`. Every attempt
is a fork of this process, which has imported everything, so that a kill falls into the work and not into imports.
Prints JSON: how often it was killed, and the files that differ from those of one uninterrupted attempt but for times.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

TIMES = {
    *(
        "started",
        "finished",
        "seconds",
        "train_seconds",
        "sample_seconds",
        "seconds_per_image",
        "peak_memory_mb",
        "env",
    ),
    *("images_sampled", "cost"),  # images of an attempt that was cut off were made twice
}
MOST = 60  # kills; then the command may end


def prepare(folder: Path) -> None:
    """Import what commands use, and make the protocol `tiny` known: 64 px phantoms on a random backbone."""
    import torch

    torch.set_num_threads(1)
    import ccbench.ablation.runs
    import ccbench.cli.ablate
    import ccbench.cli.run
    import ccbench.comparison
    import ccbench.diffusion.trainer
    import ccbench.downstream.segmentation
    import ccbench.downstream.training
    import ccbench.features
    import ccbench.scoring.runs
    import ccbench.verification
    from ccbench.plugin import TrainingSettings
    from ccbench.protocols import PROTOCOLS, Protocol
    from tiny_backbone import SIDE, write_tiny_backbone

    backbone = folder / "backbone"
    if not backbone.is_dir():
        write_tiny_backbone(backbone)
    PROTOCOLS["tiny"] = Protocol(
        name="tiny",
        title="for tests",
        version=1,
        data="phantom",
        needs_data_root=False,
        image_size=SIDE,
        backbone=str(backbone),
        training=TrainingSettings(max_steps=12, batch_size=2, learning_rate=1e-3, checkpoint_every=3),
        sampling={"num_inference_steps": 2, "guidance_scale": 2.0},
        set_encoder="lite0",
        text_encoder="mini-clip",
    )

    def in_this_process(work: Any, items: Any, size: Any, devices: Any, title: str, **named: Any) -> None:
        work(items, devices[0], named["progress"], named["note"])

    ccbench.downstream.segmentation.work_in_processes = in_this_process
    ccbench.ablation.runs.work_in_processes = in_this_process


def attempt(command: list[str], seconds: float | None) -> int | None:
    """Run a command in a fork and return its exit code, or None where it was killed after so many seconds."""
    child = os.fork()
    if child == 0:
        from ccbench.cli import execute

        sink = os.open("attempt.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        os._exit(execute(command))
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.001)


def plain(value: Any) -> Any:
    """Return JSON without times."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in TIMES}
    return [plain(one) for one in value] if isinstance(value, list) else value


def hashes(folder: Path) -> dict[str, str]:
    """Return sha256 of every file under a folder; of JSON what is no time, and pages of times not at all."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if name.endswith((".lock", "README.md", "log.txt")) or "/shared/" in name:
            continue
        data = file.read_bytes()
        if name.endswith("scorecard.json"):
            kept = plain(json.loads(data))
            kept.pop("files")  # the hash of a record with times
            data = json.dumps(kept).encode()
        elif name.endswith(".json"):
            data = json.dumps(plain(json.loads(data))).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def main() -> None:
    """See the module."""
    folder, rounds, command = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.environ["CCBENCH_HOME"] = str(folder / "home")
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    prepare(folder)
    begin = time.monotonic()
    if attempt(command, None) != 0:
        print(json.dumps({"error": Path("attempt.log").read_text()[-2000:]}))
        return
    lasted = time.monotonic() - begin
    expected, rng, kills, differ = hashes(Path("runs")), random.Random(0), 0, set()
    for _ in range(rounds):
        shutil.rmtree("runs")
        shutil.rmtree("home", ignore_errors=True)
        killed, code = 0, None
        while code is None:
            code = attempt(command, rng.uniform(0, 0.5) * lasted if killed < MOST else None)
            killed += code is None
        found = hashes(Path("runs"))
        differ |= {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}
        differ |= {f"exit code {code}"} if code else set()
        kills += killed
    print(json.dumps({"kills": kills, "files": len(expected), "differ": sorted(differ), "seconds": lasted}))


if __name__ == "__main__":
    main()
