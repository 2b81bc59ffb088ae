"""Seeds as hashes of what they are for, never counters: order, sharding and resume cannot change them."""

import hashlib


def derive_seed(*parts: object) -> int:
    """Return a seed in [0, 2**63) that depends on every part's text and on nothing else."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def sample_seed(run_seed: int, condition_id: str, copy: int = 0) -> int:
    """Return the seed of the noise of one synthetic image."""
    return derive_seed("sample", run_seed, condition_id, copy)
