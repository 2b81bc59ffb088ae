"""Trains ArSDM: L1 on epsilon in pixels, weighed by polyp and background area, with or without refinement."""

import dataclasses
import time

import numpy as np
import torch
from torch.func import functional_call

from ccbench.base.seeding import derive_seed
from ccbench.diffusion.training_loop import MovingAverage, Objective, Share, batch_order, prepare_process, run_steps
from ccbench.plugins.contract import TrainContext, TrainReport
from ccbench_arsdm.config import TRAIN_TIMESTEPS, ArsdmConfig
from ccbench_arsdm.geometry import Frame
from ccbench_arsdm.model import SpadeUNet, build, one_hot
from ccbench_arsdm.refinement import Segmenter, structure_loss, to_unit, train_segmenter
from ccbench_arsdm.sampling import make_schedule, sample


def train(context: TrainContext[ArsdmConfig]) -> TrainReport:
    """Leave the moving average of the weights and `loss.csv` in the checkpoint folder; a segmenter, if one judged."""
    started = time.perf_counter()
    accelerator = prepare_process(context)
    images, masks = fit_pairs(context)
    segmenter = None
    if context.config.refine.mode != "off":
        segmenter = train_segmenter(context, accelerator, images, masks)
    torch.manual_seed(derive_seed("weights", context.seed))
    network = build(context.config.unet).to(accelerator.device).train()
    objective = ArsdmObjective(context, network, images, masks, segmenter)
    report = run_steps(
        context,
        objective,
        accelerator,
        learning_rate=context.config.learning_rate,
        average=MovingAverage(context.config.ema_decay),
    )
    return dataclasses.replace(report, seconds=time.perf_counter() - started)


def fit_pairs(context: TrainContext[ArsdmConfig]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training set at the network's size: (N, 3, S, S) uint8 images and (N, S, S) bool masks."""
    config, images, masks = context.config, [], []
    with context.progress.step("resizing training images", len(context.pairs)) as progress:
        for index in range(len(context.pairs)):
            pair = context.pairs[index]
            frame = Frame.of(pair.condition.mask, config)
            images.append(frame.fit_image(pair.image).transpose(2, 0, 1))
            masks.append(frame.fit_mask(pair.condition.mask))
            progress.advance()
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))


def adaptive_weights(masks: torch.Tensor) -> torch.Tensor:
    """Return w = m (1 - r) + (1 - m) r, r the share of the image that is polyp, of (B, 1, S, S) masks of 0 and 1.

    An empty mask gets 0 everywhere. Nothing is renormalised: an image's weights add up to 2 r (1 - r) of its pixels.
    """
    share = masks.mean((1, 2, 3), keepdim=True)
    return masks * (1 - share) + (1 - masks) * share


class ArsdmObjective(Objective):
    """The diffusion loss, and the segmenter's where the network is refined."""

    def __init__(
        self,
        context: TrainContext[ArsdmConfig],
        network: SpadeUNet,
        images: torch.Tensor,
        masks: torch.Tensor,
        segmenter: Segmenter | None = None,
    ) -> None:
        super().__init__()
        self.network: SpadeUNet = network
        self._context, self._images, self._masks = context, images, masks
        self._judge = None if segmenter is None else [segmenter]  # in a list: no submodule, it is frozen
        self._schedule = make_schedule()

    def forward(self, step: int, share: Share) -> torch.Tensor:
        """Return the loss of a step; see `Objective.forward`."""
        config, training, seed = self._context.config, self._context.training, self._context.seed
        device = self.network.conv_in.weight.device
        generator = torch.Generator().manual_seed(derive_seed("train", seed, step))
        whole = batch_order(len(self._masks), training.batch_size, seed, step)
        noise = share.of(torch.randn((len(whole), *self._images.shape[1:]), generator=generator)).to(device)
        timesteps = share.of(torch.randint(0, TRAIN_TIMESTEPS, (len(whole),), generator=generator)).to(device)
        picked = share.of(whole)
        images, masks = to_unit(self._images[picked].to(device)), self._masks[picked].to(device)
        noisy = self._schedule.add_noise(images, noise, timesteps)
        predicted: torch.Tensor = self.network(noisy, timesteps, one_hot(masks))
        errors = (predicted - noise).abs()
        loss = (errors * adaptive_weights(masks[:, None].float()) if config.adaptive_loss else errors).mean()
        if self._judge is None or step < training.max_steps - config.refine.steps:
            return loss
        if config.refine.mode == "official_nograd":
            return loss + self._judge_samples(masks, [derive_seed("refine", seed, step, int(i)) for i in picked])
        return loss + config.refine.scale * self._judge_one_step(noisy, timesteps, predicted, masks)

    @torch.no_grad()
    def _judge_samples(self, masks: torch.Tensor, seeds: list[int]) -> torch.Tensor:
        """Return the segmenter's loss on samples of the averaged weights, a constant as in the released code."""
        config, averaged = self._context.config, self.averaged or dict(self.network.state_dict())
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        images = sample(
            lambda *inputs: functional_call(self.network, averaged, inputs),
            one_hot(masks),
            generators,
            config.num_inference_steps,
            config.eta,
        )
        return self._judge_images(images, masks).mean()

    def _judge_one_step(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, predicted: torch.Tensor, masks: torch.Tensor
    ) -> torch.Tensor:
        """Return the segmenter's loss on x0 = (x_t - sqrt(1 - a) eps) / sqrt(a), mean of the samples in the window."""
        inside = timesteps <= self._context.config.refine.max_timestep
        alphas = self._schedule.alphas_cumprod.to(noisy.device)[timesteps][:, None, None, None]
        images = (noisy - (1 - alphas).sqrt() * predicted) / alphas.sqrt()
        losses = self._judge_images(images, masks)
        return (losses * inside).sum() / inside.sum().clamp_min(1)

    def _judge_images(self, images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the segmenter's loss of each of (B, 3, S, S) images against (B, S, S) bool masks."""
        assert self._judge is not None
        logits = self._judge[0](images.clamp(-1, 1))
        return structure_loss(logits, masks[:, None].float(), self._context.config.refine.bce)
