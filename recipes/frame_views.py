"""Captioned views of PolypGen's frames: each frame whole, mirrored, and cropped."""

import json
from pathlib import Path

import numpy as np

from ccbench.base.images import resize_image, resize_mask
from ccbench.base.seeding import derive_seed
from ccbench.data.captioners import MeasuredCaptioner
from frame_pool import load_frames
from phantom_pool import Pool


def load_views(split: str, polypgen: Path, folder: Path, views: int = 4, size: int = 128) -> Pool:
    """Return several views of every frame of `split` with measured captions: whole, mirrored, then random crops.

    A crop keeps at least 0.85 of each side and shows the polyp where the caption, measured on the crop, says it is.
    """
    images_file, captions_file = folder / f"views-{split}-{views}.npy", folder / f"views-{split}-{views}.json"
    if not captions_file.exists():
        frames, captioner = load_frames(split, polypgen, 192, folder), MeasuredCaptioner("measured-1")
        images, captions = [], []
        for view in range(views):
            for image, mask, name in zip(*frames, strict=True):
                rng = np.random.default_rng(derive_seed("recipe", "view", view, name))
                side = 192 if view < 2 else int(rng.integers(163, 193))
                y, x = rng.integers(0, 193 - side, size=2)
                step = -1 if view == 1 or (view > 1 and rng.random() < 0.5) else 1
                cut = (slice(y, y + side), slice(x, x + side))
                shown = resize_image(np.ascontiguousarray(image[cut][:, ::step]), size)
                region = resize_mask(np.ascontiguousarray(mask[cut][:, ::step]), size)
                images.append(shown)
                captions.append(captioner.caption(shown, region, f"{name}-{view}").text)
        np.save(images_file, np.stack(images))
        captions_file.write_text(json.dumps(captions))
    return Pool(np.load(images_file), json.loads(captions_file.read_text()))
