"""PraNet, Polyp-PVT and their loss: sizes as published, outputs, gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ccbench.errors import UsageError
from ccbench.segmenters import SEGMENTERS, find_segmenter
from ccbench.segmenters.mmlab import MODELS, SegDataSample
from ccbench.segmenters.networks.pranet import ReverseAttention
from ccbench.segmenters.networks.structure_loss import Bce, StructureLoss
from ccbench.segmenters.segmenter_training import build_network
from tiny_segmenters import tiny

# Without the classifier that PraNet's backbone carries unused; counted from the published code.
PARAMETERS = {"pranet": 30_498_319, "polyp-pvt": 25_107_604}
STRIDES = {"pranet": [8, 32, 16, 8], "polyp-pvt": [8, 8]}
SIDE = 96


def count(network: torch.nn.Module) -> int:
    return sum(part.numel() for part in network.parameters())


def join(name: str, maps: list[Tensor]) -> Tensor:
    """The prediction: PraNet's last map, the sum of Polyp-PVT's two."""
    return maps[-1] if name == "pranet" else maps[0] + maps[1]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_as_published_it_has_its_parameters_and_its_maps(name: str) -> None:
    settings = SEGMENTERS[name].published.model_copy(update={"weights": "random"})
    network = build_network(SEGMENTERS[name], settings, 0).eval()
    assert count(network) == PARAMETERS[name]
    image = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = network.maps(network.extract_feat(image))
        assert [tuple(one.shape) for one in maps] == [(1, 1, SIDE // s, SIDE // s) for s in STRIDES[name]]
        big = [functional.interpolate(one, (SIDE, SIDE), mode="bilinear", align_corners=False) for one in maps]
        torch.testing.assert_close(network.encode_decode(image, []), join(name, big), rtol=0, atol=0)
        (sample,) = network.predict(image, [SegDataSample(metainfo={"ori_shape": (50, 70)})])
    logits = functional.interpolate(join(name, big), (50, 70), mode="bilinear", align_corners=False)
    torch.testing.assert_close(sample.seg_logits.data, logits[0].sigmoid(), rtol=0, atol=0)


def test_their_settings_are_the_published_ones() -> None:
    """PraNet's MyTrain.py and Polyp-PVT's Train.py: 19 and 99 passes, Adam and AdamW of 1e-4, three sizes."""
    pranet, pvt = (SEGMENTERS[name].published for name in ("pranet", "polyp-pvt"))
    assert pranet.sides() == pvt.sides() == [256, 352, 448]
    shared = ("learning_rate", "clip", "batch_size", "bce", "window", "schedule", "precision")
    values = [1e-4, 0.5, 16, "legacy_mean", 31, "constant", "fp32"]
    assert [getattr(pranet, key) for key in shared] == [getattr(pvt, key) for key in shared] == values
    assert (pranet.passes, pranet.optimizer, pranet.weight_decay) == (19, "adam", 0)
    assert (pvt.passes, pvt.optimizer, pvt.weight_decay) == (99, "adamw", 1e-4)
    assert SEGMENTERS["pranet"].mini.sides() == [64, 96]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_trainable_parameter_gets_a_gradient(name: str) -> None:
    network: Any = build_network(SEGMENTERS[name], tiny(name), 0).train()
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = (image[:, :1] > 1).float()
    maps = [functional.interpolate(one, (64, 64)) for one in network.maps(network.extract_feat(image))]
    sum(network.structure_loss(maps, mask)).backward()
    learning = {key: part.grad for key, part in network.named_parameters() if part.requires_grad}
    lost = [key for key, grad in learning.items() if grad is None or not grad.abs().sum() > 0]
    # Batch norm takes the mean away that a shift in front of it adds; ReLU may close a whole small layer.
    assert not [key for key in lost if learning[key] is None] and len(lost) < 0.02 * len(learning), lost


def test_reverse_attention_adds_nothing_of_a_level_where_the_map_is_sure() -> None:
    """With a guide of +inf the level is multiplied by 0: what it holds does not matter, and nothing is passed on."""
    torch.manual_seed(0)
    attention = ReverseAttention(6, 4, 3, 2, head=3).eval()
    levels = torch.randn(2, 1, 6, 8, 8)
    sure = torch.full((1, 1, 8, 8), torch.inf)
    large = torch.full((1, 1, 8, 8), 200.0)  # its sigmoid is 1 in float32, and what is added can be seen
    with torch.inference_mode():
        added = [attention(level, large) - large for level in levels]
        assert torch.equal(*added) and torch.isinf(attention(levels[0], sure)).all()
        zero = torch.zeros_like(large)
        assert not torch.equal(*(attention(level, zero) for level in levels))


def naive(logits: Tensor, masks: Tensor, bce: Bce, window: int) -> Tensor:
    """The published formula, image by image and pixel by pixel."""
    total, half = [], window // 2
    mean = functional.binary_cross_entropy_with_logits(logits, masks)
    for one, mask in zip(logits[:, 0], masks[:, 0], strict=True):
        height, width = mask.shape
        weight, entropy = torch.zeros_like(mask), torch.zeros_like(mask)
        for y in range(height):
            for x in range(width):
                around = mask[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
                weight[y, x] = 1 + 5 * abs(around.sum() / window**2 - mask[y, x])
        p = 1 / (1 + torch.exp(-one))
        entropy = -(mask * torch.log(p) + (1 - mask) * torch.log(1 - p))
        both, either = (weight * p * mask).sum(), (weight * (p + mask)).sum()
        weighted = (weight * entropy).sum() / weight.sum()
        total.append((mean if bce == "legacy_mean" else weighted) + 1 - (both + 1) / (either - both + 1))
    return torch.stack(total).mean()


def uneven() -> Tensor:
    masks = torch.zeros(2, 1, 12, 10, dtype=torch.float64)
    masks[0, 0, 2:7, 1:5] = 1
    masks[1, 0, :2, 8:] = 1
    return masks


def soft() -> Tensor:
    return torch.rand(2, 1, 12, 10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("masks", [uneven, soft])
@pytest.mark.parametrize("bce", ["legacy_mean", "weighted"])
def test_the_structure_loss_is_the_formula(bce: Bce, masks: Callable[[], Tensor]) -> None:
    """In float64, to 1e-12; zeros around the image count in the window, as avg_pool2d's default has it."""
    maps = list(torch.randn(2, 2, 1, 12, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2)
    found = StructureLoss(bce, window=5)(maps, masks())
    wanted = [naive(one, masks(), bce, 5) for one in maps]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_its_closed_forms() -> None:
    """A perfect map costs nothing; of an empty mask and logits of 0 each part is known; the two entropies differ."""
    masks = uneven()
    sure = [200 * (2 * masks - 1)]
    empty, level = torch.zeros(1, 1, 4, 4, dtype=torch.float64), [torch.zeros(1, 1, 4, 4, dtype=torch.float64)]
    for bce in ("legacy_mean", "weighted"):
        assert float(StructureLoss(bce)(sure, masks)[0]) == pytest.approx(0, abs=1e-12)
        wanted = torch.log(torch.tensor(2.0)) + 1 - 1 / (8 + 1)  # 16 pixels of 0.5, none shared
        assert float(StructureLoss(bce)(level, empty)[0]) == pytest.approx(float(wanted), abs=1e-6)
    maps = [torch.randn(masks.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)]
    legacy, weighted = (float(StructureLoss(bce, 5)(maps, masks)[0]) for bce in ("legacy_mean", "weighted"))
    assert abs(legacy - weighted) > 1e-3
    with pytest.raises(ValueError, match="wanted legacy_mean or weighted"):
        StructureLoss("none")


def test_they_are_registered_and_others_are_refused() -> None:
    assert {"PraNet", "PolypPVT"} <= set(MODELS.module_dict)
    with pytest.raises(UsageError, match="--segmenter unet: wanted pranet, polyp-pvt, or mmseg:PATH"):
        find_segmenter("unet")
    with pytest.raises(UsageError, match="no such file"):
        find_segmenter("mmseg:nowhere.py")
