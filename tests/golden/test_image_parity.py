"""Set distances and CLIP-score from image files end to end against other toolkits, with the same random weights.

Origin of the expected values: torch-fidelity, clean-fid and torchmetrics, run here on the same files. Sizes are odd and
mixed and the sets unequal: equal ones hide a resize or an n that differs. Tolerance 1e-4 relative.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
import torch_fidelity
from cleanfid import fid as cleanfid
from safetensors.torch import load_file, save_file
from torch_fidelity import feature_extractor_inceptionv3 as reference_inception
from torchmetrics.multimodal import CLIPScore

from ccbench.features import open_encoder
from ccbench.features.image_pass import encode_files
from ccbench.metrics.sets.frechet import frechet_distance
from ccbench.metrics.sets.kernel import CUBIC, squared_mmd
from ccbench.scoring import score_folders
from ccbench.types import SilentProgress
from fake_encoders import WORDS, random_images, write_images, write_inception, write_mini_clip

MADE = [*random_images(2, (61, 47), 1), *random_images(3, (40, 90), 2)]
REAL = [*random_images(4, (128, 128), 3), *random_images(3, (33, 35), 4)]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, images in (("made", MADE), ("real", REAL)):
        write_images(tmp_path / name, images)
    return tmp_path / "made", tmp_path / "real"


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inception(tmp_path_factory.mktemp("inception") / "weights.pth")


def encode(name: str, weights: Path, folders: tuple[Path, Path]) -> tuple[np.ndarray, np.ndarray]:
    encoder = open_encoder(name, weights=weights)
    made, real = (
        encode_files(sorted(folder.iterdir()), [encoder], "test", SilentProgress()).features[name] for folder in folders
    )
    return made, real


def test_fid_and_kid_equal_torch_fidelity(folders: tuple[Path, Path], inception_file: Path) -> None:
    expected = torch_fidelity.calculate_metrics(
        input1=str(folders[0]),
        input2=str(folders[1]),
        fid=True,
        kid=True,
        kid_subsets=1,
        kid_subset_size=5,
        rng_seed=7,
        batch_size=1,  # it cannot batch mixed sizes
        save_cpu_ram=True,
        cuda=False,
        cache=False,
        verbose=False,
        feature_extractor_weights_path=str(inception_file),
    )
    made, real = encode("inception", inception_file, folders)
    # Its matrix root of 2048 x 2048 is by eigenvalues, of which all but four are rounding: the largest part of 1e-4.
    assert frechet_distance(made, real) == pytest.approx(expected["frechet_inception_distance"], rel=1e-4, abs=0)
    draw = np.random.RandomState(7)
    rows = draw.choice(5, 5, replace=False), draw.choice(7, 5, replace=False)
    found = squared_mmd(made[rows[0]], real[rows[1]], CUBIC)
    assert found == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-4, abs=0)


@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning")
def test_clean_fid_on_the_same_files(folders: tuple[Path, Path], inception_file: Path) -> None:
    # Its own reading, resize, loop and distance. Handed to it: the layers, which it would download as TorchScript. The
    # distance is that of the four features that vary most: scipy's root of 2048 x 2048 takes 20 s, and five images span
    # four.
    found = encode("inception-clean", inception_file, folders)
    columns = np.argsort(np.concatenate(found).var(axis=0))[-4:]
    kind = reference_inception.FeatureExtractorInceptionV3
    network = kind("reference", ["2048"], feature_extractor_weights_path=str(inception_file))
    body = torch.nn.Sequential(*list(network.children())[:-1], torch.nn.Flatten())
    plain = {"mode": "clean", "num_workers": 0, "device": torch.device("cpu"), "verbose": False}
    kept: list[np.ndarray] = []

    def extract(batch: torch.Tensor) -> torch.Tensor:
        kept.append(body((batch - 128) / 128).numpy())
        return torch.from_numpy(kept[-1][:, columns].astype(np.float64))

    expected = cleanfid.compute_fid(str(folders[0]), str(folders[1]), custom_feat_extractor=extract, **plain)
    for features, theirs in zip(found, kept, strict=True):  # one batch a folder
        np.testing.assert_allclose(features, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())
    distance = frechet_distance(*(features[:, columns] for features in found))
    assert distance == pytest.approx(expected, rel=1e-4, abs=0)


class Processor:
    """What torchmetrics asks of a transformers processor, on open_clip's preprocessing and the words' own ids.

    The part that may differ in use: transformers resizes and tokenizes by its own code.
    """

    def __init__(self, preprocess: Any) -> None:
        self._preprocess = preprocess

    def __call__(self, text: list[str] | None = None, images: list[torch.Tensor] | None = None, **_: Any) -> Any:
        if images is not None:
            pictures = [PIL.Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
            return {"pixel_values": torch.stack([self._preprocess(picture) for picture in pictures])}
        tokens = torch.zeros((len(text or []), 77), dtype=torch.long)
        for row, line in enumerate(text or []):
            ids = [11, *(1 + WORDS.index(word) for word in line.split()), 12]
            tokens[row, : len(ids)] = torch.tensor(ids)
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def reference_clip(clip: Path) -> Callable[[], tuple[Any, Processor]]:
    """Return what torchmetrics takes for a network of transformers: open_clip's own reading of the same folder."""
    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip}")
    network.eval()
    network.get_image_features = network.encode_image
    network.get_text_features = lambda tokens, mask: network.encode_text(tokens)
    network.config = None
    return lambda: (network, Processor(preprocess))


