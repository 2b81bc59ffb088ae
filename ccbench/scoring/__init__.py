"""Scores of synthetic images: of one synthesis under a protocol, or of any two folders."""

from ccbench.scoring.encoder_scores import REAL_SPLIT, VAE_CEILING
from ccbench.scoring.synthesis_scorer import SynthesisScorer
from ccbench.scoring.two_folders import score_folders

__all__ = ["REAL_SPLIT", "VAE_CEILING", "SynthesisScorer", "score_folders"]
