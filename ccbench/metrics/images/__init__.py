"""Metrics of single images: masks, seams, text, CLIP cosines, and segmenters' maps."""
