"""The use cases: training, synthesis, images from outside, verification."""
