"""What is done with polyp masks: segmenters trained on real and synthetic images, and the judge of mask fidelity."""
