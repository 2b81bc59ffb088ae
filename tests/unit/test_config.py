"""Defaults < protocol < file < --set; unknown keys name the nearest; the hash covers what changes an image."""

import json
from pathlib import Path
from typing import Any

import pytest

from ccbench.errors import DataError, UsageError
from ccbench.protocols.config import QUICK_SHARE, RunConfig, resolve_config, restore_config
from ccbench.protocols.protocol import Protocol
from fake_methods import METHOD, FakeConfig


def test_stored_results_keep_their_hashes() -> None:
    """Settings that were added later stay out of a hash while they have their default."""
    files = sorted(Path(__file__).parents[2].glob("leaderboards/*/results/*/*.json"))
    assert len(files) > 20
    for file in files:
        record = json.loads(file.read_text())["record"]
        config = restore_config(record["config"])
        found = (config.config_hash, config.protocol.hash, list(config.not_comparable))
        assert found == (record["config_hash"], record["protocol_hash"], record["not_comparable"]), file


def test_settings_that_were_added_later_count_once_they_are_changed(small_protocol: Protocol) -> None:
    plain = resolve_config(METHOD, small_protocol)
    for setting in ("precision=bf16", "gradient_accumulation=2"):
        changed = resolve_config(METHOD, small_protocol, sets=[f"training.{setting}"])
        assert changed.config_hash != plain.config_hash and len(changed.not_comparable) == 1
        key = setting.partition("=")[0]
        training = small_protocol.training.model_copy(update={key: getattr(changed.training, key)})
        assert small_protocol.model_copy(update={"training": training}).hash != small_protocol.hash


@pytest.fixture
def resolve(small_protocol: Protocol) -> Any:
    def call(*sets: str, **given: Any) -> RunConfig:
        return resolve_config(METHOD, small_protocol, sets=sets, **given)

    return call


def settings(config: RunConfig) -> FakeConfig:
    assert isinstance(config.settings, FakeConfig)
    return config.settings


def test_without_overrides_the_protocol_decides(resolve: Any, small_protocol: Protocol) -> None:
    config = resolve()
    assert config.training == small_protocol.training
    assert (config.settings.num_inference_steps, config.settings.guidance_scale) == (20, 7.0)
    assert config.not_comparable == ()


def test_protocol_beats_the_methods_default(small_protocol: Protocol) -> None:
    protocol = small_protocol.model_copy(update={"sampling": {"guidance_scale": 2.5, "no_such_field": 1}})
    assert resolve_config(METHOD, protocol).settings.guidance_scale == 2.5


