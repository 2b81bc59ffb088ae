"""Helpers without domain words: files, images, masks in files, seeds, weights files, processes, the environment."""
