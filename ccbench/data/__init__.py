"""Data sources: where the images, masks and captions of a protocol come from."""
