"""What scoring costs, beside torch-fidelity, torchmetrics, clean-fid and scipy on the same files and weights.

    python benchmarks/scoring.py [--part panel|frechet|resamples|memory] [--images 400] [--threads N] [--json FILE]

panel: FID, KID, CLIP-score and CLIP-image of 512 px PNGs, half of them synthetic and half real, with random weights of
InceptionV3 and CLIP ViT-B/16; each side in a process of its own, timed from opening its networks to its last number.
frechet: the distance alone, from features. resamples: a paired comparison of two methods. memory: peak of one pass.
CPU seconds are printed beside the wall clock's: on a machine that does other work too they compare better.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
from scoring_inputs import write_clip, write_images, write_inception, write_prompts

Row = dict[str, Any]
PARTS = ("panel", "frechet", "resamples", "memory")
WIDTH = 2048  # of InceptionV3's features
BATCH = 32


class Inputs(NamedTuple):
    """What all sides read: `made`, `real` and `prompts.json`, and the weights."""

    folder: Path

    def files(self, name: str) -> list[Path]:
        return sorted((self.folder / name).iterdir())

    @property
    def prompts(self) -> list[str]:
        prompts: list[str] = json.loads((self.folder / "prompts.json").read_text())
        return prompts

    @property
    def inception(self) -> Path:
        return self.folder / "inception.pth"

    @property
    def clip(self) -> Path:
        return self.folder / "clip.safetensors"


def ccbench_panel(inputs: Inputs) -> tuple[Callable[[], Row], Row]:
    from ccbench.features import open_encoder, open_text_encoder
    from ccbench.features.feature_cache import FeatureCache, default_folder
    from ccbench.features.image_pass import encode_files, encode_texts
    from ccbench.metrics.images.clip import clip_image, clip_score
    from ccbench.metrics.sets.frechet import frechet_distance
    from ccbench.metrics.sets.kernel import CUBIC, squared_mmd
    from ccbench.types import SilentProgress

    said: Row = {}

    def run() -> Row:
        cache = FeatureCache(default_folder())
        inception = open_encoder("inception", weights=inputs.inception)
        clip = open_text_encoder("clip-vit-b-16", weights=inputs.clip)
        said["path"] = f"{inception.path} ({inception.path_error:.1e}), {clip.path} ({clip.path_error:.1e})"
        made, real = (
            encode_files(inputs.files(name), [inception, clip], name, SilentProgress(), cache=cache).features
            for name in ("made", "real")
        )
        texts = encode_texts(clip, inputs.prompts, cache=cache)
        return {
            "FID": frechet_distance(made[inception.id], real[inception.id]),
            "KID": squared_mmd(made[inception.id], real[inception.id], CUBIC),
            "CLIP-score": float(clip_score(made[clip.id], texts).mean()),
            "CLIP-image": float(clip_image(made[clip.id], real[clip.id]).mean()),
        }

    return run, said


def torch_fidelity_panel(inputs: Inputs) -> tuple[Callable[[], Row], Row]:
    import torch_fidelity

    def run() -> Row:
        found = torch_fidelity.calculate_metrics(
            input1=str(inputs.folder / "made"),
            input2=str(inputs.folder / "real"),
            fid=True,
            kid=True,
            kid_subset_size=len(inputs.files("made")) // 2,
            feature_extractor_weights_path=str(inputs.inception),
            cuda=False,
            verbose=False,
            cache="CACHE" in os.environ,
            cache_root=os.environ.get("CACHE"),
            input1_cache_name="made" if "CACHE" in os.environ else None,
            input2_cache_name="real" if "CACHE" in os.environ else None,
        )
        return {"FID": found["frechet_inception_distance"], "KID": found["kernel_inception_distance_mean"]}

    return run, {}


def torchmetrics_panel(inputs: Inputs) -> tuple[Callable[[], Row], Row]:
    import torch
    from scoring_inputs import transformers_clip
    from torchmetrics.multimodal import CLIPScore

    def read(files: list[Path]) -> list[torch.Tensor]:
        return [torch.from_numpy(np.array(PIL.Image.open(file))).permute(2, 0, 1) for file in files]

    def run() -> Row:
        network = transformers_clip(inputs.clip)
        text, image = CLIPScore(lambda: network), CLIPScore(lambda: network)
        made, real, prompts = inputs.files("made"), inputs.files("real"), inputs.prompts
        with torch.inference_mode():
            for start in range(0, len(made), BATCH):
                some = read(made[start : start + BATCH])  # decoded once for both
                text.update(some, prompts[start : start + BATCH])
                image.update(some, read(real[start : start + BATCH]))
            return {"CLIP-score": float(text.compute()), "CLIP-image": float(image.compute())}

    return run, {}


def ccbench_memory(inputs: Inputs) -> tuple[Callable[[], Row], Row]:
    from ccbench.features import open_encoder
    from ccbench.features.image_pass import encode_files
    from ccbench.types import SilentProgress

    def run() -> Row:
        encoder = open_encoder("mini-clip")
        return {"n": len(encode_files(inputs.files("made"), [encoder], "made", SilentProgress()))}

    return run, {}


SIDES = {
    "ccbench": ccbench_panel,
    "torch-fidelity": torch_fidelity_panel,
    "torchmetrics": torchmetrics_panel,
    "memory": ccbench_memory,
}


def run_child(side: str, folder: Path) -> None:
    """Run one side in this process, which was started for it, and print what it found and took as JSON."""
    run, said = SIDES[side](Inputs(folder))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    wall, cpu = time.perf_counter(), _cpu_seconds()
    values = run()
    taken = {"s": time.perf_counter() - wall, "cpu_s": _cpu_seconds() - cpu}
    print(json.dumps({**taken, "peak_mib": _peak(), **said, **values}))


def start(side: str, folder: Path, threads: int, **environment: str) -> Row:
    command = [sys.executable, "-P", "-W", "ignore", __file__, "--child", side, "--folder", str(folder)]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    settings = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", **environment}
    began = time.perf_counter()
    done = subprocess.run(command, env=settings, stdout=subprocess.PIPE, text=True, check=True)
    row: Row = {"what": side, "process_s": time.perf_counter() - began, **json.loads(done.stdout.splitlines()[-1])}
    print(f"  {side}: {row['s']:.1f} s", file=sys.stderr)
    return row


def panel(folder: Path, images: int, threads: int) -> list[Row]:
    for seed, name in enumerate(("made", "real")):
        write_images(folder / name, images // 2, 512, seed)
    write_prompts(folder / "prompts.json", images // 2)
    write_inception(folder / "inception.pth")
    write_clip(folder / "clip.safetensors")
    ours, theirs = {"CCBENCH_HOME": str(folder / "home")}, {"CACHE": str(folder / "fidelity")}
    return [
        start("ccbench", folder, threads, **ours) | {"what": "ccbench, cold"},
        start("torch-fidelity", folder, threads, **theirs) | {"what": "torch-fidelity, cold"},
        start("torchmetrics", folder, threads) | {"what": "torchmetrics"},
        start("ccbench", folder, threads, **ours) | {"what": "ccbench, warm"},
        start("torch-fidelity", folder, threads, **theirs) | {"what": "torch-fidelity, its own cache"},
    ]


def frechet(counts: list[int]) -> list[Row]:
    import scipy.linalg
    import torch
    from cleanfid import fid as cleanfid
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    from ccbench.metrics.sets.frechet import frechet_distance, frechet_jackknife

    def sqrtm(x: np.ndarray, y: np.ndarray) -> float:
        s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        root = scipy.linalg.sqrtm(s1 @ s2)
        return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1) + np.trace(s2) - 2 * np.trace(root.real))

    def fidelity(x: np.ndarray, y: np.ndarray) -> float:
        statistics = [fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y)]
        return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])

    sides: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "ccbench, value": frechet_distance,
        "ccbench, value and jackknife": lambda x, y: (
            frechet_jackknife(x, y, np.arange(len(x)), np.arange(len(y))).value
        ),
        "torch-fidelity": fidelity,
        "clean-fid": lambda x, y: float(cleanfid.fid_from_feats(x, y)),
        "scipy sqrtm": sqrtm,
    }
    rng = np.random.default_rng(0)
    scale = (np.arange(1, WIDTH + 1) ** -0.6).astype(np.float32)
    rows = []
    for n in counts:
        x, y = (np.abs(rng.standard_normal((n, WIDTH), dtype=np.float32)) * scale + shift for shift in (0.0, 0.02))
        for name, function in sides.items():
            value, taken = _best(partial(function, x.astype(np.float64), y.astype(np.float64)))
            rows.append({"what": f"n = {n:,}: {name}", **taken, "distance": value})
            print(f"  {rows[-1]['what']}: {taken['s']:.2f} s", file=sys.stderr)
    return rows


def _best(function: Callable[[], float]) -> tuple[float, dict[str, float]]:
    """Return the value and the shortest time of five calls, of one where that takes more than a second."""
    calls: list[dict[str, float]] = []
    while not calls or (calls[0]["s"] < 1 and len(calls) < 5):
        began, cpu = time.perf_counter(), _cpu_seconds()
        value = function()
        calls.append({"s": time.perf_counter() - began, "cpu_s": _cpu_seconds() - cpu})
    return value, min(calls, key=lambda taken: taken["s"])


def resamples() -> list[Row]:
    from ccbench.metrics.statistics.paired import compare_frechet

    first, second, reference = np.random.default_rng(0).standard_normal((3, 100, WIDTH))
    began, cpu = time.perf_counter(), _cpu_seconds()
    found = compare_frechet(first, second, reference, 0, permutations=1000)
    taken = {"s": time.perf_counter() - began, "cpu_s": _cpu_seconds() - cpu}
    return [{"what": "1,000 paired exchanges and the interval, n = 100", **taken, "difference": found.value}]


def memory(folder: Path, threads: int, counts: list[int]) -> list[Row]:
    rows = []
    for n in counts:
        write_images(folder / f"n{n}" / "made", n, 128, 0)
        home = {"CCBENCH_HOME": str(folder / "home")}
        rows.append(start("memory", folder / f"n{n}", threads, **home) | {"what": f"one pass, n = {n:,}, 128 px"})
    return rows


def show(rows: list[Row], against: dict[str, float]) -> None:
    """Print a markdown table, the values behind the seconds, and `against`: what -> seconds that a row is over."""
    heads = list(dict.fromkeys(key for row in rows for key in row if key not in ("what", "path")))
    print("|".join(["", " ", *(f" {head} " for head in heads), ""]) + "\n" + "|---" + "|---:" * len(heads) + "|")
    for row in rows:
        print("|".join(["", f" {row['what']} ", *(f" {_number(row.get(head))} " for head in heads), ""]))
    for row in rows:
        if "path" in row:
            print(f"\n{row['what']}: {row['path']}")
    for name, ratio in against.items():
        print(f"\n{name}: {ratio:.1f}x")


def panel_ratios(rows: list[Row]) -> dict[str, float]:
    cold, fidelity, metrics, warm, cached = rows
    ratios = {}
    for kind, name in (("s", "wall"), ("cpu_s", "CPU"), ("process_s", "whole process")):
        peers = fidelity[kind] + metrics[kind]
        ratios[f"peers over ccbench cold, {name}"] = peers / cold[kind]
        ratios[f"peers over ccbench warm, {name}"] = peers / warm[kind]
        ratios[f"peers with torch-fidelity's cache over ccbench warm, {name}"] = (cached[kind] + metrics[kind]) / warm[
            kind
        ]
    return ratios


def frechet_ratios(rows: list[Row]) -> dict[str, float]:
    ours = {row["what"].split(":")[0]: row["s"] for row in rows if row["what"].endswith("value")}
    return {
        f"{row['what']} over ccbench's value": row["s"] / ours[row["what"].split(":")[0]]
        for row in rows
        if "ccbench" not in row["what"]
    }


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"


def _peak() -> float:
    # MiB. Not ru_maxrss, which starts at that of the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def _cpu_seconds() -> float:
    # Of worker processes too, which torch-fidelity decodes in.
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--small", action="store_true", help="tiny sizes: does the script work")
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        run_child(args.child, args.folder)
        return
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for part in args.part or PARTS:
            ratios: dict[str, float] = {}
            if part == "panel":
                rows = panel(folder, 8 if args.small else args.images, args.threads)
                ratios = panel_ratios(rows)
            elif part == "frechet":
                rows = frechet([20] if args.small else [100, 1000, 20000])
                ratios = frechet_ratios(rows)
            elif part == "resamples":
                rows = resamples()
            else:
                rows = memory(folder, args.threads, [10, 100] if args.small else [100, 1000, 10000])
            found[part] = [*rows, {"ratios": ratios}]
            print(f"\n## {part}\n")
            show(rows, ratios)
    if args.json:
        args.json.write_text(json.dumps({"threads": args.threads, "images": args.images, **found}, indent=1))


if __name__ == "__main__":
    main()
