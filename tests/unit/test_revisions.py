"""A method's revision: runs of two revisions are never resumed, compared or shown as one; older records keep hashes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_methods
from board_runs import add_unverified, make_card, make_run
from ccbench.base.images import write_png
from ccbench.boards.rendered_boards import render_boards
from ccbench.comparison.compared_runs import read_entries
from ccbench.errors import DataError, UsageError
from ccbench.pipeline.session import Session
from ccbench.pipeline.synthesis import synthesize_run
from ccbench.pipeline.training import train_run
from ccbench.plugins import controls
from ccbench.plugins.contract import Method
from ccbench.protocols.config import config_of, require_current, resolve_config, restore_config, revisions_of
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.protocols.row_names import row_name
from ccbench.runs import RunFolder
from ccbench.studies.ablation.variant_runs import AblationRun, is_finished

BOARDS = Path(__file__).parents[2] / "leaderboards"


@pytest.fixture
def protocol(small_protocol: Protocol, monkeypatch: pytest.MonkeyPatch, fake_plugin: str) -> Protocol:
    known = small_protocol.model_copy(update={"backbone": "sd-mini"})
    monkeypatch.setitem(PROTOCOLS, "small", known)
    return known


@pytest.fixture
def revise(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that installs another revision of the fake method, and returns it."""

    def install(revision: int) -> Method[Any]:
        info = dataclasses.replace(fake_methods.INFO, revision=revision)
        method = dataclasses.replace(fake_methods.METHOD, info=info)
        monkeypatch.setattr(fake_methods, "METHOD", method)
        return method

    return install


@pytest.mark.parametrize("file", sorted(BOARDS.glob("*/results/*/*.json")), ids=lambda file: file.stem)
def test_records_of_before_keep_their_hash(file: Path) -> None:
    record = json.loads(file.read_text(encoding="utf-8"))["record"]
    assert restore_config(record["config"]).config_hash == record["config_hash"]


def test_another_revision_is_another_configuration(protocol: Protocol, revise: Any) -> None:
    first = resolve_config(fake_methods.METHOD, protocol)
    second = resolve_config(revise(2), protocol)
    assert (first.revision, second.revision) == (1, 2) and first.config_hash != second.config_hash
    dump = second.model_dump(mode="json")
    assert restore_config(dump).config_hash == second.config_hash
    without = {key: value for key, value in first.model_dump(mode="json").items() if key != "revision"}
    assert restore_config(without) == first


def test_a_run_of_another_revision_is_not_resumed(tmp_path: Path, protocol: Protocol, revise: Any) -> None:
    config = resolve_config(fake_methods.METHOD, protocol)
    RunFolder.open(tmp_path / "begun", config).close()
    record = json.loads((tmp_path / "begun" / "run.json").read_text(encoding="utf-8"))
    del record["config"]["revision"], record["config"]["settings"]["tile"]  # as a record of before has neither
    (tmp_path / "begun" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with RunFolder.open(tmp_path / "trained", config) as run:
        train_run(run, Session())
    second = resolve_config(revise(2), protocol)
    with pytest.raises(UsageError, match=r"another configuration \(revision 1, not 2\); choose another folder"):
        RunFolder.open(tmp_path / "begun", second)
    wanted = "begun with revision 1 of fake, revision 2 is installed and gives other images; start a new run"
    with RunFolder.open(tmp_path / "begun") as run, pytest.raises(UsageError, match=wanted):
        train_run(run, Session())
    with RunFolder.open(tmp_path / "trained") as run, pytest.raises(UsageError, match=wanted):
        synthesize_run(run, Session())
    assert not list((tmp_path / "begun").glob("checkpoint/*")) and not (tmp_path / "trained" / "images").exists()


def test_a_control_has_the_revision_of_the_method_that_it_samples(protocol: Protocol, revise: Any) -> None:
    def of_fake() -> Any:
        return resolve_config(controls.SHUFFLED_MASK, protocol, sets=("of=fake",))

    first = of_fake()
    method = revise(3)
    second = of_fake()
    assert first.config_hash != second.config_hash
    inner = config_of(second)
    assert inner is not None and inner.config_hash == resolve_config(method, protocol).config_hash
    assert revisions_of(second.model_dump(mode="json")) == {"shuffled-mask": 1, "fake": 3}
    with pytest.raises(UsageError, match="begun with revision 1 of fake, revision 3 is installed"):
        require_current(first, "run")
    require_current(second, "run")
    with pytest.raises(UsageError, match="unknown key 'of_revision'"):
        resolve_config(controls.SHUFFLED_MASK, protocol, sets=("of=fake", "of_revision=1"))


def test_an_ablation_counts_no_run_of_another_revision_as_finished(
    tmp_path: Path, protocol: Protocol, revise: Any
) -> None:
    path = make_run(tmp_path / "run", "small", make_card(50.0, 25.0))
    config = RunFolder.read(path).config
    assert not is_finished(AblationRun("full", config, path, 3)), "it has no gallery yet"
    write_png(path / "gallery.png", np.zeros((8, 8, 3), np.uint8))
    assert is_finished(AblationRun("full", config, path, 3))
    assert not is_finished(AblationRun("full", resolve_config(revise(2), protocol), path, 3))


def test_a_comparison_names_the_revisions_that_it_compares(tmp_path: Path, protocol: Protocol, revise: Any) -> None:
    paths = [make_run(tmp_path / "old", "small", make_card(50.0, 25.0))]
    paths += [make_run(tmp_path / "new", "small", make_card(51.0, 25.0), method=revise(2))]
    entries = read_entries([RunFolder.read(path) for path in paths])
    assert [entry.name for entry in entries] == ["fake revision 1", "fake revision 2"]


def test_settings_that_repeat_the_default_name_no_row_of_their_own(
    tmp_path: Path, protocol: Protocol, revise: Any
) -> None:
    path = make_run(tmp_path / "old", "small", make_card(50.0, 25.0), sets=("tint=0.5",))
    revise(2)
    assert row_name(RunFolder.read(path).config) == "fake"


def test_a_board_holds_one_revision_and_says_when_it_is_an_earlier_one(
    tmp_path: Path, protocol: Protocol, revise: Any
) -> None:
    boards = tmp_path / "boards"
    add_unverified(make_run(tmp_path / "old", "small", make_card(50.0, 25.0)), boards)
    render_boards(boards)
    page = boards / "small" / "README.md"
    assert "revision" not in page.read_text(encoding="utf-8")
    method = revise(2)
    render_boards(boards)
    assert "gives other images: `fake` (revision 1, now 2).\n" in page.read_text(encoding="utf-8")
    new = make_run(tmp_path / "new", "small", make_card(51.0, 25.0), method=method, seed=1)
    variant = make_run(tmp_path / "variant", "small", make_card(51.0, 25.0), method=method, sets=("tint=0.25",))
    for run in (new, variant):
        with pytest.raises(
            DataError, match=r"made by revision 2 of fake, .*fake-seed0.* by revision 1; a board holds one"
        ):
            add_unverified(run, boards)
    for file in (boards / "small" / "results" / "fake").iterdir():
        file.unlink()
    add_unverified(new, boards)
    render_boards(boards)
    assert "revision" not in page.read_text(encoding="utf-8")


def test_images_from_outside_have_no_revision() -> None:
    assert revisions_of({"method": "ccis-diff", "settings": {"outside": True, "images_sha256": "0"}}) == {}
