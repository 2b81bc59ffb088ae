"""Refinement: a small polyp segmenter, trained on the training pairs and frozen, judges images (METHODS section 6.4).

The paper's segmenter is a published PraNet; this one is trained here, so that no other weights are needed.
"""

import dataclasses

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F

from ccbench.base.seeding import derive_seed
from ccbench.diffusion.training_loop import Objective, Share, batch_order, run_steps
from ccbench.plugins.contract import TrainContext
from ccbench_arsdm.config import ArsdmConfig, Bce

FOLDER = "segmenter"
LEARNING_RATE = 1e-3
EDGE_WINDOW = 31 / 352  # of the image's side: where PraNet's loss looks for edges
NORM_GROUPS = 8


class Segmenter(nn.Module):
    """A U-shaped network of four levels, mask logits from an image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels, 4 * channels]
        self.encoder = nn.ModuleList(_convolutions(*pair) for pair in zip([3, *widths[:-1]], widths, strict=True))
        self.decoder = nn.ModuleList(
            _convolutions(low + high, high) for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.out = nn.Conv2d(channels, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, 1, S, S) logits of (B, 3, S, S) images in -1 to 1; S is at least 8."""
        levels: list[torch.Tensor] = []
        for layer in self.encoder:
            levels.append(layer(F.avg_pool2d(levels[-1], 2) if levels else images))
        x = levels.pop()
        for layer in self.decoder:
            skip = levels.pop()
            x = layer(torch.cat([F.interpolate(x, size=skip.shape[2:], mode="nearest"), skip], dim=1))
        logits: torch.Tensor = self.out(x)
        return logits


def structure_loss(logits: torch.Tensor, masks: torch.Tensor, bce: Bce) -> torch.Tensor:
    """PraNet's loss of each image, (B,): cross-entropy and IoU, the IoU heavier near the mask's edge.

    Outside the frame the mask is 0, as published: where a polyp is cut by the frame, that is an edge too.

    Args:
        logits: (B, 1, S, S).
        masks: of that shape, 0 or 1.
        bce: "weighted" makes the cross-entropy heavier near the edge as well. "legacy_mean" is its plain mean, as the
            released code has it: there `reduce='none'` is a deprecated flag that any text switches on.
    """
    window = edge_window(masks.shape[-1])
    weight = 1 + 5 * (F.avg_pool2d(masks, window, stride=1, padding=window // 2) - masks).abs()
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    probability = logits.sigmoid()
    both = (weight * probability * masks).sum((1, 2, 3))
    either = (weight * (probability + masks)).sum((1, 2, 3)) - both
    weighing = weight if bce == "weighted" else torch.ones_like(weight)
    mean = (weighing * entropy).sum((1, 2, 3)) / weighing.sum((1, 2, 3))
    return mean + 1 - (both + 1) / (either + 1)


def edge_window(side: int) -> int:
    """Return the odd number of pixels in which the loss looks for edges: PraNet's 31 at 352, that share elsewhere.

    At least 3: in a window of 1 there is no edge.
    """
    return max(3, 2 * round((EDGE_WINDOW * side - 1) / 2) + 1)


class SegmenterObjective(Objective):
    """Mean structure loss of the real images."""

    def __init__(
        self, network: Segmenter, images: torch.Tensor, masks: torch.Tensor, batch_size: int, seed: int, bce: Bce
    ) -> None:
        super().__init__()
        self.network: Segmenter = network
        self._images, self._masks, self._batch_size, self._seed, self._bce = images, masks, batch_size, seed, bce

    def forward(self, step: int, share: Share) -> torch.Tensor:
        """Return the loss of a step; see `Objective.forward`."""
        picked = share.of(batch_order(len(self._masks), self._batch_size, self._seed, step))
        device = self.network.out.weight.device
        images = to_unit(self._images[picked].to(device))
        return structure_loss(self.network(images), self._masks[picked, None].float().to(device), self._bce).mean()


def train_segmenter(
    context: TrainContext[ArsdmConfig], accelerator: Accelerator, images: torch.Tensor, masks: torch.Tensor
) -> Segmenter:
    """Train a segmenter on (N, 3, S, S) uint8 images and (N, S, S) masks, save it in `segmenter`, return it frozen."""
    settings, seed = context.config.refine, derive_seed("segmenter", context.seed)
    torch.manual_seed(seed)
    network = Segmenter(settings.segmenter_channels).to(accelerator.device)
    objective = SegmenterObjective(network, images, masks, context.training.batch_size, seed, settings.bce)
    budget = context.training.model_copy(update={"max_steps": settings.segmenter_steps})
    run_steps(
        dataclasses.replace(context, training=budget),
        objective,
        accelerator,
        folder=context.checkpoint / FOLDER,
        learning_rate=LEARNING_RATE,
        title="training the segmenter",
    )
    return network.eval().requires_grad_(False)


def to_unit(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images as float32 in -1 to 1."""
    return images.float() / 127.5 - 1


def _convolutions(channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 3, padding=1),
        nn.GroupNorm(NORM_GROUPS, out_channels),
        nn.SiLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1),
        nn.GroupNorm(NORM_GROUPS, out_channels),
        nn.SiLU(),
    )
