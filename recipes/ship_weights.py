"""Copy what the recipes trained into `ccbench/weights/`, each folder with its card.

    python recipes/ship_weights.py sd-mini      # from work/unet/sd-mini
    python recipes/ship_weights.py mini-clip    # from work/mini-clip/mini-clip
    python recipes/ship_weights.py reference-segmenter  # from work/reference-segmenter/shipped

The card holds title, data, licence, recipe, held-out figures and the sha256 of every file, which is checked at load.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from ccbench.base.images import sha256_file

WEIGHTS = Path(__file__).parents[1] / "ccbench" / "weights"
WORK = Path("work")
DATA = [
    "8,000 rendered phantoms (ccbench.data.phantom.render, recipe seeds, none of any protocol)",
    "1,321 frames of PolypGen (Ali et al., A multi-centre polyp detection and segmentation dataset for "
    "generalisability assessment, Scientific Data 2023, CC BY 4.0), squashed and cropped; 128 frames held out",
]
CARDS: dict[str, dict[str, Any]] = {
    "sd-mini": {
        "title": "A small Stable Diffusion of phantoms and colonoscopy frames, SD 1.5's topology, 128 px",
        "recipe": ["recipes/train_vae.py", "recipes/train_unet.py", "recipes/measure_weights.py"],
        "figures": ["vae/figures.json", "unet/figures.json", "unet/measured.json"],
        "source": "unet/sd-mini",
    },
    "mini-clip": {
        "title": "A small CLIP of phantoms, colonoscopy frames and their captions, 128 px",
        "recipe": ["recipes/train_mini_clip.py"],
        "figures": ["mini-clip/figures.json"],
        "source": "mini-clip/mini-clip",
        "third_party": "image tower started from EfficientNet-Lite0's ImageNet weights, Apache-2.0",
    },
    "reference-segmenter": {
        "title": "Semantic FPN on phantom-128's training images: the segmenter that mask fidelity is measured with",
        "recipe": ["recipes/train_reference_segmenter.py"],
        "figures": ["reference-segmenter/figures.json"],
        "source": "reference-segmenter/shipped",
        "data": ["the training images of the protocol phantom-128, rendered phantoms"],
        "third_party": "encoder started from EfficientNet-Lite0's ImageNet weights, Apache-2.0",
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(CARDS))
    name = parser.parse_args().name
    card = dict(CARDS[name])
    target = WEIGHTS / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(WORK / card.pop("source"), target)
    figures: dict[str, Any] = {}
    for file in map(Path, card.pop("figures")):
        figures.setdefault(file.parent.name, {}).update(json.loads((WORK / file).read_text()))
    files = sorted(path for path in target.rglob("*") if path.is_file())
    card = {
        "data": DATA,
        **card,
        "licence": "Apache-2.0",
        "hardware": "two CPU cores",
        "figures": figures,
        "sha256": {path.relative_to(target).as_posix(): sha256_file(path) for path in files},
    }
    (target / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(f"{target.name}: {sum(path.stat().st_size for path in files) / 1e6:.1f} MB in {len(files)} files")


if __name__ == "__main__":
    main()
