"""Interrupts a ccbench command, lets it go on, and compares what it has left with one that was not interrupted.

A process of its own, a fork of a test's or `python interrupting.py HOW FOLDER TIMES COMMAND...`. `kill` kills (SIGKILL)
at random moments, TIMES at most, until the command ends; `full` runs it on a disk of too few bytes, then on one of
enough, TIMES in all, and must be started where it may mount one (`unshare -rm`). COMMAND is for the protocol `tiny`.
Every attempt is a fork of this process, which has imported everything, so that an interruption falls into the work and
not into imports. Prints JSON: how often it was interrupted, the files that differ but for times, and the last line of
each attempt that a full disk ended.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
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


def prepare(folder: Path) -> None:
    """Import what commands use, and make the protocol `tiny` known: 64 px phantoms on a random backbone."""
    import torch

    torch.set_num_threads(1)

    import ccbench.cli.ablate
    import ccbench.cli.run
    import ccbench.comparison
    import ccbench.data.phantom.phantom_source
    import ccbench.diffusion.branch_training
    import ccbench.features
    import ccbench.pipeline.run_scorer
    import ccbench.pipeline.verification
    import ccbench.segmenters.segmenter_training
    import ccbench.studies.ablation.variant_runs
    import ccbench.studies.segmentation.segmentation_study
    from ccbench.plugins.contract import TrainingSettings
    from ccbench.protocols.protocol import PROTOCOLS, Protocol
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
        training=TrainingSettings(max_steps=6, batch_size=2, learning_rate=1e-3, checkpoint_every=2),
        sampling={"num_inference_steps": 2, "guidance_scale": 2.0},
        set_encoder="lite0",
        text_encoder="mini-clip",
    )

    ccbench.data.phantom.phantom_source.COUNTS.update(train=12, validation=4, test=6)
    for module in (ccbench.pipeline.run_scorer, ccbench.studies.ablation.variant_runs):
        module.find_reference_segmenter = lambda *_: "none in a test"

    def in_this_process(work: Any, items: Any, size: Any, devices: Any, title: str, **named: Any) -> None:
        work(items, devices[0], named["progress"], named["note"])

    ccbench.studies.segmentation.segmentation_study.work_in_processes = in_this_process
    ccbench.studies.ablation.variant_runs.work_in_processes = in_this_process


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
        if name.endswith((".lock", "README.md")) or "/shared/" in name:
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


def kill(command: list[str], rng: random.Random, lasted: float, most: int) -> int:
    """Kill the command until it ends, and return how often: the first times early, for trainings are short."""
    kills = 0
    while True:
        longest = (0.1 if kills < min(4, most - 1) else 0.5) * lasted
        code = attempt(command, rng.uniform(0, longest) if kills < most else None)
        if code is not None:
            check(code == 0, f"exit code {code}: {last_line()}")
            return kills
        kills += 1


def fill(command: list[str], size: int, said: list[str]) -> int:
    """Run the command on a disk of so many bytes, note what it says, and run it again on a larger one."""
    Path("runs").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "runs"], check=True)
    code = attempt(command, None)
    said.append(f"{code}: {last_line()}")
    subprocess.run(["mount", "-o", "remount,size=1g", "runs"], check=True)
    code = attempt(command, None)
    check(code == 0, f"exit code {code}: {last_line()}")
    return 1


def last_line() -> str:
    """Return the last line that an attempt has said."""
    return Path("attempt.log").read_text().rstrip().rpartition("\n")[2]


def check(fine: bool, message: str) -> None:
    """End with a message where something is not as it must be."""
    if not fine:
        print(json.dumps({"error": message}))
        sys.exit(1)


def interrupt(how: str, folder: Path, times: int, command: list[str]) -> None:
    """See the module."""
    os.environ["CCBENCH_HOME"] = str(folder / "home")
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    prepare(folder)
    begin = time.monotonic()
    check(attempt(command, None) == 0, last_line())
    lasted, expected = time.monotonic() - begin, hashes(Path("runs"))
    size = sum(file.stat().st_size for file in Path("runs").rglob("*") if file.is_file())
    rng, interrupted, said, differ = random.Random(0), 0, list[str](), set[str]()
    for number in range(times if how == "full" else 1):
        shutil.rmtree("runs")
        shutil.rmtree("home", ignore_errors=True)
        if how == "kill":
            interrupted += kill(command, rng, lasted, times)
        else:
            interrupted += fill(command, int(size * (number + 0.5) / times), said)
        found = hashes(Path("runs"))
        differ |= {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}
        if how == "full":
            subprocess.run(["umount", "runs"], check=True)
    print(json.dumps({"interrupted": interrupted, "files": len(expected), "differ": sorted(differ), "said": said}))


if __name__ == "__main__":
    interrupt(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
