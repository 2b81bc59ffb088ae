"""TAAM and Uni-ControlNet's local adapter against tensors that the official modules computed (data/README.md)."""

from pathlib import Path

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from safetensors.torch import load_file
from torch.nn import functional as F

from ccbench_ccis_diff.config import TaamSettings
from ccbench_ccis_diff.text_aware_attention import TextAwareBlock, reweighted_attention, text_scores, token_mask
from ccbench_uni_controlnet.model import FeatureDenorm, FeatureExtractor, LocalResnet

Tensors = dict[str, torch.Tensor]
DATA = Path(__file__).parent / "data"
HD_PAINTER = TaamSettings(mode="A", smooth_padding="zeros")  # as PAIntA has it
BOTH_CASES = pytest.mark.parametrize("case", ["a", "b"])


@pytest.fixture(scope="module")
def painta() -> Tensors:
    return load_file(DATA / "hd_painter_painta.safetensors")


@pytest.fixture(scope="module")
def local() -> Tensors:
    return load_file(DATA / "uni_controlnet_local.safetensors")


def part(tensors: Tensors, prefix: str) -> Tensors:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def chosen(tensors: Tensors, key: str) -> torch.Tensor:
    """The (1, 10) tokens that are summed."""
    words = torch.zeros(1, 10, dtype=torch.bool)
    words[0, tensors[key]] = True
    return words


def probabilities(tensors: Tensors) -> torch.Tensor:
    query, key = tensors["attention/in/cross_q"], tensors["attention/in/cross_k"]
    return (query @ key.transpose(2, 3) / 2).softmax(3).mean(1)


@BOTH_CASES
def test_scores_are_hd_painters(painta: Tensors, case: str) -> None:
    words = chosen(painta, f"attention/in/tokens_{case}")
    found = text_scores(probabilities(painta), words, 8, HD_PAINTER)[0]
    assert (found - painta[f"attention/out/scores_{case}"]).abs().max() < 1e-6


@BOTH_CASES
def test_scores_differ_from_hd_painters_in_the_padding_alone(painta: Tensors, case: str) -> None:
    words = chosen(painta, f"attention/in/tokens_{case}")
    ours = text_scores(probabilities(painta), words, 8, TaamSettings())[0]
    assert (ours - painta[f"attention/out/scores_{case}"]).abs().max() > 0.05
    taps = torch.tensor([0.21194156, 0.57611688, 0.21194156])
    bordered = F.pad(painta[f"attention/out/raw_{case}"].view(1, 1, 8, 8), (1, 1, 1, 1), "replicate")
    smoothed = F.conv2d(bordered, torch.outer(taps, taps)[None, None]).flatten()
    wanted = ((smoothed - smoothed.median()) / smoothed.max()).clamp(0, 1)
    assert (ours - wanted).abs().max() < 1e-6


@BOTH_CASES
def test_one_map_serves_both_halves_of_hd_painters_attention(painta: Tensors, case: str) -> None:
    query, key, value = (painta[f"attention/in/{name}"] for name in "qkv")
    inside = token_mask(painta[f"attention/in/mask_{case}"].float(), 8, 8).expand(2, -1)
    scores = painta[f"attention/out/scores_{case}"].expand(2, -1)
    found = reweighted_attention(query, key, value, scores, HD_PAINTER, inside)
    merged = found.transpose(1, 2).flatten(2)
    assert (merged - painta[f"attention/out/y_{case}"]).abs().max() < 5e-6


def text_aware_block(tensors: Tensors) -> TextAwareBlock:
    block = BasicTransformerBlock(8, 2, 4, cross_attention_dim=6)
    block.load_state_dict(part(tensors, "block/weights/"))
    return TextAwareBlock.adopt(block.eval(), HD_PAINTER)


