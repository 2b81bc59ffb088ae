"""CLIP-score and CLIP-image: cosines of paired features, in points of 100."""

import numpy as np
from numpy.typing import NDArray


def clip_score(image_features: NDArray[np.floating], text_features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return max(100 cos(image_i, text_i), 0) of features (N, D) for each pair; the score is the mean.

    Hessel et al. 2021 with the weight 100 in place of 2.5, as CLIP-score is printed in the literature.

    Raises:
        ValueError: the arrays do not pair up, or a row is zero or not finite.
    """
    return np.maximum(_cosines(image_features, text_features), 0.0)


def clip_image(image_features: NDArray[np.floating], real_features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 100 cos(image_i, real_i) of features (N, D) for each pair; the score is the mean.

    Raises:
        ValueError: the arrays do not pair up, or a row is zero or not finite.
    """
    return _cosines(image_features, real_features)


def _cosines(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"features have shapes {a.shape} and {b.shape}, wanted two equal (N, D)")
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError("features: a row is zero or not finite, so it has no direction")
    return np.asarray(100.0 * np.sum(a * b, axis=1) / lengths)
