"""The judge of mask fidelity: a polyp segmenter that has seen a protocol's real training images and nothing else.

It is trained once and kept under `CCBENCH_HOME`, named by what it depends on. No method trains against it: the
segmenters that a method may be given are the user's own.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from ccbench.assets import home, load_safetensors
from ccbench.errors import CcbenchError
from ccbench.features.base import exact_arithmetic, kept_random_state
from ccbench.features.lite0 import load_lite0
from ccbench.features.weights import LITE0_SHA256
from ccbench.folders import write_atomic
from ccbench.metrics.segmentation import compare_masks
from ccbench.seeding import derive_seed
from ccbench.types import Image, Mask, PairSequence, Progress, SilentProgress

_STAGES = (1, 2, 4, 6)  # of EfficientNet-Lite0, strides 4, 8, 16, 32
_CHANNELS = (24, 40, 112, 320)
_FROZEN = 2  # stages before this one keep their ImageNet weights: they cost the most and change the least
_BATCH = 32
_CARD = "card.json"


@dataclass(frozen=True)
class JudgeSettings:
    """How a judge is trained: what its name in the cache covers, with the training images.

    Attributes:
        version: raised by every change of this file that changes a judge.
        size: pixels, squash. width: channels of the decoder. learning_rate: of the encoder, the decoder's is fourfold.
    """

    version: int = 1
    size: int = 128
    width: int = 48
    steps: int = 600
    batch_size: int = 16
    learning_rate: float = 1e-3


class JudgeNetwork(nn.Module):
    """EfficientNet-Lite0 with a feature pyramid (Lin et al., CVPR 2017) -> logits (B, 1, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder: Any = load_lite0().requires_grad_(True)  # timm's class, untyped
        self.sides = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in _CHANNELS)
        self.joints = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            for _ in _CHANNELS
        )
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return logits of pixels (B, 3, H, W) in -1..1."""
        stages = self._stages(pixels)
        joined: torch.Tensor | None = None
        for part, side, joint in zip(stages[::-1], reversed(self.sides), reversed(self.joints), strict=True):
            above = 0 if joined is None else functional.interpolate(joined, part.shape[-2:], mode="bilinear")
            joined = joint(side(part) + above)
        return functional.interpolate(self.head(joined), pixels.shape[-2:], mode="bilinear")

    def train(self, mode: bool = True) -> "JudgeNetwork":
        """Set the mode of the decoder; the encoder keeps ImageNet's statistics, batches are too small for others."""
        super().train(mode)
        self.encoder.eval()
        return self

    def _stages(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        learning, found = torch.is_grad_enabled(), []
        with torch.set_grad_enabled(False):
            x = self.encoder.bn1(self.encoder.conv_stem(pixels.contiguous(memory_format=torch.channels_last)))
        for number, stage in enumerate(self.encoder.blocks):
            with torch.set_grad_enabled(learning and number >= _FROZEN):
                x = stage(x)
            if number in _STAGES:
                found.append(x)
        return found


class JudgeCard(NamedTuple):
    """What is kept beside a judge's weights; as in `Judge`."""

    signature: str
    weights: str
    dice: float


class Judge:
    """A trained judge.

    Attributes:
        signature: how and on which images it was trained. Machines that train it anew get weights that differ by float
            rounding, and scores that differ little (docs/metrics.md), so the weights are not in it.
        weights: first 8 hex digits of their sha256. dice: mean Dice on the real validation images.
    """

    def __init__(self, network: JudgeNetwork, card: JudgeCard, size: int, device: str) -> None:
        self.signature, self.weights, self.dice = card.signature, card.weights, card.dice
        self._network, self._size, self._device = network.to(device).eval(), size, device

    def segment(self, images: Sequence[Image]) -> list[Mask]:
        """Return the mask (H, W) that the judge sees in each image (H, W, 3), of any sizes."""
        masks: list[Mask] = []
        with torch.inference_mode(), exact_arithmetic(self._device):
            for start in range(0, len(images), _BATCH):
                batch = images[start : start + _BATCH]
                logits = self._network(_pixels(batch, self._size).to(self._device)).cpu()
                masks += [_resize(one, image.shape[:2]) for one, image in zip(logits, batch, strict=True)]
        return masks

    def notes(self) -> dict[str, str | float]:
        """Return its weights and how good it is on real validation images, for the scorecard."""
        return {"judge_weights": self.weights, "judge_dice_validation": self.dice}


def open_judge(
    train: PairSequence,
    validation: PairSequence,
    train_id: str,
    settings: JudgeSettings = JudgeSettings(),
    *,
    device: str = "cpu",
    note: Callable[[str], None] = lambda text: None,
    progress: Progress = SilentProgress(),
) -> Judge:
    """Return the judge of a protocol's training images, from the cache or trained now.

    Args:
        train, validation: real images; the second only tell how good it is.
        train_id: names both sets' content, such as their manifests' sha256.
    """
    recipe = json.dumps([asdict(settings), LITE0_SHA256, train_id], sort_keys=True)
    key = hashlib.sha256(recipe.encode()).hexdigest()
    folder = home() / "judges" / key[:16]
    network = JudgeNetwork(settings.width)
    if (folder / _CARD).is_file():
        try:
            card = JudgeCard(**json.loads((folder / _CARD).read_text(encoding="utf-8")))
            network.load_state_dict(load_safetensors(folder / f"{card.weights}.safetensors"))
            return Judge(network, card, settings.size, device)
        except (ValueError, TypeError, RuntimeError, CcbenchError) as error:
            note(f"judge: {folder} is damaged ({' '.join(str(error).split())[:80]}); it is trained anew")
    train_judge(network, train, settings, device, progress)
    data = save({name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()})
    card = JudgeCard(f"judge:lite0-fpn{settings.size}|recipe:{key[:8]}", hashlib.sha256(data).hexdigest()[:8], 0.0)
    judge = Judge(network, card, settings.size, device)
    scores = [compare_masks(judge.segment([pair.image])[0], pair.condition.mask).dice for pair in validation]
    judge.dice = float(np.mean(scores))
    _keep(folder, data, card._replace(dice=judge.dice))
    return judge


def train_judge(
    network: JudgeNetwork, pairs: PairSequence, settings: JudgeSettings, device: str, progress: Progress
) -> None:
    """Train a network in place: cross-entropy and soft Dice on real images, flipped, turned, tinted and blurred.

    Blur and tint are there since a generator's images have them: a judge that has not seen any would measure them.
    """
    parts = [
        (_pixels([pair.image], settings.size, as_bytes=True), _mask(pair.condition.mask, settings.size))
        for pair in pairs  # once: a phantom is rendered each time it is asked for
    ]
    images, masks = (torch.cat(part) for part in zip(*parts, strict=True))
    with kept_random_state():
        torch.manual_seed(derive_seed("judge"))
        for layer in (part for module in (network.sides, network.joints, network.head) for part in module.modules()):
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
    network.to(device).to(memory_format=torch.channels_last).train()
    encoder = [weight for stage in network.encoder.blocks[_FROZEN:] for weight in stage.parameters()]
    decoder = [*network.sides.parameters(), *network.joints.parameters(), *network.head.parameters()]
    rates = [settings.learning_rate, 4 * settings.learning_rate]
    groups = [{"params": part, "lr": rate} for part, rate in zip((encoder, decoder), rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, settings.steps, pct_start=0.15)
    with progress.step("training the judge of masks", settings.steps) as step:
        for rows, generator in _batches(len(images), settings):
            pixels, wanted = _vary(images[rows].float() / 127.5 - 1, masks[rows].float(), generator)
            loss = _loss(network(pixels.to(device)), wanted.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            step.advance(note=f"loss {loss.item():.2f}")
    network.eval().requires_grad_(False)


def _batches(count: int, settings: JudgeSettings) -> Iterator[tuple[torch.Tensor, torch.Generator]]:
    for number in range(settings.steps):
        generator = torch.Generator().manual_seed(derive_seed("judge", number))
        yield torch.randint(count, (settings.batch_size,), generator=generator), generator


def _vary(pixels: torch.Tensor, masks: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels (B, 3, H, W) in -1..1 and masks (B, 1, H, W), each pair varied in its own way."""
    count = len(pixels)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=generator) * 2 - 1

    angle, zoom, flip = draw() * np.pi / 2, torch.exp(0.25 * draw()), draw().sign()
    turned = torch.stack([flip * angle.cos(), -angle.sin(), flip * angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    affine = torch.cat([zoom.view(-1, 1, 1) * turned, 0.15 * draw(2, 1)], 2)
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    pixels, masks = (
        functional.grid_sample(part, grid, padding_mode="reflection", align_corners=False) for part in (pixels, masks)
    )
    pixels = pixels * (1 + 0.12 * draw(3, 1, 1)) * (1 + 0.2 * draw(1, 1, 1)) + 0.15 * draw(1, 1, 1)
    blurs = torch.randint(3, (count, 1, 1, 1), generator=generator)
    for least in (1, 2):
        soft = functional.avg_pool2d(functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
        pixels = torch.where(blurs >= least, soft, pixels)
    return pixels.clamp(-1, 1), masks


def _loss(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    seen = logits.sigmoid()
    dice = (2 * (seen * wanted).sum((1, 2, 3)) + 1) / ((seen + wanted).sum((1, 2, 3)) + 1)
    return functional.binary_cross_entropy_with_logits(logits, wanted) + 1 - dice.mean()


def _pixels(images: Sequence[Image], size: int, as_bytes: bool = False) -> torch.Tensor:
    """Return images as (B, 3, size, size), in -1..1 or as they are."""
    parts = [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None] for image in images]
    if any(part.shape[-2:] != (size, size) for part in parts):
        parts = [functional.interpolate(part, (size, size), mode="bilinear", antialias=True) for part in parts]
    joined = torch.cat(parts)
    return joined if as_bytes else joined.float() / 127.5 - 1


def _mask(mask: Mask, size: int) -> torch.Tensor:
    whole = torch.from_numpy(mask)[None, None].float()
    return (functional.interpolate(whole, (size, size), mode="area") > 0.5) if mask.shape != (size, size) else whole > 0


def _resize(logits: torch.Tensor, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    whole = functional.interpolate(logits[None], shape[:2], mode="bilinear")
    found: NDArray[np.bool_] = (whole[0, 0] > 0).numpy()
    return found


def _keep(folder: Path, data: bytes, card: JudgeCard) -> None:
    """Write weights and then the card that names them: a reader finds both or neither."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / f"{card.weights}.safetensors", data)
    write_atomic(folder / _CARD, json.dumps(card._asdict()).encode())
