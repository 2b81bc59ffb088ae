"""Training steps of ControlNet: ccbench's loop and that of diffusers' example, on the same weights, images and batches.

The peer is the loop of examples/controlnet/train_controlnet.py in diffusers, step by step and with its defaults: images
are encoded by the VAE and prompts by the text encoder in each step, `ControlNetModel` runs as it is, AdamW. Its images
and tokens lie ready in memory. Rounds alternate; a round's first steps are not counted.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import ControlNetModel, DDPMScheduler
from diffusers.optimization import get_scheduler
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ccbench.base.assets import find_backbone
from ccbench.diffusion.backbone import image_tensor, load_backbone, mask_tensor
from ccbench.diffusion.branch import scaled_hint_channels
from ccbench.pipeline.make_run import run_config
from ccbench.pipeline.session import Session
from ccbench.plugins.contract import TrainContext
from ccbench.plugins.registry import find_method
from ccbench.types import PairSequence, ProgressStep, SilentProgress

WARM_UP = 3  # steps of a round that are not counted


class Stopwatch(SilentProgress):
    """Progress that notes when each training step ended, and how long the images took to encode."""

    def __init__(self) -> None:
        self.encoding, self.ends = 0.0, list[float]()

    def step(self, description: str, total: int) -> ProgressStep:
        """Return a step whose time is taken."""
        return _Timed(self, description == "training")


class _Timed:
    def __init__(self, watch: Stopwatch, counts: bool) -> None:
        self._watch, self._counts, self._begin = watch, counts, time.perf_counter()

    def __enter__(self) -> "_Timed":
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._counts:
            self._watch.encoding += time.perf_counter() - self._begin

    def advance(self, amount: int = 1, note: str = "") -> None:
        if self._counts:
            self._watch.ends.append(time.perf_counter())

    def found(self, amount: int) -> None:
        """Do nothing: every round begins anew."""


def ours(context: TrainContext, steps: int) -> tuple[list[float], float]:
    """Train ControlNet as a run does; return the seconds of each step, and of encoding the images once."""
    watch = Stopwatch()
    training = context.training.model_copy(update={"max_steps": steps})
    with TemporaryDirectory() as folder:
        values = {**vars(context), "training": training, "progress": watch, "checkpoint": Path(folder)}
        find_method("controlnet").train(TrainContext(**values))
    return np.diff(watch.ends).tolist()[WARM_UP:], watch.encoding


def peer(context: TrainContext) -> Callable[[int], list[float]]:
    """Return a function that makes steps of diffusers' example and returns the seconds of each."""
    backbone = load_backbone(context.backbone)
    vae, unet, text_encoder = backbone.vae, backbone.unet, backbone.text_encoder
    unet.to(memory_format=torch.contiguous_format)  # as the example has it
    scheduler = DDPMScheduler.from_config(backbone.scheduler.config)
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=scaled_hint_channels(unet))
    controlnet.train()
    training = context.training
    optimizer = torch.optim.AdamW(controlnet.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    rate = get_scheduler("constant", optimizer=optimizer)
    accelerator = Accelerator(cpu=True)
    data = _dataset(context.pairs, backbone.tokenizer)
    loader = DataLoader(data, batch_size=training.batch_size, shuffle=True, drop_last=True)
    controlnet, optimizer, loader, rate = accelerator.prepare(controlnet, optimizer, loader, rate)

    def forever():
        while True:
            yield from loader

    batches = forever()

    def run(steps: int) -> list[float]:
        seconds = []
        for _ in range(steps):
            begin = time.perf_counter()
            pixels, masks, tokens = next(batches)
            with accelerator.accumulate(controlnet):
                with torch.no_grad():
                    latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
                    hidden = text_encoder(tokens, return_dict=False)[0]
                noise = torch.randn_like(latents)
                times = torch.randint(0, scheduler.config.num_train_timesteps, (len(latents),)).long()
                noisy = scheduler.add_noise(latents, noise, times)
                down, middle = controlnet(
                    noisy, times, encoder_hidden_states=hidden, controlnet_cond=masks, return_dict=False
                )
                predicted = unet(
                    noisy,
                    times,
                    encoder_hidden_states=hidden,
                    down_block_additional_residuals=down,
                    mid_block_additional_residual=middle,
                    return_dict=False,
                )[0]
                loss = F.mse_loss(predicted.float(), noise.float(), reduction="mean")
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(controlnet.parameters(), training.max_grad_norm)
                optimizer.step()
                rate.step()
                optimizer.zero_grad(set_to_none=True)
            loss.detach().item()  # the example logs it
            seconds.append(time.perf_counter() - begin)
        return seconds[WARM_UP:]

    return run


def _dataset(pairs: PairSequence, tokenizer: Callable) -> TensorDataset:
    cpu = torch.device("cpu")
    images = image_tensor(np.stack([pair.image for pair in pairs]), cpu)
    masks = mask_tensor([pair.condition.mask for pair in pairs], cpu).contiguous()
    prompts = [pair.condition.prompt for pair in pairs]
    tokens = tokenizer(prompts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
    return TensorDataset(images, masks, tokens)


def main() -> None:
    """Race the two loops and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15, help="of a round, of each loop")
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8], help="batch sizes")
    arguments = parser.parse_args()
    print("| batch | diffusers' example, s a step | ccbench, s a step | images a second | with encoding once |")
    print("|---:|---:|---:|---:|---:|")
    for batch in arguments.batches:
        config = run_config("controlnet", "phantom-128", sets=[f"training.batch_size={batch}"])
        context = TrainContext(
            pairs=Session().split(config.protocol, "train").pairs[:64],
            config=config.settings,
            training=config.training,
            backbone=find_backbone(config.protocol.backbone),
            image_size=config.protocol.image_size,
            checkpoint=Path(),
            seed=0,
        )
        example, theirs, own, encoding = peer(context), list[float](), list[float](), 0.0
        for _ in range(arguments.rounds):
            theirs += example(arguments.steps + WARM_UP)
            seconds, encoding = ours(context, arguments.steps + WARM_UP + 1)
            own += seconds
        a, b = median(theirs), median(own)
        once = encoding / len(context.pairs) * 800 / config.training.max_steps  # 800 images, spread over the training
        print(f"| {batch} | {a:.3f} | {b:.3f} | {a / b:.2f} times | {a / (b + once):.2f} times |")


if __name__ == "__main__":
    main()
