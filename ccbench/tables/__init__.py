"""Numbers and pictures in print, and tables kept beside a board."""
