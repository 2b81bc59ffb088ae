"""The verbs, on a fake method that needs NumPy only and a scorecard made by hand."""

import json
import os
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ccbench.cli.run
import ccbench.pipeline.gallery
import ccbench.pipeline.run_scorer
import ccbench.plugins.registry
import fake_methods
from calling import Call
from ccbench.base.image_folders import list_images
from ccbench.base.images import read_image, write_png
from ccbench.base.mask_files import read_mask
from ccbench.pipeline.make_run import run_config
from ccbench.plugins.contract import TrainContext, TrainReport
from ccbench.plugins.registry import list_methods
from ccbench.protocols.protocol import PROTOCOLS
from ccbench.runs import RunFolder, default_run_folder
from ccbench.runs.scorecard import ScoredImages
from ccbench.scoring import SynthesisScorer

RUN = ("run", "--method", "fake", "--protocol", "small", "--limit", "4")
STEPS = ("train", "synthesize", "score", "gallery")


def test_run_goes_from_nothing_to_a_table(call: Call, scored_images: list[list[Path]]) -> None:
    done = call(*RUN, "--output", "out")
    assert done.code == 0, done.err
    for step in STEPS:
        assert f"{step}: done" in done.err
    assert "fd_lite0 ↓" in done.out and "52.13" in done.out and "10.12" in done.out and "4 x 5" in done.out
    assert "clip_image: the encoder is missing" in done.out
    assert "no board takes this run: limit=4" in done.out
    assert str(Path("out", "gallery.png")) in done.out and Path("out", "gallery.png").is_file()
    assert [path.parent.parent for path in scored_images[0]] == [Path("out")] * 4


def test_the_same_command_skips_what_is_there(call: Call, scored_images: list[list[Path]]) -> None:
    first = call(*RUN, "--json")
    again = call(*RUN, "--json")
    for step in STEPS:
        assert f"{step}: skipped" in again.err
    assert first.json["scores"] == again.json["scores"] and len(scored_images) == 1
    assert call(*RUN, "--quiet").err == ""


def test_a_quick_run_ends_with_a_page_and_commands_that_work(
    call: Call, scored_images: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ccbench.cli.run, "_has_modules", lambda name: name == "fake")
    folder = Path("out")
    done = call(*RUN, "--quick", "--output", str(folder))
    assert done.code == 0, done.err
    page = (folder / "report.html").read_text()
    assert page.startswith("<!doctype html>") and "fake" in page and f"report: {folder / 'report.html'}" in done.out
    assert "quick: the first 400 training images and 40 test conditions" in done.out
    lines = [line.strip() for line in done.out.partition("next:")[2].splitlines()][1::2]
    words = [shlex.split(line) for line in lines]
    assert [("--quick" in line, line[-1] == "small") for line in words] == [(True, False), (True, False), (False, True)]
    assert words[1][-6:] == ["ablate", "--method", "fake", "--protocol", "small", "--quick"]
    refused = call("leaderboard", "add", str(folder))
    assert refused.code != 0 and "quick" in refused.err
    wrong = call("run", "--method", "fake", "--protocol", "small", "--quick", "--from-dir", ".", "--title", "T")
    assert wrong.code == 2 and "--quick: with --from-dir nothing is trained" in wrong.err


def test_run_json_holds_the_scores_in_their_published_form(call: Call, scored_images: list[list[Path]]) -> None:
    result = call(*RUN, "--json").json
    assert [set(score) for score in result["scores"]] == [
        {"metric", "signature", "value", "interval", "p", "n", "n_real", "reason", "no_interval"}
    ] * 3
    assert result["scores"][0]["value"] == 52.126  # unrounded
    assert result["not_comparable"] == ["limit=4"] and result["protocol_hash"] == PROTOCOLS["small"].hash


def test_the_default_folder_names_what_differs(scored_images: list[list[Path]]) -> None:
    def folder(seed: int = 0, sets: list[str] | None = None, limit: int | None = None, quick: bool = False) -> str:
        config = run_config("fake", "small", seed=seed, sets=sets or (), limit=limit, quick=quick)
        return default_run_folder(config).as_posix()

    assert folder() == "runs/small/fake-seed0" and folder(quick=True) == "runs/small/fake-seed0-quick"
    assert (
        folder(sets=["tint=0.5", "tile=4"]) == "runs/small/fake-seed0"
    )  # the default, and a field that moves no pixel
    changed = [folder(limit=4), folder(limit=4, quick=True), folder(sets=["tint=0.1"]), folder(1, ["tint=0.1"])]
    assert all(re.fullmatch(r"runs/small/fake-seed[01]-[0-9a-f]{8}", name) for name in changed)
    assert len(set(changed)) == 4


