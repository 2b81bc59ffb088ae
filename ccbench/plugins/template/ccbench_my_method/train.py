"""Trains My Method: the mean and the spread of the colours on either side of the masks."""

import time

import numpy as np
from ccbench.plugins.contract import TrainContext, TrainReport
from ccbench.types import RealPair
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ccbench_my_method.config import MyMethodConfig

CHECKPOINT = "colours.safetensors"


def train(context: TrainContext[MyMethodConfig]) -> TrainReport:
    """Fill the checkpoint folder after the protocol's number of steps."""
    begin, training = time.perf_counter(), context.training
    sums = np.zeros((2, 7))
    known: dict[int, NDArray[np.float64]] = {}
    loss: list[tuple[int, float]] = []
    with context.progress.step("training", training.max_steps) as step:
        for number in range(1, training.max_steps + 1):
            rng = np.random.default_rng((context.seed, number))  # by step, so that a training can be resumed anywhere
            for index in map(int, rng.integers(len(context.pairs), size=training.batch_size)):
                if index not in known:
                    known[index] = colour_sums(context.pairs[index])
                sums += known[index]
            if number % 100 == 0 or number == training.max_steps:
                loss.append((number, float(statistics(sums)["spread"].mean())))
            step.advance()
    found = statistics(sums)
    save_file(found, context.checkpoint / CHECKPOINT)
    seconds, trained = time.perf_counter() - begin, sum(values.size for values in found.values())
    return TrainReport(steps=training.max_steps, seconds=seconds, parameters_trained=trained, loss=loss)


def colour_sums(pair: RealPair) -> NDArray[np.float64]:
    """Return (2, 7), mucosa and polyp: number of pixels, their sum and the sum of their squares in RGB."""
    sides = (pair.image[where].astype(np.float64) for where in (~pair.condition.mask, pair.condition.mask))  # (N, 3)
    return np.stack([np.concatenate(([len(side)], side.sum(axis=0), (side**2).sum(axis=0))) for side in sides])


def statistics(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return mean and spread of the colours, (2, 3) each."""
    count = np.maximum(sums[:, :1], 1)
    mean = sums[:, 1:4] / count
    return {"mean": mean, "spread": np.sqrt(np.maximum(sums[:, 4:] / count - mean**2, 0))}