def test_clip_score_of_short_prompts_equals_torchmetrics(folders: tuple[Path, Path]) -> None:
    clip = write_mini_clip(folders[0].parent / "clip")
    state = load_file(clip / "model.safetensors")
    state["text_projection"] *= -1  # this network's cosines are negative, and every score would be 0
    save_file(state, clip / "model.safetensors")
    prompts = ["a red polyp", "pale fold on the left", "a polyp", "round red fold", "the right fold"]
    lines = [json.dumps({"id": f"case-{i:03d}", "prompt": text}) for i, text in enumerate(prompts)]
    (folders[0].parent / "prompts.jsonl").write_text("\n".join(lines))
    card, table = score_folders(
        *folders,
        prompts=folders[0].parent / "prompts.jsonl",
        set_encoder="mini-clip",
        set_weights=clip,
        text_encoder="mini-clip",
        text_weights=clip,
    )
    metric = CLIPScore(reference_clip(clip))
    with torch.inference_mode():
        one_by_one = [
            float(metric.forward(torch.from_numpy(image).permute(2, 0, 1), text))
            for image, text in zip(MADE, prompts, strict=True)
        ]
        mean = float(metric.compute())
    assert table["clip_score"].tolist() == pytest.approx(one_by_one, rel=1e-4, abs=1e-4)
    score = next(item for item in card.scores if item.metric == "clip_score")
    assert any(value > 1 for value in one_by_one) and score.value is not None
    # torchmetrics clips the mean at 0, ccbench each pair: they differ where a pair's cosine is negative.
    assert score.value == pytest.approx(np.maximum(one_by_one, 0).mean(), rel=1e-4)
    assert mean == pytest.approx(np.mean(one_by_one), rel=1e-4)


def test_clip_image_equals_torchmetrics(folders: tuple[Path, Path]) -> None:
    clip = write_mini_clip(folders[0].parent / "clip")
    for file in sorted(folders[1].iterdir())[len(MADE) :]:
        file.unlink()  # pairs are one to one; the five left are of other sizes than their partners
    card, table = score_folders(
        *folders,
        prompts=None,
        set_encoder="mini-clip",
        set_weights=clip,
        text_encoder="mini-clip",
        text_weights=clip,
    )
    metric = CLIPScore(reference_clip(clip))
    made, real = (
        [torch.from_numpy(image).permute(2, 0, 1) for image in images] for images in (MADE, REAL[: len(MADE)])
    )
    with torch.inference_mode():
        one_by_one = [float(metric.forward(image, partner)) for image, partner in zip(made, real, strict=True)]
        mean = float(metric.compute())
    assert table["clip_image"].tolist() == pytest.approx(one_by_one, rel=1e-4)
    score = next(item for item in card.scores if item.metric == "clip_image")
    assert score.value == pytest.approx(mean, rel=1e-4)
