"""Scores of synthetic images: of one synthesis under a protocol, or of any two folders."""

from ccbench.scoring.folders import score_folders
from ccbench.scoring.parts import REAL_SPLIT, VAE_CEILING
from ccbench.scoring.synthesis import score_synthesis

__all__ = ["REAL_SPLIT", "VAE_CEILING", "score_folders", "score_synthesis"]
