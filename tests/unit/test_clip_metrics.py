"""CLIP-score, CLIP-image, set scores, and the table of metrics."""

import numpy as np
import pytest

from ccbench.errors import UsageError
from ccbench.metrics import METRICS, metric_info, set_metric_name, sign
from ccbench.metrics.images.clip import clip_image, clip_score
from ccbench.metrics.sets.set_scores import set_scores


def test_cosines_by_hand() -> None:
    a = np.array([[1.0, 0], [1, 1], [1, 0], [2, 0]])
    b = np.array([[5.0, 0], [1, 0], [0, 3], [-1, 0]])
    assert clip_score(a, b) == pytest.approx([100, 100 / np.sqrt(2), 0, 0])  # negative ones count as zero
    assert clip_image(a, b) == pytest.approx([100, 100 / np.sqrt(2), 0, -100])


def test_length_and_order_do_not_matter_but_pairing_does() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 8)), rng.normal(size=(6, 8))
    order = rng.permutation(6)
    assert clip_image(a * 7, b / 3) == pytest.approx(clip_image(a, b))
    assert clip_image(a[order], b[order]) == pytest.approx(clip_image(a, b)[order])
    assert clip_image(a, b[order]).mean() != pytest.approx(clip_image(a, b).mean())


def test_features_that_do_not_pair_or_have_no_direction() -> None:
    with pytest.raises(ValueError, match="shapes"):
        clip_score(np.ones((3, 4)), np.ones((2, 4)))
    for bad in (0.0, np.nan):
        with pytest.raises(ValueError, match="direction"):
            clip_score(np.ones((3, 4)), np.full((3, 4), bad))


def test_names_and_signatures() -> None:
    assert set_metric_name("fd", "inception") == "fid"
    assert set_metric_name("kid", "inception") == "kid"
    assert set_metric_name("fd", "lite0") == "fd_lite0"
    assert all(metric_info(name) is info for name, info in METRICS.items())
    assert metric_info("kid_clip-vit-b-16").direction == "down"
    assert metric_info("coverage_lite0").direction == "up"
    assert metric_info("fd_infinity_lite0").title.endswith("infinitely many images, lite0 features")
    signature = sign("fd_lite0", "enc:lite0|w:01234567|resize:r", "2x3", ref="x@y")
    assert signature == "fd_lite0|enc:lite0|w:01234567|resize:r|n:2x3|ref:x@y|v:1"
    with pytest.raises(UsageError, match="clip_score"):
        metric_info("clip_scor")
    with pytest.raises(UsageError, match="unknown metric 'fd_inception'"):  # its name is fid
        metric_info("fd_inception")
    with pytest.raises(UsageError, match="unknown metric"):
        metric_info("fd_infinity_inception")


def test_set_scores_of_every_family_have_a_value_or_a_reason() -> None:
    rng = np.random.default_rng(0)
    families = ("fd", "kid", "cmmd", "precision", "recall", "density", "coverage", "fd_infinity")
    x, y = rng.normal(size=(30, 20)), rng.normal(size=(25, 20))
    scores = set_scores(x, y, "lite0", "enc:lite0", "ref", families)
    assert [score.metric for score in scores] == [f"{family}_lite0" for family in families]
    assert [score.value is None for score in scores] == [False] * 7 + [True]
    assert [score.interval is None for score in scores] == [False] * 6 + [True] * 2
    assert scores[6].value == 1 and "no spread" in str(scores[6].no_interval)  # every real image is covered
    assert scores[-1].reason is not None and "n too small" in scores[-1].reason
    assert scores[3].signature == "precision_lite0|enc:lite0|n:30x25|ref:ref|k:5|v:1"
    assert set_scores(x, y, "lite0", "enc:lite0", "ref") == scores[:2]
    assert scores[-1].no_interval is None  # `reason` says why there is no value at all
    few = set_scores(x[:5], y, "lite0", "enc:lite0", "ref", families)
    assert few[3].reason is not None and "more than k = 5" in few[3].reason
