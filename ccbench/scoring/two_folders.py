"""Scores of any two folders of images."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ccbench.base.image_folders import list_images, look_into
from ccbench.base.seeding import derive_seed
from ccbench.data.captions.prompt_files import match_prompts, read_prompts
from ccbench.data.name_matching import join_files
from ccbench.errors import MissingError
from ccbench.features import TextImageEncoder, open_encoder, open_text_encoder
from ccbench.features.feature_cache import FeatureCache
from ccbench.features.image_pass import EncodedSet, encode_files, encode_texts
from ccbench.metrics import SetFamily
from ccbench.runs.scorecard import Notes, Scorecard, ScoredImages, per_sample_table
from ccbench.scoring.encoder_scores import (
    NETWORK_FAMILIES,
    REAL_SPLIT,
    Partners,
    count_failures,
    digest,
    pair,
    set_distances,
)
from ccbench.types import Progress, SilentProgress

DEFAULT_TEXT_ENCODER = "mini-clip"
_FAMILIES: tuple[SetFamily, ...] = (*NETWORK_FAMILIES, "fd_infinity")


def score_folders(
    images: Path,
    reference: Path,
    *,
    prompts: Path | None = None,
    set_encoder: str = "lite0",
    set_weights: Path | None = None,
    text_encoder: str | None = None,
    text_weights: Path | None = None,
    device: str = "cpu",
    cache: FeatureCache | None = None,
    progress: Progress = SilentProgress(),
    note: Callable[[str], None] = lambda text: None,
) -> ScoredImages:
    """Score a folder of images against a folder of reference images, whatever made them.

    CLIP-score needs `prompts`, a JSON Lines file; CLIP-image needs file stems that match one to one. What cannot be
    computed has value None and says why. The control "real-split" is the floor: a seeded part of the reference, as
    many as there are images but at most half of it, against the rest.

    Args:
        text_encoder: None = the shipped one, where it is needed and there.
        cache: as in `score_synthesis`.
        note: told of what is left out of a folder.

    Raises:
        DataError: an empty folder, images that cannot be decoded, prompts that do not cover the images.
        MissingError: weights of an encoder that was asked for are not there.
    """
    files, real_files = list_images(images), list_images(reference)
    for folder in dict.fromkeys((images, reference)):
        if left_out := look_into(folder).note():
            note(left_out)
    lines = None if prompts is None else match_prompts(read_prompts(prompts), files, prompts)
    order, unpaired = _match_stems(files, real_files)
    network = open_encoder(set_encoder, weights=set_weights, device=device)
    clip, missing = None, None
    if lines is not None or order is not None:
        clip, missing = _open_clip(text_encoder, text_weights, device)
    both = [network] if clip is None else [network, clip]
    made = encode_files(files, both, f"encoding {images}", progress, cache=cache)
    real = encode_files(real_files, both, f"encoding {reference}", progress, cache=cache)

    texts: Partners | str = missing or "no prompts were given"
    partners: Partners | str = missing or unpaired
    if clip is not None and lines is not None:
        texts = Partners(encode_texts(clip, lines, cache=cache), f"prompts@{digest(sorted(lines))}")
    if clip is not None and order is not None:
        partners = Partners(real.features[clip.id][order], f"partners@{real.digest}")
    score, image = pair("clip_score", made, clip, texts), pair("clip_image", made, clip, partners)
    ref = f"folder@{real.digest}"
    truncated = clip.count_truncated(lines) / len(lines) if clip is not None and lines is not None else None
    with progress.step("comparing the two sets, and the reference with itself", 2) as step:
        distances = set_distances(made, real, network, clip, ref, _FAMILIES)
        step.advance()
        control = set_distances(*_split_real(real, len(made)), network, clip, ref, _FAMILIES)
        step.advance()
    card = Scorecard(
        scores=[*distances, score.score, image.score],
        controls={REAL_SPLIT: control},
        failures=count_failures(made, None),
        notes=Notes(prompts_truncated_share=truncated),
    )
    columns = {"clip_score": score.values, "clip_image": image.values}
    return ScoredImages(card, per_sample_table([path.stem for path in files], columns))


def _open_clip(name: str | None, weights: Path | None, device: str) -> tuple[TextImageEncoder | None, str | None]:
    """Return the text encoder; if nobody asked for one and the default is not there, None and the reason."""
    try:
        return open_text_encoder(name or DEFAULT_TEXT_ENCODER, weights=weights, device=device), None
    except MissingError as error:
        if name is not None or weights is not None:
            raise
        return None, str(error)


def _match_stems(files: Sequence[Path], real_files: Sequence[Path]) -> tuple[list[int] | None, str]:
    """Return for each image the position of the real image of its name, or None and why they do not pair up."""
    joined = join_files(files, real_files)
    for one, other in joined.twins:
        return None, f"{one.parent} holds {one.name} and {other.name}, so images cannot be paired by name"
    if joined.images_alone or joined.masks_alone:
        return None, (
            f"file stems do not match one to one: {len(joined.pairs)} are shared by {len(files)} images and "
            f"{len(real_files)} reference images"
        )
    partner = {pair.image: pair.mask for pair in joined.pairs}
    position = {path: number for number, path in enumerate(real_files)}
    return [position[partner[path]] for path in files], ""


def _split_real(real: EncodedSet, n: int) -> tuple[EncodedSet, EncodedSet]:
    """Return a seeded part of the reference, at most `n` images and half of it, and the rest."""
    # Sorted by content before the draw: file names and formats do not change the split.
    by_content = np.argsort(np.array(real.digests), kind="stable")
    drawn = by_content[np.random.default_rng(derive_seed("real-split", real.digest)).permutation(len(real))].tolist()
    held_out = min(n, len(real) // 2)
    return real.rows(drawn[:held_out]), real.rows(drawn[held_out:])
