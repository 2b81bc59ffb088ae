"""Writes drawn images in the file layout of Kvasir-SEG and CVC-ClinicDB, oddities included."""

import csv
import json
from pathlib import Path

import numpy as np
import PIL.Image

SEQUENCES = {1: (1, 4), 4: (5, 6), 13: (7, 8), 24: (9, 10)}
"""Frames of the drawn CVC-ClinicDB: sequences 4 and 24 are test, 13 validation, 1 train."""

KVASIR_TRAIN, KVASIR_TEST = 13, 3


def write_polyps(root: Path) -> Path:
    """Write 16 Kvasir-SEG and 10 CVC-ClinicDB pairs under `root` and return it."""
    kvasir, clinic = root / "Kvasir-SEG", root / "CVC-ClinicDB"
    stems = [f"cju{number:04d}" for number in range(KVASIR_TRAIN + KVASIR_TEST)]
    for number, stem in enumerate(stems):
        write_pair(kvasir / "images" / f"{stem}.jpg", kvasir / "masks" / f"{stem}.jpg", number)
    (kvasir / "split_train.txt").write_text("".join(f"{stem}.jpg\n" for stem in stems[:KVASIR_TRAIN]))
    (kvasir / "split_eval.txt").write_text("".join(f"{stem}.jpg\n" for stem in stems[KVASIR_TRAIN:]))
    write_captions(kvasir, stems)
    frames = [str(number) for number in range(1, 11)]
    for frame in frames:
        png = clinic / "PNG"
        write_pair(png / "Original" / f"{frame}.png", png / "Ground Truth" / f"{frame}.png", 100 + int(frame))
    write_captions(clinic, frames)
    with (clinic / "sequences.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("sequence", "first_frame", "last_frame"))
        rows.writerows((sequence, *ends) for sequence, ends in SEQUENCES.items())
    return root


def write_pair(image_path: Path, mask_path: Path, seed: int, size: tuple[int, int] = (52, 40)) -> None:
    """Write one image and its mask, (width, height) pixels; a JPEG mask is grey at its edge as the real ones are."""
    rng = np.random.default_rng(seed)
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    inside = np.hypot(rows - rng.uniform(12, 28), columns - rng.uniform(12, 40)) < rng.uniform(5, 11)
    image = np.clip(rng.normal((170, 90, 70), 12, (height, width, 3)) + 25 * inside[..., None], 0, 255)
    for path, pixels in ((image_path, image.astype(np.uint8)), (mask_path, np.where(inside, 255, 0).astype(np.uint8))):
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels).save(path)


def write_captions(folder: Path, ids: list[str]) -> None:
    """Write the caption file of a data set."""
    lines = [{"id": name, "bbox": [1, 2, 3, 4], "caption": f"one small pink round polyp ({name})"} for name in ids]
    (folder / "captions_medvlsm.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
