"""Whether a command runs in one process or in several that work together."""

import os


def process_count() -> int:
    """Return how many processes `accelerate launch` or torchrun started for this command; 1 without them."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def process_rank() -> int:
    """Return this process's number among them; process 0 alone writes and prints."""
    return int(os.environ.get("RANK") or 0) if process_count() > 1 else 0