def test_order_is_file_then_set(resolve: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('tint = 0.25\n[method]\nguidance_scale = 2.0\ntaam.mode = "A"\n[training]\nmax_steps = 9\n')
    config = resolve("guidance_scale=3", "training.learning_rate=1e-4", file=file)
    assert settings(config).taam.mode == "A"
    assert settings(config).tint == 0.25
    assert settings(config).guidance_scale == 3.0
    assert (config.training.max_steps, config.training.learning_rate) == (9, 1e-4)
    assert config.overrides == {
        "method.tint": 0.25,
        "method.guidance_scale": 3,
        "method.taam.mode": "A",
        "training.max_steps": 9,
        "training.learning_rate": 1e-4,
    }


@pytest.mark.parametrize("text", ["taam.mode=off", "method.taam.mode=off", 'taam.mode="off"', "taam.mode = off"])
def test_plain_text_and_quoted_text_are_one(resolve: Any, text: str) -> None:
    assert settings(resolve(text)).taam.mode == "off"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("guidance_scal=3", r"--set: unknown key 'guidance_scal'; did you mean 'method.guidance_scale'\?"),
        ("taam.mod=A", r"did you mean 'method.taam.mode'\?"),
        ("max_steps=3", r"unknown key 'max_steps'; did you mean 'training.max_steps'\?"),
        ("training.max_step=3", r"did you mean 'training.max_steps'\?"),
        ("zzzzzz=1", r"unknown key 'zzzzzz'; known: method.num_inference_steps"),
        ("taam=A", r"'taam' is a group of settings; set one of method.taam.mode, method.taam.tokens"),
        ("guidance_scale", r"--set guidance_scale: wanted key=value"),
        ("tint=2", r"--set tint=2: .*less than or equal to 1 \(method.tint\)"),
        ("taam.tokens=many", r"--set taam.tokens=many: .*valid integer.* \(method.taam.tokens\)"),
        ("training.max_steps=-1", r"--set training.max_steps=-1: .*greater than or equal to 0"),
        ("training.max_steps=", r"valid integer"),
    ],
)
def test_a_wrong_override_is_one_clear_line(resolve: Any, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        resolve(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[method]\nguidance = 3\n", "run.toml: unknown key 'method.guidance'; did you mean 'method.guidance_scale'"),
        ("[trainin]\nmax_steps = 3\n", "unknown key 'trainin.max_steps'; did you mean 'training.max_steps'"),
        ("[method]\ntint = 'red'\n", "run.toml: method.tint = 'red': .*valid number"),
        ("[method\n", "not TOML"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_clear_line(resolve: Any, tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "run.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=message):
        resolve(file=file)


def test_a_wrong_seed_or_limit_names_its_option(resolve: Any) -> None:
    with pytest.raises(UsageError, match="--limit 0"):
        resolve(limit=0)
    with pytest.raises(UsageError, match="--seed -1"):
        resolve(seed=-1)


def test_the_hash_follows_what_changes_an_image(resolve: Any, small_protocol: Protocol) -> None:
    plain = resolve().config_hash
    assert resolve().config_hash == plain
    assert resolve("guidance_scale=7").config_hash == plain  # set to what it was
    assert resolve("tile=32").config_hash == plain  # marked affects_image=False
    other_protocol = resolve_config(METHOD, small_protocol.model_copy(update={"version": 2}))
    changed = [
        resolve("taam.tokens=5"),
        resolve("guidance_scale=3"),
        resolve("training.max_steps=4"),
        resolve(seed=1),
        resolve(limit=3),
        other_protocol,
    ]
    assert len({plain, *(config.config_hash for config in changed)}) == 7


def test_why_a_run_is_not_comparable(resolve: Any) -> None:
    assert resolve("taam.mode=A", seed=5).not_comparable == ()
    config = resolve("training.max_steps=4", "guidance_scale=3", limit=2)
    assert config.not_comparable == (
        "limit=2",
        "training.max_steps=4 (protocol: 3)",
        "method.guidance_scale=3.0 (protocol: 7.0)",
    )


def test_a_recorded_configuration_comes_back(resolve: Any, fake_plugin: str) -> None:
    config = resolve("taam.mode=A", "training.max_steps=4", seed=2, limit=5)
    back = restore_config(config.model_dump(mode="json"))
    assert back == config
    assert back.config_hash == config.config_hash


def test_a_record_of_another_version_of_the_method_is_refused(resolve: Any, fake_plugin: str) -> None:
    dump = resolve().model_dump(mode="json")
    dump["settings"]["dropped_since"] = 1
    with pytest.raises(DataError, match="'fake' does not fit the installed version: dropped_since"):
        restore_config(dump)


def test_a_protocol_may_freeze_part_of_a_methods_group(small_protocol: Protocol) -> None:
    own = {"fake": {"taam": {"tokens": 7}, "guidance_scale": 1.5}}
    protocol = small_protocol.model_copy(update={"method_settings": own})
    config = resolve_config(METHOD, protocol)
    assert settings(config).taam.tokens == 7 and config.settings.guidance_scale == 1.5
    assert config.not_comparable == ()
    changed = resolve_config(METHOD, protocol, sets=["taam.tokens=9"])
    assert changed.not_comparable == ("method.taam={'mode': 'B', 'tokens': 9} (protocol: {'mode': 'B', 'tokens': 7})",)
    assert own["fake"]["taam"] == {"tokens": 7}  # --set writes into a copy
    assert protocol.hash == small_protocol.hash  # the other rows stay comparable


def test_a_quick_run_trains_less_on_some_of_the_images(
    resolve: Any, small_protocol: Protocol, fake_plugin: str
) -> None:
    plain, quick = resolve(), resolve(quick=True)
    frozen = small_protocol.training
    assert quick.training.max_steps == -(-frozen.max_steps // QUICK_SHARE) < frozen.max_steps
    assert quick.training.batch_size == 2 * frozen.batch_size
    assert [quick.limit_of(split) for split in ("train", "test", "validation")] == [400, 40, None]
    assert [plain.limit_of(split) for split in ("train", "test", "validation")] == [None] * 3
    assert [resolve(quick=True, limit=60).limit_of(split) for split in ("train", "test")] == [60, 40]
    assert quick.config_hash != plain.config_hash
    assert quick.not_comparable[0].startswith("quick: the first 400 training images and 40 test conditions")
    assert resolve("training.max_steps=2", quick=True).training.max_steps == 2
    whole = [f"training.max_steps={frozen.max_steps}", f"training.batch_size={frozen.batch_size}"]
    assert resolve(*whole, quick=True).not_comparable == quick.not_comparable[:1]
    assert restore_config(quick.model_dump(mode="json")).config_hash == quick.config_hash
