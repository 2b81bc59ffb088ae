"""Writes drawn images in the file layouts of public data sets, oddities included."""

import csv
import struct
from pathlib import Path

import numpy as np
import PIL.Image

from ccbench.base.images import content_sha256
from ccbench.types import Image

SEQUENCES = {1: (1, 4), 4: (5, 6), 13: (7, 8), 24: (9, 10)}
"""Frames of the drawn CVC-ClinicDB: sequences 4 and 24 are test, 13 validation, 1 train."""

KVASIR_TRAIN, KVASIR_VALIDATION, KVASIR_TEST = 12, 1, 3


def write_polyps(root: Path, splits: Path) -> Path:
    """Write 16 Kvasir-SEG and 10 CVC-ClinicDB pairs under `root`, their split files into `splits`; return `root`."""
    kvasir, clinic = root / "Kvasir-SEG", root / "CVC-ClinicDB"
    stems = [f"cju{number:04d}" for number in range(KVASIR_TRAIN + KVASIR_VALIDATION + KVASIR_TEST)]
    for number, stem in enumerate(stems):
        write_pair(kvasir / "images" / f"{stem}.jpg", kvasir / "masks" / f"{stem}.jpg", number)
    parts = ["train"] * KVASIR_TRAIN + ["validation"] * KVASIR_VALIDATION + ["test"] * KVASIR_TEST
    rows = [(f"kvasir-{stem}", split, "") for stem, split in zip(stems, parts, strict=True)]
    files = [(kvasir / "images" / f"{stem}.jpg", kvasir / "masks" / f"{stem}.jpg") for stem in stems]
    write_split(splits / "kvasir-seg.csv", rows, files)
    sequence_of = {frame: seq for seq, (first, last) in SEQUENCES.items() for frame in range(first, last + 1)}
    split_of = {1: "train", 4: "test", 13: "validation", 24: "test"}
    png = clinic / "PNG"
    files = [(png / "Original" / f"{frame}.png", png / "Ground Truth" / f"{frame}.png") for frame in sequence_of]
    for frame, (image, mask) in zip(sequence_of, files, strict=True):
        write_pair(image, mask, 100 + frame)
    rows = [(f"clinicdb-{frame}", split_of[seq], f"clinicdb-seq{seq:02d}") for frame, seq in sequence_of.items()]
    write_split(splits / "cvc-clinicdb.csv", rows, files)
    return root


def write_split(path: Path, rows: list[tuple[str, str, str]], files: list[tuple[Path, Path]]) -> None:
    """Write a split file of (id, split, cluster) rows, with the hashes of their image and mask files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        file.write("# drawn\n")
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("id", "split", "cluster", "image_sha256", "mask_sha256"))
        table.writerows((*row, *map(content_sha256, pair)) for row, pair in zip(rows, files, strict=True))


def draw_pair(seed: int, size: tuple[int, int] = (52, 40)) -> tuple[Image, Image]:
    """Draw an image and its mask of (width, height) pixels; the mask is (height, width), 0 and 255."""
    rng = np.random.default_rng(seed)
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    inside = np.hypot(rows - rng.uniform(12, 28), columns - rng.uniform(12, 40)) < rng.uniform(5, 11)
    image = np.clip(rng.normal((170, 90, 70), 12, (height, width, 3)) + 25 * inside[..., None], 0, 255)
    return image.astype(np.uint8), np.where(inside, 255, 0).astype(np.uint8)


def write_pair(image_path: Path, mask_path: Path, seed: int, size: tuple[int, int] = (52, 40)) -> None:
    """Write one image and its mask, (width, height) pixels; a JPEG mask is grey at its edge as the real ones are."""
    for path, pixels in zip((image_path, mask_path), draw_pair(seed, size), strict=True):
        write_file(path, pixels)


def write_file(path: Path, pixels: Image) -> None:
    """Write pixels in the format that the name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)


def write_grey_tiff(
    path: Path, pixels: Image, strips: int = 2, listed: int | None = None, orientation: int = 1, bits: int = 8
) -> None:
    """Write (H, W, 3) as CVC-ClinicDB's originals are: three samples a pixel under PhotometricInterpretation 1.

    `listed`: how many of the strips the file's tables name; all of them unless given.
    """
    height, width, samples = pixels.shape
    rows = -(-height // strips)
    data = [pixels[top : top + rows].tobytes() for top in range(0, height, rows)]
    start = 8 + 2 + 10 * 12 + 4
    starts = [start + 8 * len(data) + sum(map(len, data[:index])) for index in range(len(data))]
    tags = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1)),
        *((273, 4, listed or len(data), start), (274, 3, 1, orientation), (277, 3, 1, samples), (278, 3, 1, rows)),
        (279, 4, listed or len(data), start + 4 * len(data)),
    ]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    tables = struct.pack(f"<{2 * len(data)}I", *starts, *map(len, data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + struct.pack("<I", 0) + tables + b"".join(data))
