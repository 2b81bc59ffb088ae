"""Plans of ablations: from a method's modules, from values to vary, and from the recorded files."""

from pathlib import Path

import pytest

from ccbench.errors import UsageError
from ccbench.plugins.registry import find_method, list_methods
from ccbench.studies.ablation.variants import FULL, make_quick, plan_name, plan_of_modules, plan_of_values, read_plan

RECORDED = sorted(Path(__file__).parents[2].joinpath("configs", "ablations").glob("*.toml"), key=lambda path: path.stem)
GRID = {"-bmws", "-taam", "-both", "blur only", "convex", "mode A", "mode C", "mode D", "sigma 4", "sigma 16"}


def test_modules_are_left_out_one_by_one_and_together() -> None:
    plan = plan_of_modules("ccis-diff", "phantom-128")
    assert list(plan.variants) == ["full", "-bmws", "-taam", "-both"] and plan.base == FULL and plan.seeds == (0, 1, 2)
    settings = {name: configs[0].settings for name, configs in plan.configs().items()}
    states = {name: (one.bmws.enabled, one.taam.enabled) for name, one in settings.items()}
    assert states == {"full": (True, True), "-bmws": (False, True), "-taam": (True, False), "-both": (False, False)}
    assert [claim.without for claim in plan.claims] == ["-bmws", "-taam"]
    assert list(plan_of_modules("arsdm", "phantom-128").variants) == ["full", "-adaptive-loss"]
    with pytest.raises(UsageError, match="--method controlnet: its card names no modules; give a FILE"):
        plan_of_modules("controlnet", "phantom-128")


def test_everything_but_the_variants_settings_is_the_same() -> None:
    """One training order and one noise: all draws follow the run's seed and the condition alone."""
    configs = plan_of_modules("ccis-diff", "phantom-128").configs()
    assert [[one.seed for one in held] for held in configs.values()] == [[0, 1, 2]] * 4
    dumps = [held[1].model_dump(exclude={"settings", "overrides"}) for held in configs.values()]
    assert all(dump == dumps[0] for dump in dumps)
    assert len({one.config_hash for held in configs.values() for one in held}) == 12


def test_values_are_varied_one_at_a_time_or_crossed() -> None:
    varied = ["taam.mode=A,B,C", "bmws.sigma=4, 8"]
    plan = plan_of_values("ccis-diff", "phantom-128", varied)
    assert list(plan.variants) == ["full", "taam.mode=A", "taam.mode=C", "bmws.sigma=4"]  # B and 8 are the full one's
    assert plan.configs()["bmws.sigma=4"][0].settings.bmws.sigma == 4
    assert plan_name(plan) == "ccis-diff-taam.mode-bmws.sigma"
    crossed = plan_of_values("ccis-diff", "phantom-128", varied, cross=True)
    assert len(crossed.variants) == 6 and "taam.mode=A, bmws.sigma=4" in crossed.variants
    both = crossed.configs()["taam.mode=A, bmws.sigma=4"][0].settings
    assert (both.taam.mode, both.bmws.sigma) == ("A", 4)


@pytest.mark.parametrize(
    ("varied", "message"),
    [
        (["taam.mode"], "--vary taam.mode: wanted KEY=VALUE,VALUE"),
        (["taam.mode=A,,B"], "wanted KEY=VALUE,VALUE"),
        (["taam.mode=B"], "the full method has these values; give others"),
        (["taam.mode=A", "taam.mode=C"], "a key is named twice"),
        (["taam.mood=A"], "did you mean"),
        (["taam.mode=E"], "taam.mode"),
    ],
)
def test_values_that_cannot_be_varied(varied: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_of_values("ccis-diff", "phantom-128", varied)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_plans_resolve(path: Path) -> None:
    plan = read_plan(path)
    assert len(plan.configs()) == len(plan.variants) and plan_name(plan).isascii()


def test_recorded_plans_are_the_modules_and_the_rest_of_the_grid() -> None:
    plans = {path.stem: read_plan(path) for path in RECORDED}
    assert plans["ccis-diff-modules"] == plan_of_modules("ccis-diff", "phantom-128")
    names = {plan_name(plan) for plan in plans.values()}
    assert names == plans.keys() == {"ccis-diff-bmws", "ccis-diff-modules", "ccis-diff-taam"}
    assert {plan.base for plan in plans.values()} == {"full"}
    grid = {name for plan in plans.values() for name in plan.variants}
    assert grid == {"full", *GRID, "reinject none", "tokens words", "tokens no_sot"}


HEAD = 'title = "a"\nmethod = "ccis-diff"\nprotocol = "p"\n'
CLAIM = '[[claims]]\nmodule = "m"\nsays = "s"\nwithout = "c"\nmetrics = ["fid"]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title =", "not TOML"),
        (f"{HEAD}[variants]\nfull = {{}}", "1 variants, wanted two or more"),
        (f"{HEAD}seeds = [0, 0]\n[variants]\na = {{}}\nb = {{}}", "different numbers"),
        ('name = "a"', "title: Field required"),
        (f"{HEAD}[variants]\na = {{}}\nb = {{}}\n{CLAIM}", "no variant 'c' beside the first"),
    ],
)
def test_files_that_hold_no_plan(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_plan(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")


def test_two_names_of_one_setting_are_refused() -> None:
    plan = plan_of_modules("ccis-diff", "phantom-128")
    plan = plan.model_copy(update={"variants": {"full": {}, "again": {"taam.mode": "B"}}})
    with pytest.raises(UsageError, match="variants 'full' and 'again' have the same settings"):
        plan.configs()


def test_quick_is_one_seed_and_a_short_training() -> None:
    quick = make_quick(plan_of_modules("ccis-diff", "phantom-128"))
    (config,) = quick.configs()["-bmws"]
    assert config.seed == 0 and config.quick and config.training.max_steps == 188
    assert config.not_comparable[0].startswith("quick: ")


def test_modules_of_installed_methods_name_settings_and_metrics() -> None:
    """A card whose module has a key or a metric that is not there would fail in the middle of an ablation."""
    with_modules = [entry.name for entry in list_methods() if entry.method and find_method(entry.name).modules]
    assert with_modules == ["arsdm", "ccis-diff"]
    for name in with_modules:
        plan_of_modules(name, "phantom-128").configs()
