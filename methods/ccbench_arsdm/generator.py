"""Loads a trained ArSDM and samples it."""

from collections.abc import Sequence

import numpy as np
import torch

from ccbench.diffusion.training_loop import WEIGHTS, load_weights
from ccbench.plugins.contract import Generator, LoadContext, require_parts
from ccbench.types import Condition, Image, Mask
from ccbench_arsdm import METHOD
from ccbench_arsdm.config import ArsdmConfig
from ccbench_arsdm.geometry import Frame
from ccbench_arsdm.model import SpadeUNet, build, one_hot
from ccbench_arsdm.sampling import sample


class ArsdmGenerator:
    """A `Generator` on a trained network. An image has the shape of its mask; prompts are not read."""

    def __init__(self, context: LoadContext[ArsdmConfig], network: SpadeUNet) -> None:
        self._context = context
        self._network = network

    def generate(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Image]:
        """Return one (H, W, 3) uint8 image per condition with an (H, W) mask; see `Generator.generate`."""
        if len(conditions) != len(seeds):
            raise ValueError(f"{len(conditions)} conditions but {len(seeds)} seeds; wanted one seed per condition")
        require_parts(METHOD.info, conditions)
        images: list[Image] = []
        for start in range(0, len(conditions), self._context.batch_size):
            stop = start + self._context.batch_size
            images += self._generate_batch([condition.mask for condition in conditions[start:stop]], seeds[start:stop])
        return images

    def _generate_batch(self, masks: Sequence[Mask], seeds: Sequence[int]) -> list[Image]:
        config, device = self._context.config, self._context.device
        frames = [Frame.of(mask, config) for mask in masks]
        fitted = np.stack([frame.fit_mask(mask) for frame, mask in zip(frames, masks, strict=True)])
        layout = one_hot(torch.from_numpy(fitted).to(device))
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        sampled = sample(self._network, layout, generators, config.num_inference_steps, config.eta)
        pixels = ((sampled + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return [frame.restore(image) for frame, image in zip(frames, pixels, strict=True)]


def load(context: LoadContext[ArsdmConfig]) -> Generator:
    """Return the generator of a trained checkpoint, that is of the moving average of its weights."""
    network = build(context.config.unet)
    load_weights(network, context.checkpoint / WEIGHTS)
    return ArsdmGenerator(context, network.to(context.device).eval().requires_grad_(False))