def test_another_configuration_never_shares_a_folder(call: Call, scored_images: list[list[Path]]) -> None:
    call(*RUN, "--output", "out")
    done = call(*RUN, "--output", "out", "--set", "tint=0.1")
    assert done.code == 2 and "choose another folder" in done.err and done.err.count("\n") == 1


def test_steps_one_by_one_end_as_run_does(call: Call, scored_images: list[list[Path]]) -> None:
    options = (*RUN[1:], "--output", "steps")
    assert call("synthesize", *options).code == 2  # not trained yet
    assert call("train", *options, "--json").json["training"]["steps"] == 3
    assert call("score", "steps").code == 2  # no images yet
    images = call("synthesize", *options, "--json").json["images"]
    scores = call("score", "steps", "--json").json["scores"]
    whole = call(*RUN, "--output", "whole", "--json").json
    assert scores == whole["scores"]
    for image in images:
        assert Path(image).read_bytes() == (Path("whole") / Path(image).relative_to("steps")).read_bytes()


def test_interrupted_run_says_how_to_resume_and_ends_equal(
    call: Call, scored_images: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = (*RUN[:-1], "20")  # two chunks of conditions
    draw, drawn = fake_methods.FakeGenerator.generate, []

    def interrupt(self: object, conditions: list[object], seeds: list[int]) -> object:
        drawn.append(len(seeds))
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return draw(self, conditions, seeds)  # type: ignore[arg-type]

    monkeypatch.setattr(fake_methods.FakeGenerator, "generate", interrupt)
    stopped = call(*many, "--output", "out", "--quiet")
    assert stopped.code == 130
    assert stopped.err == "error: interrupted; sampling: 16 of 20 images are kept; the same command goes on\n"
    record = json.loads(Path("out", "run.json").read_text())
    assert (record["status"], record["heartbeat"]) == ("interrupted", None)
    assert 0 < len(list_images(Path("out", "images"))) < 20
    assert call(*many, "--output", "out").code == 0
    assert call(*many, "--output", "whole").code == 0
    assert [path.read_bytes() for path in list_images(Path("out", "images"))] == [
        path.read_bytes() for path in list_images(Path("whole", "images"))
    ]


def test_sigterm_ends_any_command_with_143(
    call: Call, scored_images: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(
        ccbench.pipeline.gallery, "draw_gallery", lambda *_, **named: os.kill(os.getpid(), signal.SIGTERM)
    )
    ended = call(*RUN, "--output", "out", "--quiet")
    assert ended.code == 143 and ended.err.startswith("error: ended by SIGTERM; what was finished is kept")
    assert signal.getsignal(signal.SIGTERM) == before
    assert RunFolder.read(Path("out")).state == "complete"  # only its picture is missing


def test_a_limit_says_that_training_is_as_long(call: Call, scored_images: list[list[Path]]) -> None:
    assert "train: 3 steps of 2 images; --limit 2 does not shorten it" in call(*RUN[:-1], "2", "--output", "a").err
    whole = call("train", "--method", "fake", "--protocol", "small", "--set", "training.max_steps=1")
    assert "train: 1 steps of 2 images" in whole.err and "--limit" not in whole.err


def test_what_accelerate_is_asked_for_is_said_to_be_ignored(
    call: Call, scored_images: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    seen: list[str | None] = []
    real = fake_methods.train

    def train(context: TrainContext[Any]) -> TrainReport:
        seen.append(os.environ.get("ACCELERATE_MIXED_PRECISION"))
        return real(context)

    monkeypatch.setattr(fake_methods, "train", train)
    done = call(*RUN, "--output", "out", "--quiet")
    assert done.err == "ACCELERATE_MIXED_PRECISION=fp16 is ignored: training.precision=fp32\n" and seen == [None]
    assert "training.precision=bf16 (protocol: fp32)" in call(*RUN, "--set", "training.precision=bf16").out


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_a_setting_is_a_finite_number(call: Call, scored_images: list[list[Path]], value: str) -> None:
    for key in ("training.learning_rate", "guidance_scale"):
        done = call(*RUN, "--set", f"{key}={value}", "--output", "out")
        assert done.code == 2 and f"--set {key}={value}: " in done.err and not Path("out").exists()


def test_failed_images_end_in_code_one_and_are_counted(
    call: Call, scored_images: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    black = np.zeros((16, 16, 3), dtype=np.uint8)
    monkeypatch.setattr(fake_methods.FakeGenerator, "draw", lambda self, condition, seed, batch: black.copy())
    done = call(*RUN, "--json")
    assert done.code == 1
    assert done.json["failures"]["black"] == 4


def test_run_score_and_report_show_the_scorecards_failures(
    call: Call, scored_images: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = {"unreadable": 0, "constant": 2, "duplicate": 0, "wrong_size": 0}
    scorer = ccbench.pipeline.run_scorer.SynthesisScorer
    score = scorer.score

    def failing(self: SynthesisScorer, images: list[Path], copies: object) -> ScoredImages:
        card, table = score(self, images, copies)  # type: ignore[arg-type]
        ids = [f"phantom-test-{number:04d}" for number in range(len(table))]
        return ScoredImages(card.model_copy(update={"failures": failures}), table.assign(condition_id=ids))

    monkeypatch.setattr(scorer, "score", failing)
    done = call(*RUN, "--output", "out", "--json")
    assert (done.code, done.json["failures"]) == (1, {**failures, "black": 0})
    assert json.loads(Path("out", "run.json").read_text())["failures"]["constant"] == 0  # the card's counts are shown
    assert call(*RUN, "--output", "out").code == 1
    assert "failures: 2 constant\n" in call("score", "out").out
    assert call("score", "out", "--json").json["failures"] == done.json["failures"]
    assert call("synthesize", *RUN[1:], "--output", "out", "--json").json["failures"] == done.json["failures"]
    assert call("report", "out", "--output", "page.html").code == 0
    assert "2 constant" in Path("page.html").read_text()


def test_a_read_only_output_is_one_line(call: Call, scored_images: list[list[Path]]) -> None:
    Path("file").write_text("not a folder")
    done = call(*RUN, "--output", "file/out")
    assert done.code == 2 and done.err.count("\n") == 1 and "choose another folder" in done.err


def test_a_limited_run_is_kept_off_the_board(call: Call, scored_images: list[list[Path]]) -> None:
    call(*RUN, "--output", "out")
    done = call("leaderboard", "add", "out")
    assert done.code == 2 and "limit=4" in done.err and not Path("leaderboards").exists()


def test_render_without_boards_and_check_of_a_drifted_one(call: Call) -> None:
    assert "no boards" in call("leaderboard", "render").out
    Path("leaderboards").mkdir()
    assert call("leaderboard", "render").code == 0
    assert call("leaderboard", "render", "--check", "--json").json == {
        "pages": ["leaderboards/README.md"],
        "checked": True,
    }
    Path("leaderboards", "README.md").write_text("by hand")
    done = call("leaderboard", "render", "--check")
    assert done.code == 5 and "found 'by hand'" in done.err and done.err.count("\n") == 1


def test_phantoms_are_written_with_captions_and_a_sheet(call: Call) -> None:
    done = call("data", "phantom", "--n", "3", "--seed", "5", "--output", "a", "--json")
    assert done.code == 0 and done.json["n"] == 3
    lines = [json.loads(line) for line in Path("a", "captions.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [path.stem for path in list_images(Path("a", "images"))]
    assert all(line["caption"] and line["attributes"]["size"] for line in lines)
    mask = read_mask(Path("a", "masks", f"{lines[0]['id']}.png"))
    assert mask.any() and mask.shape == read_image(Path("a", "images", f"{lines[0]['id']}.png")).shape[:2]
    assert read_image(Path("a", "contact_sheet.png")).shape[1] > 900
    call("data", "phantom", "--n", "3", "--seed", "5", "--output", "b", "--quiet")
    call("data", "phantom", "--n", "3", "--seed", "6", "--output", "c", "--quiet")
    images = [[path.read_bytes() for path in list_images(Path(folder, "images"))] for folder in "abc"]
    assert images[0] == images[1] and not set(images[0]) & set(images[2])


def test_any_two_folders_are_scored(call: Call) -> None:
    rng = np.random.default_rng(0)
    for folder in ("made", "real"):
        Path(folder).mkdir()
        for index in range(4):
            write_png(Path(folder, f"{folder}{index}.png"), rng.integers(0, 256, (33, 47, 3), dtype=np.uint8))
    done = call("score", "--images", "made", "--reference", "real", "--encoder", "lite0", "--device", "cpu", "--json")
    assert done.code == 0, done.err
    scores = {score["metric"]: score for score in done.json["scores"]}
    assert scores["fd_lite0"]["value"] > 0 and (scores["fd_lite0"]["n"], scores["fd_lite0"]["n_real"]) == (4, 4)
    assert scores["clip_score"]["value"] is None and scores["clip_score"]["reason"]
    table = call("score", "--images", "made", "--reference", "real", "--device", "cpu", "--quiet").out
    assert "4 x 4" in table and "(n 2 x 2)" in table  # the floor has half of the reference on either side


def test_missing_weights_are_code_three_and_say_what_to_put_where(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    for folder in ("made", "real"):
        Path(folder).mkdir()
        write_png(Path(folder, "0.png"), np.zeros((8, 8, 3), dtype=np.uint8))
    done = call("score", "--images", "made", "--reference", "real", "--encoder", "inception")
    assert done.code == 3 and done.err.count("\n") == 1
    assert "weights-inception-2015-12-05-6726825d.pth" in done.err and "--weights" in done.err


def test_doctor_says_what_is_there_and_what_is_not(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    findings = {(item["topic"], item["name"]): item for item in call("doctor", "--json").json["findings"]}
    assert findings["weights", "encoder lite0"]["found"] is True
    inception = findings["weights", "encoder inception"]
    assert inception["found"] is False and inception["unlocks"] == "fid, kid as torch-fidelity computes them"
    assert findings["machine", "cores"]["detail"].isdigit()
    assert findings["versions", "torch"]["detail"]
    done = call("doctor")
    assert done.code == 0 and "unlocks: fid, kid" in done.out


def test_a_control_runs_without_training_and_is_never_suggested(
    call: Call, scored_images: list[list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = call("run", "--method", "train-copy", *RUN[3:], "--output", "copies")
    assert done.code == 0, done.err  # one training image may answer several conditions
    assert "train: skipped, a control with nothing to train" in done.err
    assert "cost: no training, " in done.out and "trained parameters" not in done.out
    assert read_image(Path("copies", "gallery.png")).size
    assert "another method, on the same conditions" in done.out
    controls = [entry for entry in list_methods() if entry.method and entry.method.info.control]
    monkeypatch.setattr(ccbench.plugins.registry, "list_methods", lambda: controls)
    assert "another method" not in call(*RUN).out


def test_where_users_bring_the_data_a_controls_images_are_in_no_public_picture(
    call: Call, scored_images: list[list[Path]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    brought = PROTOCOLS["small"].model_copy(update={"needs_data_root": True})
    monkeypatch.setitem(PROTOCOLS, "small", brought)
    for method, public in (("fake", True), ("real-split", False)):
        done = call("run", "--method", method, *RUN[3:], "--data-root", tmp_path, "--output", method)
        assert done.code == 0, done.err
        assert Path(method, "gallery.png").is_file() and Path(method, "gallery-public.png").is_file() == public


def test_a_training_is_taken_from_another_run(call: Call, scored_images: list[list[Path]]) -> None:
    call(*RUN, "--output", "own")
    options = ("run", "--method", "shuffled-mask", *RUN[3:], "--set", "of=fake", "--checkpoint-from", "own")
    done = call(*options, "--output", "shuffled")
    assert done.code == 0 and "train: copied from fake-seed0-" in done.err
    assert call(*options, "--output", "shuffled").err.count("skipped") == 4
    record = json.loads(Path("shuffled", "run.json").read_text())
    assert record["checkpoint_from"]["run_id"] == json.loads(Path("own", "run.json").read_text())["run_id"]
    refused = call(*options, "--output", "other", "--seed", "1")
    assert refused.code == 2 and "seed 0, not 1" in refused.err and refused.err.count("\n") == 2


def test_a_device_that_is_not_there(call: Call, scored_images: list[list[Path]]) -> None:
    unknown = call(*RUN, "--device", "tpu")
    assert unknown.code == 2 and "wanted auto, cpu, cuda" in unknown.err and not Path("runs").exists()
    absent = call(*RUN, "--device", "cuda:99", "--quiet")
    assert absent.code == 2 and "use --device cpu" in absent.err and absent.err.count("\n") == 1
