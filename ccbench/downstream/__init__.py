"""What is done with polyp masks: the judge of mask fidelity."""
