"""The noise schedule, and DDIM with fresh noise at every step (METHODS sections 6.2 and 6.5)."""

from collections.abc import Callable, Sequence

import torch
from diffusers import DDIMScheduler

from ccbench_arsdm.config import TRAIN_TIMESTEPS

Predict = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Noisy images (B, 3, S, S), timesteps (B,), one-hot masks (B, 2, S, S) -> epsilon."""


def make_schedule() -> DDIMScheduler:
    """Return the released schedule: latent diffusion's betas, steps from 1 on, nothing clipped on the way."""
    return DDIMScheduler(
        num_train_timesteps=TRAIN_TIMESTEPS,
        beta_start=0.0015,
        beta_end=0.0205,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


@torch.no_grad()
def sample(
    predict: Predict, layout: torch.Tensor, generators: Sequence[torch.Generator], steps: int, eta: float
) -> torch.Tensor:
    """Return (B, 3, S, S) images, about -1 to 1, under (B, 2, S, S) one-hot masks.

    All noise of an image comes from its own generator, drawn on the CPU: neither the device nor its neighbours in the
    batch change it.
    """

    def draw() -> torch.Tensor:
        shape = (3, *layout.shape[2:])
        return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(layout.device)

    schedule = make_schedule()
    schedule.set_timesteps(steps, device=layout.device)
    images = draw()
    for timestep in schedule.timesteps:
        predicted = predict(images, timestep.expand(len(images)), layout)
        noise = draw() if eta else None
        images = schedule.step(predicted, timestep, images, eta=eta, variance_noise=noise).prev_sample
    return images
