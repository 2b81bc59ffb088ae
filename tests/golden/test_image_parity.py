"""Set distances and CLIP-score from image files end to end against other toolkits, with the same random weights.

Origin of the expected values: torch-fidelity and torchmetrics, run here on the same files. Sizes are odd and mixed and
the sets unequal: equal ones hide a resize or an n that differs. Tolerance 1e-4 relative. FID has the same way from
files to features; what it does with them is in test_frechet_parity.py, for torch-fidelity takes a minute for one 2048 x
2048 matrix.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
import torch_fidelity
from safetensors.torch import load_file, save_file
from torch_fidelity import feature_extractor_inceptionv3 as reference_inception
from torchmetrics.multimodal import CLIPScore

from ccbench.features import open_encoder
from ccbench.features.pipeline import encode_files
from ccbench.metrics.kernel import kernel_distance
from ccbench.scoring import score_folders
from ccbench.types import SilentProgress
from fake_encoders import WORDS, random_images, write_images, write_mini_clip

MADE = [*random_images(2, (61, 47), 1), *random_images(3, (40, 90), 2)]
REAL = [*random_images(4, (128, 128), 3), *random_images(3, (33, 35), 4)]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, images in (("made", MADE), ("real", REAL)):
        write_images(tmp_path / name, images)
    return tmp_path / "made", tmp_path / "real"


def test_kid_equals_torch_fidelity(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    kind, weights = reference_inception.FeatureExtractorInceptionV3, folders[0].parent / "weights.pth"
    with torch.random.fork_rng(), monkeypatch.context() as patch:
        torch.manual_seed(0)
        patch.setattr(kind, "load_state_dict", lambda self, state: None)
        patch.setattr(reference_inception, "load_state_dict_from_url", lambda *args, **kwargs: {})
        torch.save(kind("random", ["2048"]).state_dict(), weights)
    expected = torch_fidelity.calculate_metrics(
        input1=str(folders[0]),
        input2=str(folders[1]),
        kid=True,
        kid_subsets=1,
        kid_subset_size=5,
        rng_seed=7,
        batch_size=1,  # it cannot batch mixed sizes
        save_cpu_ram=True,
        cuda=False,
        cache=False,
        verbose=False,
        feature_extractor_weights_path=str(weights),
    )
    encoder = open_encoder("inception", weights=weights)
    made, real = (
        encode_files(sorted(folder.iterdir()), [encoder], "test", SilentProgress()).features["inception"]
        for folder in folders
    )
    draw = np.random.RandomState(7)
    rows = draw.choice(5, 5, replace=False), draw.choice(7, 5, replace=False)
    found = kernel_distance(made[rows[0]], real[rows[1]]).value
    assert found == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-4)


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


def test_clip_score_of_short_prompts_equals_torchmetrics(folders: tuple[Path, Path]) -> None:
    clip = write_mini_clip(folders[0].parent / "clip")
    state = load_file(clip / "model.safetensors")
    state["text_projection"] *= -1  # this network's cosines are negative, and every score would be 0
    save_file(state, clip / "model.safetensors")
    prompts = ["a red polyp", "pale fold on the left", "a polyp", "round red fold", "the right fold"]
    lines = [json.dumps({"id": f"case-{i:03d}", "prompt": text}) for i, text in enumerate(prompts)]
    (folders[0].parent / "prompts.jsonl").write_text("\n".join(lines))
    card = score_folders(
        *folders,
        prompts=folders[0].parent / "prompts.jsonl",
        set_encoder="mini-clip",
        set_weights=clip,
        text_encoder="mini-clip",
        text_weights=clip,
    )
    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip}")
    network.eval()
    network.get_image_features = network.encode_image
    network.get_text_features = lambda tokens, mask: network.encode_text(tokens)
    network.config = None
    metric = CLIPScore(lambda: (network, Processor(preprocess)))
    with torch.inference_mode():
        one_by_one = [
            float(metric.forward(torch.from_numpy(image).permute(2, 0, 1), text))
            for image, text in zip(MADE, prompts, strict=True)
        ]
        mean = float(metric.compute())
    assert card.per_sample["clip_score"].tolist() == pytest.approx(one_by_one, rel=1e-4, abs=1e-4)
    score = next(item for item in card.scores if item.metric == "clip_score")
    assert any(value > 1 for value in one_by_one) and score.value is not None
    # torchmetrics clips the mean at 0, ccbench each pair: they differ where a pair's cosine is negative.
    assert score.value == pytest.approx(np.maximum(one_by_one, 0).mean(), rel=1e-4)
    assert mean == pytest.approx(np.mean(one_by_one), rel=1e-4)
