"""What one training step and sampling cost at SD 1.5's size, 512 px, with random weights: no download.

    python benchmarks/paper_scale.py [--device cpu|cuda] [--methods controlnet ccis-diff] [--small]

On the CPU in float32: one training step (batch 1, AdamW) and one sampling step (guidance on). On CUDA in bfloat16: the
mean of some steps, and images a second of 20 steps. Beside them diffusers' StableDiffusionControlNetPipeline, on the
same weights in the same process. Each method has a process of its own, so that peaks are its own.
"""

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionControlNetPipeline

from ccbench.diffusion.backbone import Backbone, EncodedPrompts, encode_prompts
from ccbench.diffusion.branch import ControlBranch
from ccbench.diffusion.branch_training import BranchObjective, TrainingSet
from ccbench.diffusion.sampler import sample_latents
from ccbench.diffusion.sd15 import SD15, Architecture
from ccbench.diffusion.single_file import openai_tokenizer
from ccbench.diffusion.training_loop import Share
from ccbench.plugins.contract import Method, TrainContext, TrainingSettings
from ccbench.plugins.registry import list_methods

LATENT = ("controlnet", "ccis-diff", "uni-controlnet")
PROMPTS = ["a small sessile polyp, redder than the mucosa, in the upper left of a clean colon"]
PARTS = ("unet", "vae", "text_encoder")
SMALL = Architecture(  # to see that the script works
    unet=SD15.unet | {"block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 32, "attention_head_dim": 2},
    vae=SD15.vae | {"block_out_channels": (32, 32, 32, 32)},
    text_encoder=SD15.text_encoder | {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    scheduler=SD15.scheduler,
)
COLUMNS = {
    "name": "",
    "trained": "trained parameters",
    "training": "training step, s",
    "training_peak": "peak, GiB",
    "sampling": "sampling step, s",
    "sampling_peak": "peak, GiB",
    "images": "images/s, 20 steps",
}


class Bench:
    """One method beside a random backbone. On the CPU everything is float32, on CUDA the frozen part is bfloat16."""

    def __init__(self, name: str, device: str, small: bool) -> None:
        torch.manual_seed(0)
        self.cuda, self.device = device == "cuda", torch.device(device)
        self.dtype = torch.bfloat16 if self.cuda else torch.float32
        architecture, self.side = (SMALL, 128) if small else (SD15, 512)
        parts = {part: architecture.build(part).requires_grad_(False).eval() for part in PARTS}  # type: ignore[arg-type]
        parts = {part: network.to(self.device, self.dtype) for part, network in parts.items()}
        self.backbone = Backbone(**parts, tokenizer=openai_tokenizer(), scheduler=architecture.build_scheduler())
        self.method: Method[Any] = next(e.method for e in list_methods() if e.name == name and e.method is not None)
        self.config = self.method.config()
        model = importlib.import_module(f"ccbench_{name.replace('-', '_')}.model")
        self.branch: ControlBranch = model.build(self.backbone, self.config).to(self.device)
        size = (1, 4, self.side // 8, self.side // 8)
        self.noise = torch.randn(size, generator=torch.Generator().manual_seed(1)).to(self.device, self.dtype)
        self.masks = torch.zeros(1, self.side, self.side, dtype=torch.bool, device=self.device)
        self.masks[:, self.side // 4 : self.side // 2, self.side // 4 : self.side // 2] = True

    def sample(self, steps: int) -> None:
        """Our sampler, without the VAE."""
        hints = self.masks[:, None].to(self.dtype).expand(-1, 3, -1, -1)
        with torch.inference_mode():
            sample_latents(self.backbone, self.branch, hints, PROMPTS, self.noise, steps, 7.0)

    def peer(self) -> Callable[[int], None]:
        """diffusers' pipeline on the same networks, without the VAE."""
        pipeline = StableDiffusionControlNetPipeline(
            vae=self.backbone.vae,
            text_encoder=self.backbone.text_encoder,
            tokenizer=self.backbone.tokenizer,
            unet=self.backbone.unet,
            controlnet=self.branch.control,
            scheduler=DDIMScheduler.from_config(self.backbone.scheduler.config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        hints = self.masks[:, None].to(self.dtype).expand(-1, 3, -1, -1)
        settings = {"image": hints, "latents": self.noise, "guidance_scale": 7.0, "output_type": "latent"}
        return lambda steps: pipeline(PROMPTS, num_inference_steps=steps, **settings) and None

    def trainer(self) -> Callable[[int], None]:
        """The training loop's step, on latents that are there; on CUDA the products are in bfloat16."""
        training = TrainingSettings(max_steps=1, batch_size=1)
        context = TrainContext((), self.config, training, "", self.side, Path(), seed=0)
        texts = [encode_prompts(self.backbone, prompts) for prompts in (PROMPTS, [""])]
        told, empty = (EncodedPrompts(t.context.float(), t.words, t.ends) for t in texts)
        latents = self.noise.float()
        cache = TrainingSet(latents, torch.ones_like(latents), self.masks, told, empty)
        branch = self.branch.float().train()
        objective = BranchObjective(context, self.backbone, branch, cache)
        optimiser = torch.optim.AdamW(branch.parameters(), training.learning_rate)

        def step(number: int) -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda):
                loss = objective(number, Share(0, 1))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(branch.parameters(), training.max_grad_norm)
            optimiser.step()

        return step

    def seconds(self, work: Callable[[int], None], argument: int, times: int) -> float:
        """Mean seconds of a call; on CUDA behind a first one."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            work(argument)
            torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(times):
            work(argument)
        if self.cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - begin) / times

    def peak(self) -> float:
        """GiB so far: of the process, and on CUDA of torch's allocations since the last measurement began."""
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return torch.cuda.max_memory_allocated() / 2**30 if self.cuda else kib / 2**20

    def sampling(self, name: str, work: Callable[[int], None]) -> dict[str, Any]:
        """One row's sampling columns."""
        if not self.cuda:
            return {"name": name, "sampling": self.seconds(work, 1, 1), "sampling_peak": self.peak()}
        each = self.seconds(work, 20, 3)
        return {"name": name, "sampling": each / 20, "sampling_peak": self.peak(), "images": 1 / each}


def measure(name: str, device: str, small: bool) -> list[dict[str, Any]]:
    """The row of one method, and of diffusers' pipeline beside controlnet. Sampling first: it needs less memory."""
    bench = Bench(name, device, small)
    bench.branch.to(bench.dtype).eval()
    rows = [bench.sampling(name, bench.sample)]
    if name == "controlnet":
        rows.append(bench.sampling("diffusers' ControlNet pipeline", bench.peer()))
    step = bench.trainer()
    rows[0] |= {"training": bench.seconds(step, 0, 5 if bench.cuda else 1), "training_peak": bench.peak()}
    rows[0]["trained"] = sum(parameter.numel() for parameter in bench.branch.parameters())
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the columns that have a value."""
    used = {key: title for key, title in COLUMNS.items() if any(key in row for row in rows)}
    lines = [f"| {' | '.join(used.values())} |", f"|---|{'---:|' * (len(used) - 1)}"]
    for row in rows:
        cells = (_cell(row.get(key)) for key in used)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else str(value or "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    installed = [entry.name for entry in list_methods() if entry.name in LATENT and entry.method is not None]
    parser.add_argument("--methods", nargs="+", choices=installed, default=installed)
    parser.add_argument("--small", action="store_true", help="a narrow network, to see that this works")
    parser.add_argument("--rows", action="store_true", help="measure one method here and print JSON")
    given = parser.parse_args()
    if given.rows:
        print(json.dumps([row for name in given.methods for row in measure(name, given.device, given.small)]))
        return
    rows = []
    for name in given.methods:
        command = [sys.executable, __file__, "--rows", "--device", given.device, "--methods", name]
        done = subprocess.run([*command, *["--small"] * given.small], stdout=subprocess.PIPE, text=True, check=True)
        rows += json.loads(done.stdout.splitlines()[-1])
    cores = f", {torch.get_num_threads()} threads" if given.device == "cpu" else f", {torch.cuda.get_device_name()}"
    print(f"{given.device}{cores}, torch {torch.__version__}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
