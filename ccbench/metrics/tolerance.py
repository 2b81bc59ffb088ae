"""By how much a score may differ between two computations of it, on other machines or with other threads."""

from ccbench.metrics.cards import metric_info

OF_VALUE, OF_ERROR = 1e-3, 0.05
"""Of a value, and of its standard error: allowed between features, or reference segmenters, of two machines."""

OF_P = 0.01
"""Of a permutation p-value, which moves in steps when features do."""


def allowed(metric: str, value: float, error: float, n: int, n_real: int | None = None) -> float:
    """Return by how much a score of n images, or the difference of two, may differ from its value on record.

    Args:
        metric: its name.
        value: on record; of a difference the larger of both.
        error: standard error of the value or difference, 0 where there is none.
        n: synthetic images.
        n_real: real images.
    """
    return OF_VALUE * abs(value) + OF_ERROR * error + one_image(metric, n, n_real)


def one_image(metric: str, n: int, n_real: int | None = None) -> float:
    """Return by how much one image, of n or of n_real, moves a metric that counts them, else 0.

    The rounding of another machine, or of another number of threads, is enough for an image on a threshold.
    """
    counted = {"images": n, "reference": n_real, None: None}[metric_info(metric).counts]
    return 1 / counted if counted else 0.0
