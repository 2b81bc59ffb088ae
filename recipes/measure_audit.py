"""How often the leak audit finds a frame that was stored anew, and how close frames of different videos come.

    python recipes/measure_audit.py --images kvasir=DIR --images clinicdb=DIR [--images NAME=DIR ...] [--n 40]

Found: `--n` frames of each folder are changed as releases and prepared data sets change them, one way at a time, and
compared with their originals at the audit's thresholds. Chance: every pair of frames of different folders, which must
be of different patients; its nearest pairs say where the thresholds must lie. Writes audit.md under --output.
"""

import argparse
import io
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageFilter

from ccbench.base.image_folders import list_images
from ccbench.base.images import read_image, resize_image
from ccbench.features import Encoder
from ccbench.features.perceptual_hash import grey_view, hash_view, view_of
from ccbench.metrics.images.registration import overlap, spectra, spectrum
from ccbench.metrics.sets.close_pairs import find_close_pairs
from ccbench.studies.leak_audit.audit import open_audit_encoder
from ccbench.studies.leak_audit.audit_record import Thresholds
from ccbench.tables.markdown import markdown_table
from ccbench.types import Image

LIMITS = Thresholds()


def jpeg(image: Image, quality: int) -> Image:
    """Encode and decode."""
    data = io.BytesIO()
    PILImage.fromarray(image).save(data, "JPEG", quality=quality)
    return np.asarray(PILImage.open(data).convert("RGB"))


def cut(image: Image, share: float) -> Image:
    """Cut a share of the sides away, each side."""
    rows, columns = (round(side * share) for side in image.shape[:2])
    return np.ascontiguousarray(image[rows : image.shape[0] - rows, columns : image.shape[1] - columns])


def bordered(image: Image, share: float) -> Image:
    """Draw into a larger black canvas."""
    rows, columns = (round(side * share) for side in image.shape[:2])
    return np.pad(image, ((rows, rows), (columns, columns), (0, 0)))


def gained(image: Image, gain: float | tuple[float, float, float]) -> Image:
    """Multiply the channels."""
    return np.clip(image * np.asarray(gain), 0, 255).astype(np.uint8)


def covered(image: Image) -> Image:
    """Draw the green box of a position finder over the lower left corner."""
    out, (height, width) = image.copy(), image.shape[:2]
    out[round(0.7 * height) :, : round(0.3 * width)] = (20, 120, 40)
    return out


def filtered(image: Image, radius: float) -> Image:
    """Blur by a share of the width."""
    return np.asarray(PILImage.fromarray(image).filter(ImageFilter.GaussianBlur(image.shape[1] * radius)))


CHANGES: dict[str, Callable[[Image], Image]] = {
    "JPEG, quality 70": lambda image: jpeg(image, 70),
    "JPEG, quality 30": lambda image: jpeg(image, 30),
    "squashed to 128 px": lambda image: resize_image(image, 128),
    "cut by 2 % a side": lambda image: cut(image, 0.02),
    "cut by 5 % a side": lambda image: cut(image, 0.05),
    "cut by 10 % a side": lambda image: cut(image, 0.10),
    "black border of 10 %": lambda image: bordered(image, 0.10),
    "brighter by a fifth": lambda image: gained(image, 1.2),
    "tinted": lambda image: gained(image, (1.1, 1.0, 0.85)),
    "blurred": lambda image: filtered(image, 1 / 200),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "a box over a corner": covered,
    "cut by 3 %, JPEG 70, brighter by a tenth": lambda image: gained(jpeg(cut(image, 0.03), 70), 1.1),
    "turned by 5 degrees": lambda image: np.asarray(PILImage.fromarray(image).rotate(5, PILImage.Resampling.BICUBIC)),
    "turned upside down": lambda image: np.ascontiguousarray(image[::-1, ::-1]),
}


class Looked:
    """What the audit keeps of images: grey views (N, S, S), hashes (N, V, B), features (N, D)."""

    def __init__(self, images: Iterable[Image], encoder: Encoder) -> None:
        views = [view_of(image) for image in images]
        self.grey = [grey_view(view) for view in views]
        self.hashes = np.stack([hash_view(grey) for grey in self.grey])
        self.features = np.concatenate([encoder.encode_images(views[i : i + 32]) for i in range(0, len(views), 32)])


def compare(one: Looked, other: Looked) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance and the overlap of each image with that of the same row, (N,) each."""
    distance = np.array(
        [
            find_close_pairs(np.stack(h), np.stack(f), np.inf).distance[0]
            for h, f in zip(
                zip(one.hashes, other.hashes, strict=True), zip(one.features, other.features, strict=True), strict=True
            )
        ]
    )
    lain = [overlap(spectra(a), spectrum(b)) for a, b in zip(one.grey, other.grey, strict=True)]
    return distance, np.array(lain)


def found_table(files: list[Path], encoder: Encoder) -> str:
    """Return the markdown of what is found of changed frames."""
    images = [read_image(file) for file in files]
    base, rows = Looked(images, encoder), []
    for name, change in CHANGES.items():
        distance, lain = compare(base, Looked(map(change, images), encoder))
        same = (distance <= LIMITS.candidate) & (lain >= LIMITS.overlap)
        either = same | (distance <= LIMITS.near)
        rows.append((name, f"{100 * same.mean():.0f} %", f"{100 * either.mean():.0f} %"))
        print(*rows[-1], sep=" | ", flush=True)
    return markdown_table((f"{len(images)} frames", "same frame", "same frame or near"), rows, right=(1, 2))


def chance_table(folders: dict[str, list[Path]], encoder: Encoder) -> str:
    """Return the markdown of the nearest pairs between folders."""
    looked, rows = {name: Looked(map(read_image, files), encoder) for name, files in folders.items()}, []
    for (first, a), (second, b) in combinations(looked.items(), 2):
        hashes, features = np.concatenate([a.hashes, b.hashes]), np.concatenate([a.features, b.features])
        close, grey = find_close_pairs(hashes, features, 0.6), [*a.grey, *b.grey]
        across = (close.first < len(a.grey)) & (close.second >= len(a.grey))
        candidates = np.flatnonzero(across & (close.distance <= LIMITS.candidate))
        lain = [overlap(spectra(grey[close.first[at]]), spectrum(grey[close.second[at]])) for at in candidates]
        nearest = f"{close.distance[across].min():.2f}" if across.any() else "above 0.6"
        near = int((across & (close.distance <= LIMITS.near)).sum())
        pairs, worst = f"{len(a.grey) * len(b.grey):,}", f"{max(lain):.2f}" if lain else ""
        rows.append((f"{first} / {second}", pairs, nearest, str(near), str(len(candidates)), worst))
        print(*rows[-1], sep=" | ", flush=True)
    header = ("folders", "pairs", "nearest", "near", "candidates", "largest overlap of one")
    return markdown_table(header, rows, right=range(1, 6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--n", type=int, default=40, help="frames of each folder that are changed")
    parser.add_argument("--output", type=Path, default=Path("work/audit"))
    args = parser.parse_args()
    folders = {name: list_images(Path(folder)) for name, _, folder in (text.partition("=") for text in args.images)}
    encoder, rng = open_audit_encoder(), np.random.default_rng(0)
    probes = [files[i] for files in folders.values() for i in rng.choice(len(files), min(args.n, len(files)), False)]
    args.output.mkdir(parents=True, exist_ok=True)
    found = found_table(probes, encoder)
    (args.output / "audit.md").write_text(f"{found}\n{chance_table(folders, encoder)}")


if __name__ == "__main__":
    main()
