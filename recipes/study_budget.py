"""How many steps a control branch needs, and which guidance, on a protocol's validation conditions.

    python recipes/study_budget.py --protocol phantom-128 [--method controlnet] [--steps 2000] [--data-root DIR]

Trains one method once and looks at its checkpoints: the mean training loss since the last one, fd_lite0 of the
samples to the training images, and whether there is a polyp where the mask says (a segmenter trained on real images
only, small_segmenter.py). At the last checkpoint it also walks a grid of guidance and conditioning scales. Writes a
markdown table and a contact sheet under --output. A protocol's budget and sampling are chosen from it, on validation
data and once for all methods.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ccbench.base.assets import find_backbone
from ccbench.base.seeding import derive_seed
from ccbench.data.split import open_split
from ccbench.diffusion.training_loop import STATE, WEIGHTS
from ccbench.features import open_encoder
from ccbench.metrics.sets.frechet import frechet_distance
from ccbench.plugins.contract import LoadContext, TrainContext
from ccbench.plugins.registry import find_method
from ccbench.protocols.config import resolve_config
from ccbench.protocols.protocol import find_protocol
from ccbench.tables.markdown import markdown_table
from ccbench.tables.pictures import SheetCell, draw_contact_sheet
from ccbench.types import ProgressStep, SilentProgress
from small_segmenter import SmallSegmenter, dice, train_segmenter

MISSED_BELOW = 0.1  # Dice
EVERY = 500


class CheckpointKeeper(SilentProgress):
    """A progress bar that keeps a copy of every checkpoint that it sees in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def step(self, description: str, total: int) -> ProgressStep:
        keep = self._keep

        class Step:
            def __enter__(self) -> "Step":
                return self

            def __exit__(self, *error: object) -> None:
                pass

            def advance(self, amount: int = 1, note: str = "") -> None:
                keep()

        return Step()

    def _keep(self) -> None:
        state = self._folder / STATE
        if not state.exists():
            return
        with safe_open(state, "pt") as file:
            target = self._folder.parent / f"step-{file.metadata()['step']}"
            if target.exists():
                return
        tensors = load_file(state)
        weights = {key.removeprefix("weights/"): value for key, value in tensors.items() if key.startswith("weights/")}
        target.mkdir()
        save_file(weights, target / WEIGHTS)
        print(f"kept {target}", flush=True)


class Study:
    """What does not change between checkpoints: the validation conditions and the networks that judge."""

    def __init__(self, args: argparse.Namespace) -> None:
        protocol = find_protocol(args.protocol)
        self.method, self.protocol = find_method(args.method), protocol
        sets = [f"training.max_steps={args.steps}", f"training.checkpoint_every={EVERY}"]
        self.config = resolve_config(self.method, protocol, sets=sets, seed=0)
        self.train = open_split(protocol, "train", args.data_root).pairs
        validation = open_split(protocol, "validation", args.data_root).pairs
        self.pairs = [validation[i] for i in range(min(args.n, len(validation)))]
        self.backbone = find_backbone(protocol.backbone)
        self.encoder = open_encoder(protocol.set_encoder)
        reference = [self.train[i].image for i in range(len(self.train))]
        self.reference = self.encoder.encode_images(reference)
        self.segmenter: SmallSegmenter = train_segmenter(self.train)

    def judge(self, images: list[Any]) -> tuple[str, str, str]:
        """Return fd, mean Dice and the share of missing polyps, as text."""
        found = dice(self.segmenter.segment(images), [pair.condition.mask for pair in self.pairs])
        fd = frechet_distance(self.encoder.encode_images(images), self.reference)
        return f"{fd:.1f}", f"{found.mean():.3f}", f"{np.mean(found < MISSED_BELOW):.2f}"

    def sample(self, checkpoint: Path, **sampling: float) -> list[Any]:
        """Sample one image per validation condition."""
        settings = self.config.settings.model_copy(update=sampling)
        generator = self.method.load(LoadContext(settings, self.backbone, self.protocol.image_size, checkpoint))
        conditions = [pair.condition for pair in self.pairs]
        return generator.generate(conditions, [derive_seed("study", pair.id) for pair in conditions])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", default="phantom-128")
    parser.add_argument("--method", default="controlnet")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--n", type=int, default=64, help="validation conditions")
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.5, 3.0, 5.0])
    parser.add_argument("--conditioning", type=float, nargs="*", default=[1.0, 1.5, 2.5])
    parser.add_argument("--output", type=Path, default=Path("work/study"))
    args = parser.parse_args()
    study = Study(args)
    checkpoint = args.output / "checkpoint"
    if not (checkpoint / WEIGHTS).exists():
        context = TrainContext(
            pairs=study.train,
            config=study.config.settings,
            training=study.config.training,
            backbone=study.backbone,
            image_size=study.protocol.image_size,
            checkpoint=checkpoint,
            seed=0,
            progress=CheckpointKeeper(checkpoint),
        )
        study.method.train(context)
        shutil.copytree(checkpoint, args.output / f"step-{args.steps}", dirs_exist_ok=True)
    loss = np.loadtxt(checkpoint / "loss.csv", delimiter=",", skiprows=1)
    header = ("steps", "loss since", "guidance", "conditioning", "fd_lite0", "Dice to the mask", "missing")
    rows = [("real", "", "", "", *study.judge([pair.image for pair in study.pairs]))]
    shown = []
    usual = study.config.settings
    for steps in range(EVERY, args.steps + 1, EVERY):
        seen = loss[(loss[:, 0] > steps - EVERY) & (loss[:, 0] <= steps), 1].mean()
        images = study.sample(args.output / f"step-{steps}")
        scales = (f"{usual.guidance_scale:g}", f"{usual.conditioning_scale:g}")
        rows.append((str(steps), f"{seen:.4f}", *scales, *study.judge(images)))
        print(rows[-1], flush=True)
    for guidance in args.guidance:
        for conditioning in args.conditioning:
            sampling = {"guidance_scale": guidance, "conditioning_scale": conditioning}
            images = study.sample(args.output / f"step-{args.steps}", **sampling)
            rows.append((str(args.steps), "", f"{guidance:g}", f"{conditioning:g}", *study.judge(images)))
            print(rows[-1], flush=True)
            shown += [
                SheetCell(image, pair.condition.mask, f"guidance {guidance:g}, conditioning {conditioning:g}")
                for image, pair in zip(images[:4], study.pairs, strict=False)
            ]
    (args.output / "study.md").write_text(markdown_table(header, rows, right=range(len(header))))
    draw_contact_sheet(shown, args.output / "scales.png", f"{args.method} on {args.protocol}, {args.steps} steps")


if __name__ == "__main__":
    main()
