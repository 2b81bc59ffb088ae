"""Boards and runs that somebody made to deceive, to break a board or to write elsewhere: each is refused, or shown."""

import base64
import contextlib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fake_methods
from board_runs import CONDITIONS, N, add_unverified, add_verified, make_card, make_run
from ccbench.base.images import read_image, write_png
from ccbench.boards.additions import _find_path
from ccbench.boards.board_files import BoardRules, list_boards, read_board, rules_toml
from ccbench.boards.board_result import seal
from ccbench.boards.comparison_file import scorecard_sha256
from ccbench.boards.copies import SIDE, RealThumbnails, near, thumbnails
from ccbench.boards.rendered_boards import render_boards
from ccbench.errors import CcbenchError, DataError, UsageError, VerificationError
from ccbench.pipeline.verification import Check, Verification
from ccbench.plugins import controls
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.runs import RunFolder
from ccbench.runs.record import MethodRecord

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def protocol(small_protocol: Protocol, monkeypatch: pytest.MonkeyPatch, fake_plugin: str) -> str:
    """The small protocol under a backbone name that is not a path, known by name."""
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol.model_copy(update={"backbone": "sd-mini"}))
    return "small"


@pytest.fixture
def boards(tmp_path: Path, protocol: str) -> Path:
    """A board with one run."""
    add_unverified(make_run(tmp_path / "held", protocol, make_card(50.0, 25.0)), tmp_path / "boards")
    render_boards(tmp_path / "boards")
    return tmp_path / "boards"


def state(boards: Path) -> dict[str, bytes]:
    """All files of a folder but its lock."""
    return {str(file): file.read_bytes() for file in boards.rglob("*") if file.is_file() and file.name != ".lock"}


def edit_record(run: Path, change: Edit) -> None:
    held = json.loads((run / "run.json").read_text())
    change(held)
    (run / "run.json").write_text(json.dumps(held))


def edit_result(file: Path, change: Edit, sealed: bool = True) -> None:
    held = json.loads(file.read_text())
    change(held)
    file.write_text(json.dumps({**held, "sha256": seal(held)} if sealed else held))


def real_of(run: Path, train: np.ndarray[Any, Any] | None = None) -> Callable[[str], RealThumbnails]:
    """The real test images are those of a run."""
    test = thumbnails(read_image(file) for file in RunFolder.read(run).image_files())
    noise = np.random.default_rng(5).integers(0, 256, (N, SIDE, SIDE, 3), dtype=np.uint8)
    return lambda name: RealThumbnails(test if train is None else noise, noise if train is None else train)


# Copies


def test_real_test_images_are_no_methods_output(tmp_path: Path, boards: Path, protocol: str) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(1.0, 99.0), seed=1)
    with pytest.raises(DataError, match=r"run: 3 of 3 images are nearly the real test images"):
        add_unverified(run, boards, real_of(run))
    training = thumbnails(read_image(file) for file in RunFolder.read(run).image_files())[::-1]
    with pytest.raises(DataError, match=r"3 of 3 images are nearly training images"):
        add_unverified(run, boards, real_of(run, training))
    assert add_unverified(run, boards, real_of(tmp_path / "held")).is_file()
    control = make_run(tmp_path / "real", protocol, make_card(9.0, 99.0), method=controls.REAL_SPLIT)
    assert add_unverified(control, boards, real_of(control)).is_file()  # which is what it is for


def test_one_methods_images_are_not_anothers_or_another_seeds(tmp_path: Path, protocol: str) -> None:
    boards = tmp_path / "boards"
    add_unverified(make_run(tmp_path / "0", protocol, make_card(50.0, 25.0), images=7), boards)
    again = make_run(tmp_path / "1", protocol, make_card(50.0, 25.0), images=7, seed=1)
    with pytest.raises(DataError, match=r"3 of 3 images are nearly those of fake-seed0-\w+ on the board"):
        add_unverified(again, boards)


