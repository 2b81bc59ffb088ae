"""The networks of the segmenters, for mmsegmentation."""
