"""How well two frames lie on each other: the phase correlation of their fine structure, whatever moved them."""

from collections.abc import Sequence

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

SCALES = (0.90, 0.95, 1.0, 1.05, 1.10)  # a release cuts, frames and squashes anew
_FINE, _LOCAL = 2.0, 4.0  # pixels: detail up to the first is kept, its contrast evened out over the second
_NOISE = 2.0  # grey levels: less contrast than this is not raised to the rest


def spectrum(grey: NDArray[np.uint8]) -> NDArray[np.complex64]:
    """Return the spectrum of the fine structure of a square frame (S, S).

    Light that falls off, colour and exposure are gone: vessels, edges of folds and highlights stay, each frame's own.

    Returns:
        (S, S // 2 + 1), of unit energy; zeros for a frame without structure.
    """
    return _spectrum(grey.astype(np.float32))


def spectra(grey: NDArray[np.uint8], scales: Sequence[float] = SCALES) -> NDArray[np.complex64]:
    """Return the spectra of a frame at some scales, and of its mirror image, (len(scales) + 1, S, S // 2 + 1)."""
    frame = grey.astype(np.float32)
    return np.stack([*(_spectrum(_rescale(frame, scale)) for scale in scales), _spectrum(frame[:, ::-1])])


def overlap(views: NDArray[np.complex64], other: NDArray[np.complex64]) -> float:
    """Return the highest correlation of a frame with another, over all shifts and all views of the first.

    Args:
        views: (V, S, S // 2 + 1), of `spectra`.
        other: (S, S // 2 + 1), of `spectrum`.

    Returns:
        0..1; 1 = one frame.
    """
    size = (views.shape[1], views.shape[1])
    return float(scipy.fft.irfft2(views * np.conj(other), s=size).max())


def _rescale(frame: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Scale a frame about its centre and cut or reflect it to its own size."""
    size = len(frame)
    scaled = zoom(frame, scale, order=1) if scale != 1 else frame
    short = max(0, size - len(scaled))
    padded = np.pad(scaled, (short // 2, short - short // 2), mode="reflect")
    start = (len(padded) - size) // 2
    return padded[start : start + size, start : start + size]


def _spectrum(frame: NDArray[np.float32]) -> NDArray[np.complex64]:
    fine = frame - gaussian_filter(frame, _FINE)
    fine /= np.sqrt(gaussian_filter(fine**2, _LOCAL)) + _NOISE
    window = np.sqrt(np.hanning(len(frame)))
    fine *= np.outer(window, window).astype(np.float32)  # what lies at the edge is not in both frames
    fine -= fine.mean()
    energy = float(np.linalg.norm(fine))
    transformed: NDArray[np.complex64] = scipy.fft.rfft2(fine / energy if energy else fine)
    return transformed