@BOTH_CASES
def test_the_block_is_hd_painters_in_its_conditional_half(painta: Tensors, case: str) -> None:
    block, attention = text_aware_block(painta), {"words": chosen(painta, f"block/in/tokens_{case}")}
    masks = painta[f"block/in/mask_{case}"].float()
    x, context = painta["block/in/x"], painta["block/in/context"]
    with torch.no_grad():
        told = block(x[1:], encoder_hidden_states=context[1:], cross_attention_kwargs={**attention, "masks": masks})
    assert (told - painta[f"block/out/y_{case}"][1:]).abs().max() < 5e-5
    assert (told - painta["block/out/off"][1:]).abs().max() > 1e-2


def test_the_block_without_words_is_the_plain_one(painta: Tensors) -> None:
    """The unconditional half here; HD-Painter re-weights it by the conditional half's map."""
    attention = {
        "words": torch.zeros(2, 10, dtype=torch.bool),
        "masks": painta["block/in/mask_a"].float().expand(2, -1, -1, -1),
    }
    with torch.no_grad():
        found = text_aware_block(painta)(
            painta["block/in/x"], encoder_hidden_states=painta["block/in/context"], cross_attention_kwargs=attention
        )
    assert (found - painta["block/out/off"]).abs().max() < 5e-5


@pytest.mark.parametrize(("name", "factor"), [("sixteenth", 16), ("thirty_second", 32)])
def test_the_mask_at_the_grids_of_hd_painter(painta: Tensors, name: str, factor: int) -> None:
    mask = painta["mask/in/mask"].float()
    found = token_mask(mask, 64 // factor, 128 // factor)
    assert torch.equal(found, painta[f"mask/out/{name}"].bool().flatten(1))


def test_feature_denormalisation(local: Tensors) -> None:
    layer = FeatureDenorm(64, 3, groups=32, eps=1e-5)
    names = {"conv_gamma": "gamma", "conv_beta": "beta"}
    weights = part(local, "fdn/weights/")
    layer.load_state_dict({key.replace(key.split(".")[0], names[key.split(".")[0]]): weights[key] for key in weights})
    with torch.no_grad():
        found = layer(local["fdn/in/x"], local["fdn/in/features"])
    assert (found - local["fdn/out/y"]).abs().max() < 5e-6


def test_local_resnet(local: Tensors) -> None:
    block = LocalResnet(ResnetBlock2D(in_channels=8, out_channels=12, temb_channels=16, groups=4, eps=1e-5), 5)
    names = {
        "norm_in.conv_gamma": "norm1.gamma",
        "norm_in.conv_beta": "norm1.beta",
        "in_layers.2": "conv1",
        "emb_layers.1": "time_emb_proj",
        "norm_out.conv_gamma": "norm2.gamma",
        "norm_out.conv_beta": "norm2.beta",
        "out_layers.3": "conv2",
        "skip_connection": "conv_shortcut",
    }
    weights = part(local, "resblock/weights/")
    block.load_state_dict(
        {names[key.rpartition(".")[0]] + "." + key.rpartition(".")[2]: weights[key] for key in weights}
    )
    with torch.no_grad():
        found = block(*(local[f"resblock/in/{name}"] for name in ("x", "emb", "features")))
    assert (found - local["resblock/out/y"]).abs().max() < 1e-5


def test_feature_extractor(local: Tensors) -> None:
    extractor = FeatureExtractor((4, 6, 6, 8, 8), (6, 8, 10, 12), narrow=False)
    layers = [f"pre_extractor.{index}" for index in (0, 2, 4, 6, 8)] + [f"extractors.{index}.0" for index in range(4)]
    names = {name: f"layers.{index}" for index, name in enumerate(layers)}
    names |= {f"zero_convs.{index}": f"outputs.{index}" for index in range(4)}
    weights = part(local, "extractor/weights/")
    extractor.load_state_dict(
        {names[key.rpartition(".")[0]] + "." + key.rpartition(".")[2]: weights[key] for key in weights}
    )
    with torch.no_grad():
        levels = extractor(local["extractor/in/condition"])
    for index, level in enumerate(levels):
        assert (level - local[f"extractor/out/level_{index}"]).abs().max() < 2e-5