def test_an_altered_copy_is_near_and_another_image_is_not() -> None:
    rng = np.random.default_rng(0)
    real = [
        np.kron(rng.integers(40, 200, (8, 8, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8)) for _ in range(20)
    ]
    noisy = [np.clip(image + rng.normal(0, 10, image.shape), 0, 255).astype(np.uint8) for image in real]
    brighter = [image + np.uint8(20) for image in real]
    assert near(thumbnails(real), thumbnails(noisy)).all() and near(thumbnails(real), thumbnails(brighter)).all()
    assert not near(thumbnails(real), thumbnails([*real[1:], real[0]])).any()
    black = thumbnails(np.zeros((3, 16, 16, 3), dtype=np.uint8))
    assert not near(black, black).any()  # a failure is like any other, and is counted as one


def test_one_training_is_one_seed(tmp_path: Path, protocol: str) -> None:
    for seed in (0, 1):
        run = make_run(tmp_path / str(seed), protocol, make_card(50.0, 25.0), seed=seed)
        with RunFolder.open(run) as folder:
            method = folder.record.method
            assert method is not None
            folder.update(method=method.model_copy(update={"weights_sha256": "a" * 64}))
        if seed == 0:
            add_unverified(run, tmp_path / "boards")
    with pytest.raises(DataError, match=r"its weights are those of fake-seed0-\w+ on the board"):
        add_unverified(run, tmp_path / "boards")


def test_images_stand_in_a_methods_row_only_when_its_weights_give_them(
    tmp_path: Path, boards: Path, protocol: str
) -> None:
    def verified(state: str) -> Verification:
        check = Check.model_validate({"what": "images sampled again", "state": state, "detail": "no checkpoint"})
        return Verification(run_id="x", checks=[check])

    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0), seed=1)
    with pytest.raises(
        VerificationError, match=r"images sampled again: no checkpoint; only images that its checkpoint"
    ):
        add_verified(run, boards, verified("not checked"))
    file = add_verified(run, boards, verified("match"))
    assert json.loads(file.read_text())["resampled"] == 1
    render_boards(boards)
    assert "agreed, when it was added: of 1 of 2 runs of methods" in (boards / "small" / "README.md").read_text()


def test_scores_are_those_computed_anew(tmp_path: Path, protocol: str) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(50.04, 25.0))
    checks = [Check(what="fd_lite0", state="within tolerance")]
    found = Verification(run_id="x", checks=checks, card=make_card(50.0, 25.0).card)
    file = add_verified(run, tmp_path / "boards", found)
    held = json.loads(file.read_text())
    assert held["scorecard"]["scores"][0]["value"] == 50.0
    claimed = RunFolder.read(run).scorecard()
    assert claimed is not None and held["claimed_sha256"] == scorecard_sha256(claimed)


# Records that state something else than was done


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda r: r["training"].update(steps=30), DataError, "trained for 30 steps, the protocol's budget is 3"),
        (lambda r: r["training"].update(loss=[[1, 0.5], [30, 0.1]]), DataError, "trained for 30 steps"),
        (lambda r: r["config"]["training"].update(max_steps=30), CcbenchError, "configuration|max_steps=30"),
        (lambda r: r["config"]["settings"].update(tint=0.9), CcbenchError, "configuration"),
        (lambda r: r["config"]["protocol"]["training"].update(max_steps=30), CcbenchError, "protocol"),
        (
            lambda r: r["method"].update(control=True),
            VerificationError,
            "recorded as a control, its configuration is of",
        ),
        (lambda r: r["method"].update(distribution="outside"), VerificationError, "recorded as images from outside"),
        (lambda r: r["cost"].update(train_seconds=-5.0), CcbenchError, "train_seconds"),
        (lambda r: r["cost"].update(seconds_per_image=1e300), CcbenchError, "seconds_per_image"),
        (lambda r: r["cost"].update(parameters_trained=10**400), CcbenchError, "parameters_trained|number"),
        (lambda r: r["env"].update(cpu_count=10**400), CcbenchError, "number|cpu_count"),
        (lambda r: r.update(run_id="../../../fallen"), CcbenchError, "run_id"),
        (lambda r: r.update(run_id="fake-seed0-00000000"), CcbenchError, "run_id|run id"),
        (lambda r: r["method"].update(name="other"), CcbenchError, "other"),
    ],
)
def test_a_record_says_what_its_configuration_gives(
    tmp_path: Path, boards: Path, protocol: str, change: Edit, error: type[CcbenchError], message: str
) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0), seed=1)
    before = state(boards)
    edit_record(run, change)
    with pytest.raises(error, match=message):
        add_unverified(run, boards)
    assert state(boards) == before and not list(tmp_path.rglob("fallen*"))


