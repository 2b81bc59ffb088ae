"""The contract checker passes a method that keeps the contract and names what a broken one breaks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_methods
from ccbench.plugins.check import assert_method, check_method
from ccbench.plugins.contract import Method
from ccbench.types import Condition
from fake_methods import METHOD, FakeConfig, OpenConfig, broken

Run = Callable[..., dict[str, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def check(method: Method[Any], **given: Any) -> dict[str, str]:
        results = check_method(method, workdir=tmp_path / "work", backbone=str(tmp_path), **given)
        assert all(result.passed == (not result.detail) for result in results)
        return {result.name: result.detail for result in results}

    return check


def failed(results: dict[str, str]) -> set[str]:
    return {name for name, detail in results.items() if detail}


def test_a_good_method_passes_every_check(run: Run) -> None:
    results = run(METHOD)
    assert failed(results) == set()
    wanted = "no heavy import, unknown key, train, load, count, dtype, size, same seed, other seed, order, batch size"
    assert list(results) == [*wanted.split(", "), "one at a time", "missing prompt"]


@pytest.mark.parametrize(
    ("fault", "check"),
    [(name, {"first seed": "order", "last seed": "other seed"}.get(name, name)) for name in fake_methods.FAULTS],
)
def test_each_fault_fails_its_check(run: Run, fault: str, check: str) -> None:
    assert check in failed(run(broken(fault)))


def test_a_fault_in_one_promise_fails_only_what_depends_on_it(run: Run) -> None:
    assert failed(run(broken("one at a time"))) == {"one at a time"}
    assert failed(run(broken("batch size"))) == {"batch size"}
    assert failed(run(broken("other seed"))) == {"other seed"}


def test_a_neighbours_seed_must_not_matter(run: Run) -> None:
    assert "image 0 kept its seed" in run(broken("last seed"))["other seed"]


def test_an_accepted_empty_prompt_is_found(run: Run) -> None:
    careless = replace(METHOD, load_ref="fake_methods:load_careless")
    assert failed(run(careless)) == {"missing prompt"}


def test_a_method_that_needs_a_background_is_given_one_and_must_ask_for_it(run: Run) -> None:
    needy = replace(METHOD, info=replace(METHOD.info, needs=("mask", "prompt", "background")))
    assert failed(run(needy)) == {"missing background"}  # the fake does not look at it


def test_an_accepted_unknown_key_is_found(run: Run) -> None:
    assert failed(run(replace(METHOD, config=OpenConfig))) == {"unknown key"}


def test_training_that_leaves_nothing_stops_the_check(run: Run) -> None:
    results = run(replace(METHOD, train_ref="fake_methods:train_nothing"))
    assert failed(results) == {"train"}
    assert list(results)[-1] == "train"


def test_a_crash_is_a_finding_in_one_line(run: Run) -> None:
    results = run(replace(METHOD, load_ref="fake_methods:load_crashing"))
    assert results["load"] == "raised RuntimeError: no such layer in the checkpoint"


def test_a_heavy_import_is_found(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fake_heavy.py").write_text("import torch\n")
    (tmp_path / "torch.py").write_text("")  # a stand-in: the check looks at names, and the real one takes seconds
    monkeypatch.syspath_prepend(tmp_path)
    heavy = type("HeavyConfig", (FakeConfig,), {"__module__": "fake_heavy"})
    assert run(replace(METHOD, config=heavy))["no heavy import"] == "import fake_heavy imports torch"


def test_own_conditions_are_used(run: Run) -> None:
    mask = np.zeros((24, 24), dtype=bool)
    mask[4:9, 4:9] = True
    own = [Condition(f"own-{i}", mask, f"polyp number {i}") for i in range(3)]
    assert failed(run(METHOD, conditions=own)) == set()


def as_control(seeded: bool) -> Method[Any]:
    """The fake as a control that needs no training: noise by seed, or none, on the real image of the condition."""
    info = replace(METHOD.info, control=True, seeded=seeded, needs=())
    return replace(METHOD, info=info, train_ref=None, load_ref="fake_methods:load_control")


def test_a_control_is_given_real_images_and_need_not_train(run: Run) -> None:
    results = run(as_control(seeded=True))
    assert failed(results) == set() and {"train", "other seed", "one at a time"} <= set(results)


def test_what_the_card_says_of_seeds_must_hold(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "says seeded=False and another seed changes" in run(as_control(seeded=False))["other seed"]
    monkeypatch.setattr(fake_methods, "CONTROL_NOISE", 0)
    assert failed(run(as_control(seeded=False))) == set()
    assert failed(run(as_control(seeded=True))) == {"other seed"}


def test_a_method_is_given_no_real_images(run: Run) -> None:
    method = replace(METHOD, train_ref=None, load_ref="fake_methods:load_control")
    assert run(method)["load"] == "raised AttributeError: 'NoneType' object has no attribute 'test'"


def test_assert_method_raises_with_every_failure(tmp_path: Path) -> None:
    assert_method(METHOD, workdir=tmp_path / "good", backbone=str(tmp_path))
    with pytest.raises(AssertionError, match="method 'fake' breaks the contract: one at a time: asked for one by one"):
        assert_method(broken("one at a time"), workdir=tmp_path / "bad", backbone=str(tmp_path))
