"""Text fidelity: agreement and chance by hand, then images that follow, ignore, or half follow their prompts."""

import numpy as np
import pytest

from ccbench.metrics.images.text_fidelity import text_fidelity

COLOURS = ("red", "pale", "dark")


def draw(n: int, seed: int, names: tuple[str, ...] = ("a", "b", "c")) -> list[dict[str, str]]:
    rng = np.random.default_rng(seed)
    return [{name: COLOURS[rng.integers(3)] for name in names} for _ in range(n)]


def test_by_hand() -> None:
    """Three images; of the others' prompts 1 of 2, 0 of 2 and 2 of 2 agree in `a`, and in `b` 1 of 1 and 0 of 1."""
    stated = [{"a": "red", "b": "x"}, {"a": "red"}, {"a": "dark", "b": "y"}]
    measured = [{"a": "red", "b": "y"}, {"a": "pale"}, {"a": "red", "b": "y"}]
    found = text_fidelity(measured, stated, ("a", "b"))
    assert found is not None
    own, swapped = (0.5 + 0 + 0.5) / 3, (np.mean([1 / 2, 1]) + 0 + np.mean([2 / 2, 0])) / 3
    assert (found.own, found.swapped) == (pytest.approx(own), pytest.approx(swapped))
    assert found.value == pytest.approx((own - swapped) / (1 - swapped))
    assert found.images.tolist() == [0, 1, 2] and found.values.mean() == pytest.approx(found.value)
    # Linearised: value + (own_i - swapped_i - value (1 - swapped_i)) / (1 - swapped), with swapped_i 3/4, 0 and 1/2.
    value, room = -0.25 / 1.75, 1.75 / 3
    gains = np.array([-0.25 - value * 0.25, 0 - value, 0 - value * 0.5])
    assert found.values == pytest.approx(value + gains / room)


def test_following_is_one_ignoring_is_zero_and_half_is_between() -> None:
    stated = draw(400, 0)
    ignoring = draw(400, 1)
    half = [{**said, "b": "red", "c": other["c"]} for said, other in zip(stated, ignoring, strict=True)]
    follows, ignores, some = (text_fidelity(shown, stated, "abc") for shown in (stated, ignoring, half))
    assert follows is not None and ignores is not None and some is not None
    assert follows.value == pytest.approx(1) and follows.own == 1
    assert follows.interval is None  # all images alike: no width to be had from
    assert ignores.interval is not None and ignores.interval.low < 0 < ignores.interval.high
    assert some.value == pytest.approx(1 / 3, abs=0.05)
    assert some.interval is not None and some.interval.low < 1 / 3 < some.interval.high


def test_a_value_that_all_prompts_state_earns_nothing() -> None:
    same = [{"a": "red"}] * 5
    found = text_fidelity(same, same, "a")
    assert found is not None and found.own == found.swapped == 1
    assert found.value is None and found.interval is None and not len(found.values)


def test_unstated_attributes_and_prompts_are_left_out() -> None:
    stated = [{"a": "red"}, {}, {"a": "pale"}, {"b": "red"}]
    measured = [{"a": "red", "b": "red"}] * 4
    found = text_fidelity(measured, stated, "ab", clusters=["u", "v", "u", "w"])
    assert found is not None
    assert (found.n, found.images.tolist(), found.own) == (2, [0, 2], 0.5)  # `b` is stated by one: nothing to swap
    assert found.interval is None  # one cluster
    assert text_fidelity(measured, stated, "c") is None
    with pytest.raises(ValueError, match="3 images for 4 prompts"):
        text_fidelity(measured[:3], stated, "a")
