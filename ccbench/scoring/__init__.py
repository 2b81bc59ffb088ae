"""Scores of synthetic images: of one synthesis under a protocol, or of any two folders."""

from ccbench.scoring.folders import score_folders
from ccbench.scoring.parts import REAL_SPLIT, VAE_CEILING
from ccbench.scoring.synthesis import SynthesisScorer

__all__ = ["REAL_SPLIT", "VAE_CEILING", "SynthesisScorer", "score_folders"]
