"""Train the reference segmenter of `phantom-128`, store it as fp16, and measure what that leaves of it.

    python recipes/train_reference_segmenter.py         # into work/reference-segmenter, about five minutes on one core

It is the training that `ccbench run` makes where no reference segmenter is shipped, on the protocol's own images.
"""

import json
from pathlib import Path

import torch

from ccbench.base.images import sha256_file
from ccbench.base.tensor_files import load_safetensors, save_tensors
from ccbench.data.split import open_split
from ccbench.protocols.protocol import find_protocol
from ccbench.scoring.reference_segmenter import plan_reference, reference_settings
from ccbench.segmenters.cell_plan import finish_cell, load_cell
from ccbench.segmenters.cells import CellFolder
from ccbench.segmenters.material import Material
from ccbench.segmenters.prediction import mean_dice

OUTPUT = Path("work/reference-segmenter")


def main() -> None:
    protocol = find_protocol("phantom-128")
    train, validation = (open_split(protocol, name, None) for name in ("train", "validation"))
    settings = reference_settings(protocol.image_size, len(train.pairs))
    cell, sets = plan_reference(train, validation, protocol.name, settings)
    record = finish_cell(cell, OUTPUT / "trained", Material(sets, settings.size), "cpu", note=print)
    trained, shipped = (CellFolder(OUTPUT / name, cell.plan) for name in ("trained", "shipped"))
    shipped.path.mkdir(parents=True, exist_ok=True)
    halved = {
        name: tensor.half() if tensor.dtype == torch.float32 else tensor
        for name, tensor in load_safetensors(trained.weights).items()
    }
    save_tensors(shipped.weights, halved)
    record = record.model_copy(update={"weights_sha256": sha256_file(shipped.weights)})
    network = load_cell(cell, shipped, record, "cpu")
    dice, best = list(record.dice), record.taken - 1
    figures = {"steps": record.steps, "dice_validation_before_rounding": dice[best]}
    dice[best] = figures["dice_validation"] = mean_dice(network, validation.pairs, settings.size)
    shipped.write_record(record.model_copy(update={"dice": tuple(dice)}))
    (OUTPUT / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
