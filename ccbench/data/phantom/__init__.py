"""Phantoms: rendered colonoscopy frames whose masks and attributes are known exactly."""
