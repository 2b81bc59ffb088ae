from pathlib import Path

import numpy as np
import pytest
import torch

from ccbench.diffusion.backbone import Backbone, load_backbone
from ccbench.types import Condition, RealPair
from tiny_backbone import SIDE, write_tiny_backbone


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_backbone(tmp_path_factory.mktemp("tiny-sd"))


@pytest.fixture(scope="session")
def backbone(backbone_folder: Path) -> Backbone:
    return load_backbone(str(backbone_folder))


@pytest.fixture
def masks() -> torch.Tensor:
    """(2, 3, 64, 64) masks with a disc and a box."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    disc = ((y - 20) ** 2 + (x - 30) ** 2 < 150).float()
    box = ((y > 30) & (y < 60) & (x > 8) & (x < 50)).float()
    return torch.stack([disc, box])[:, None].expand(-1, 3, -1, -1)


@pytest.fixture
def pairs() -> list[RealPair]:
    rng = np.random.default_rng(0)
    found = []
    for index in range(6):
        mask = np.zeros((SIDE, SIDE), bool)
        mask[8 + index : 30 + index, 10:40] = True
        image = rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
        found.append(RealPair(image, Condition(f"c{index}", mask, f"a small red polyp number {index}")))
    return found