def test_no_more_parameters_than_the_checkpoint_has_bytes(tmp_path: Path, boards: Path, protocol: str) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0), seed=1)
    (run / "checkpoint").mkdir()
    (run / "checkpoint" / "weights.safetensors").write_bytes(bytes(1000))
    with pytest.raises(
        VerificationError, match=r"states 2,830,000 trained parameters, its checkpoint holds 1,000 bytes"
    ):
        add_unverified(run, boards)


def test_settings_that_were_changed_without_a_word_are_refused(tmp_path: Path, boards: Path, protocol: str) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0), sets=("tint=0.9",))
    edit_record(run, lambda r: r["config"].update(overrides={}))
    with pytest.raises(VerificationError, match=r"tint is 0\.9, not 0\.5, and the record does not say"):
        add_unverified(run, boards)
    edit_record(run, lambda r: r["config"].update(overrides={"method.tint": 0.1}))
    with pytest.raises(VerificationError, match=r"tint is 0\.9"):
        add_unverified(run, boards)


def test_nothing_is_written_unless_the_board_renders(
    tmp_path: Path, boards: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0), seed=1)
    monkeypatch.setattr("ccbench.boards.additions.variant_hash", lambda config: "another")  # a row of two settings
    before = state(boards)
    with pytest.raises(CcbenchError):
        add_unverified(run, boards)
    assert state(boards) == before


def test_a_gallery_that_is_a_link_stays_where_it_leads(tmp_path: Path, protocol: str) -> None:
    write_png(tmp_path / "secret.png", np.zeros((9, 9, 3), dtype=np.uint8))
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0))
    RunFolder.read(run).gallery.symlink_to(tmp_path / "secret.png")
    with contextlib.suppress(DataError):
        add_unverified(run, tmp_path / "boards")
    assert not list((tmp_path / "boards").rglob("gallery-*"))


# Boards that were edited


def test_an_edited_result_is_found_by_render_and_check(boards: Path) -> None:
    (file,) = boards.glob("small/results/*/*.json")
    edit_result(file, lambda r: r["scorecard"]["scores"][0].update(value=10.0), sealed=False)
    for check in (False, True):
        with pytest.raises(VerificationError, match=r"was edited: sha256"):
            render_boards(boards, check)
    edit_result(file, lambda r: r.pop("sha256"), sealed=False)
    with pytest.raises(VerificationError, match="sha256 missing"):
        render_boards(boards)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["record"].update(run_id="../../../fallen"),
        lambda r: r["record"]["config"].update(method="../fake"),
        lambda r: r["record"]["cost"].update(train_seconds=-5.0),
        lambda r: r["record"]["cost"].update(parameters_trained=10**400),
        lambda r: r["record"]["training"].update(steps=30),
        lambda r: r["scorecard"]["scores"][0].update(metric="fd_<script>"),
        lambda r: r["scorecard"]["scores"][0].update(metric="no_such_metric"),
        lambda r: r["scorecard"]["scores"][0].update(n_real="<script>"),
        lambda r: r["scorecard"]["scores"][0].update(interval={"low": "a", "high": 1, "level": 0.95, "kind": "x"}),
        lambda r: r["scorecard"]["scores"][0].update(value=[1]),
        lambda r: r["record"]["config"].update(revision="<b>"),
        lambda r: r["record"]["conditions"].update(manifest_sha256="../x"),
        lambda r: r.update(thumbnails=base64.b64encode(b"short").decode()) or r["record"].update(seed=1),
    ],
)
def test_a_malformed_result_is_one_line_whatever_its_hash_says(boards: Path, change: Edit) -> None:
    (file,) = boards.glob("small/results/*/*.json")
    edit_result(file, change)
    with pytest.raises(CcbenchError, match=r"results/fake/fake-seed0"):
        read_board(boards / "small")


