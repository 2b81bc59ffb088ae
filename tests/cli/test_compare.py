"""`ccbench compare` from run folders to a table, on a small protocol and an encoder of colour means."""

from pathlib import Path

import pytest

import ccbench.boards.copies
import ccbench.comparison.compared_features
import ccbench.pipeline.session
from calling import Call
from ccbench.data.split import open_split
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.runs.record import ConditionsRecord
from compared import ColourEncoder, N, draw_images, write_run


@pytest.fixture
def two_runs(small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Two scored runs on the first phantoms, whose ids and reference are the fake ones of `compared`."""
    from ccbench.data.pairs import DataSplit
    from compared import pairs_of

    small_protocol = small_protocol.model_copy(update={"backbone": "sd-mini"})  # boards take no path of a machine
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol)
    monkeypatch.setattr(ccbench.comparison.compared_features, "open_encoder", lambda name, **rest: ColourEncoder())
    images = {"test": pairs_of(draw_images(1), "c"), "train": pairs_of(draw_images(99, 20), "r")}

    def fake_split(protocol: Protocol, split: str, *rest: object) -> DataSplit:
        return DataSplit(split, images[split], lambda: [split], "none")

    for place in (ccbench.pipeline.session, ccbench.boards.copies):
        monkeypatch.setattr(place, "open_split", fake_split)
    manifest = fake_split(small_protocol, "test").manifest_sha256
    conditions = ConditionsRecord(split="test", n=N, manifest_sha256=manifest)
    train = fake_split(small_protocol, "train").manifest_sha256[:12]
    monkeypatch.setattr("compared.REFERENCE_ID", f"small-train@{train}")
    for name, sets in (("a", ()), ("b", ("tint=0.1",))):
        clip = [50.0 + i for i in range(N)] if name == "a" else [20.0 + i % 5 for i in range(N)]
        write_run(tmp_path / name, draw_images(ord(name)), clip, sets=sets, conditions=conditions)
    return [tmp_path / "a", tmp_path / "b"]


def test_a_table_and_its_json(call: Call, two_runs: list[Path]) -> None:
    done = call("compare", *two_runs)
    assert done.code == 0, done.err
    assert "A: fake, B: fake (tint=0.1); seed 0; unit of the test: condition" in done.out
    line = next(line for line in done.out.splitlines() if line.strip().startswith("clip_score"))
    assert "A better" in line and "12 (12)" in line and "33.75" in line  # 55.5 less 21.75
    assert "memorised_near: not tested, no paired test of this metric" in done.out
    assert "corrected over the 7 tests" in done.out
    found = call("compare", *two_runs, "--json").json
    clip = next(one for one in found["comparisons"] if one["metric"] == "clip_score")
    assert clip["verdict"] == "fake" and clip["difference"] == pytest.approx(33.75, rel=1e-12)
    assert [one["name"] for one in found["methods"]] == ["fake", "fake (tint=0.1)"] and found["tests"] == 7


def test_the_records_suffice_without_the_method(
    call: Call, two_runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = call("compare", *two_runs, "--json").json
    monkeypatch.setattr("ccbench.plugins.registry.find_offers", lambda group: {})
    done = call("compare", *two_runs, "--json")
    assert done.code == 0 and done.json == wanted


def test_errors_are_one_line(call: Call, two_runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for args, code in ((two_runs[:1], 2), ((*two_runs, "--against", "x"), 2), ((two_runs[0], "nowhere"), 2)):
        done = call("compare", *args, "--quiet")
        assert done.code == code and done.err.count("\n") == 1, done.err
    monkeypatch.setattr(
        ccbench.pipeline.session, "open_split", open_split
    )  # real phantoms: not what the runs were scored on
    done = call("compare", *two_runs, "--quiet")
    assert done.code == 4 and "the runs were scored on" in done.err and done.err.count("\n") == 1


def test_tests_are_kept_with_the_board_and_cover_the_runs_that_were_tested(
    call: Call, two_runs: list[Path], scored_alike: None
) -> None:
    assert "--store: no board in leaderboards/small" in call("compare", *two_runs, "--store").err
    for run in two_runs:
        assert call("leaderboard", "add", run).code == 0
    page = Path("leaderboards/small/README.md")
    assert "Not tested: `ccbench compare RUN... --store`" in page.read_text()
    done = call("compare", *two_runs, "--store")
    assert done.code == 0 and "kept with the board: leaderboards/small/comparison.json" in done.out
    assert call("leaderboard", "check").code == 5 and call("leaderboard", "render").code == 0
    text = page.read_text()
    assert "| clip_score ↑ | fake | fake (tint=0.1) | 0 | +" in text and " | fake |" in text
    stored = Path("leaderboards/small/comparison.json")
    held = stored.read_text()
    stored.write_text(held.replace('"fake-seed0', '"other-seed0', 1))
    drift = call("leaderboard", "check")
    assert drift.code == 5 and "made of other scores than the board's (other-seed0" in drift.err
    stored.write_text(held)
    assert call("leaderboard", "add", two_runs[0]).code == 0 and stored.is_file()  # nothing has changed
    card = two_runs[0] / "scores" / "scorecard.json"
    card.write_text(card.read_text().replace('"clip_score|', '"clip_score|v:9|'))
    again = call("leaderboard", "add", two_runs[0])
    assert again.code == 2 and "--replace" in again.err and stored.read_text() == held
    edited = next(Path("leaderboards/small/results/fake").glob("fake-seed0-*.json"))
    whole = edited.read_text()
    edited.write_text(whole.replace('"p": null', '"p": 0.5', 1))
    assert "was edited" in call("leaderboard", "render").err
    edited.write_text(whole)


def test_a_board_keeps_no_tests_of_other_runs_than_its_own(
    call: Call, two_runs: list[Path], scored_alike: None
) -> None:
    assert call("leaderboard", "add", two_runs[0]).code == 0
    done = call("compare", *two_runs, "--store")
    assert done.code == 2 and "the board has 0 runs of it and 1 were compared" in done.err