def test_a_result_lies_where_its_name_says_and_is_no_link(boards: Path, tmp_path: Path) -> None:
    (file,) = boards.glob("small/results/*/*.json")
    file.rename(moved := file.with_name("other.json"))
    with pytest.raises(DataError, match="holds the result that belongs in results/fake/fake-seed0"):
        read_board(boards / "small")
    moved.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(DataError, match="is a link"):
        read_board(boards / "small")


def test_words_of_a_record_reach_no_page_as_markup(tmp_path: Path, protocol: str) -> None:
    words = "x](y) `b` <script>1</script>\n\n| method | seeds |\n| --- | --- |\n| better | 0 |\n![](//x.example/b.png)"
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0))
    with RunFolder.open(run) as folder:
        method = MethodRecord(name="fake", title=words, licence=words, distribution="=1+1", version=words)
        folder.update(method=method, env={"device_name": words})
        folder.write_scorecard(make_card(50.0, 25.0))
    add_unverified(run, tmp_path / "boards")
    render_boards(tmp_path / "boards")
    page = (tmp_path / "boards" / "small" / "README.md").read_text()
    plain = re.sub(r"(?<![`\\])(`+)(?!`).*?(?<!`)\1(?!`)", "", page)  # without code
    assert not any(line.startswith("| better") for line in page.splitlines())
    assert "<script" not in plain and "&lt;script>" in plain and "\\`b\\`" in page
    assert "x](y)" not in plain and "x\\](y)" in plain and "![](" not in plain


# What stands in board.toml, and what is a path


@pytest.mark.parametrize("text", ['a"b', "a\\b", "line\nend", "\x7f\x01\t", "\U0001f600 é", "]\n[x]"])
def test_rules_survive_their_file(text: str) -> None:
    rules = BoardRules(protocol=text, protocol_hash=text, seeds=(0, 1), conditions=CONDITIONS)
    assert BoardRules.model_validate(tomllib.loads(rules_toml(rules))) == rules


@pytest.mark.parametrize("home", ["/", "/home", "/nowhere/anna", None])
def test_a_path_is_known_by_what_it_is_not_by_where_home_is(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    for text in (
        *(
            "CC BY 4.0",
            "https://example.org/a/b",
            "AMD EPYC 7/9",
            "and/or",
            "n/a",
            "/",
            "1/2 / 3/4",
            "MIT / Apache-2.0",
        ),
        *("https://huggingface.co/home/x", "stable-diffusion-v1-5/stable-diffusion-v1-5", "fd|w:1/2", "a // b"),
    ):
        assert _find_path(text) is None, text
    for text in (
        *(
            "/srv/data/x",
            "trained in /home/anna/runs",
            "file:///home/anna/x",
            "~/data/x",
            "C:\\Users\\anna",
            "see /tmp/a/b.",
        ),
        *("\\\\server\\share\\x", "/unknown/place", str(Path(__file__)), f"from {Path(__file__)}"),
    ):
        assert _find_path(text) is not None, text


def test_no_board_is_a_board(tmp_path: Path) -> None:
    assert list_boards(tmp_path) == [] and fake_methods.METHOD.info.name == "fake"
    with pytest.raises(UsageError):
        add_unverified(tmp_path, tmp_path / "boards")
