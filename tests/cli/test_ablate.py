"""`ccbench ablate` on a small protocol: from variants to the table, resumed, stored, and refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ccbench.comparison.compared_features
import ccbench.studies.ablation.variant_runs
from calling import Call
from ccbench.base.images import read_image
from ccbench.pipeline.run_scorer import RunScorer
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.runs import RunFolder
from ccbench.runs.scorecard import Scorecard, ScoredImages, per_sample_table
from ccbench.studies.ablation.variant_scores import AblationTable
from ccbench.types import Score
from compared import ColourEncoder

ABLATE = ("ablate", "--method", "fake", "--protocol", "small", "--jobs", "1", "--no-cache")
VARY = ("--vary", "taam.mode=A,C", "--vary", "tint=0.1")
EFFECTS = {"A": 5.0, "B": 0.0, "C": -5.0}
FILES = {"README.md", "table.json", "table.tex", "table.csv", "samples.png"}


@pytest.fixture(autouse=True)
def here(small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fake method, whose prompts are followed as its mode says; runs are made in this process, and noted."""
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol)
    monkeypatch.setattr(ccbench.comparison.compared_features, "open_encoder", lambda name, **rest: ColourEncoder())
    scored: list[str] = []

    def score(self: RunScorer, run: RunFolder) -> ScoredImages:
        ids = [sample.condition_id for sample in run.samples()]
        settings: Any = run.config.settings
        values = [40 + i % 7 + EFFECTS[settings.taam.mode] + 0.1 * run.config.seed * (i % 3) for i in range(len(ids))]
        score = Score("text_fidelity", "text_fidelity|v:1", sum(values) / len(ids), len(ids))
        scored.append(run.record.run_id)
        card = Scorecard(scores=[score], controls={}, failures={})
        return ScoredImages(card, per_sample_table(ids, {"text_fidelity": values}))

    def in_this_process(
        work: Callable[..., None], items: Any, size: Any, devices: Any, title: str, **named: Any
    ) -> None:
        assert named["counted"] == ("training", "sampling") and set(map(size, items)) <= {27, 25}
        work(items, devices[0], named["progress"], named["note"])

    monkeypatch.setattr(
        ccbench.studies.ablation.variant_runs, "find_reference_segmenter", lambda *rest: "none in a test"
    )
    monkeypatch.setattr(RunScorer, "score", score)
    monkeypatch.setattr(ccbench.studies.ablation.variant_runs, "work_in_processes", in_this_process)
    return scored


def test_a_table_of_differences(call: Call, here: list[str]) -> None:
    done = call(*ABLATE, *VARY, "--seeds", "0,1,2,3", "--json")
    assert done.code == 0, done.err
    folder = Path("runs/small/ablations/fake-taam.mode-tint")
    assert done.json["output"] == str(folder) and {path.name for path in folder.iterdir()} == FILES
    table = AblationTable.model_validate_json((folder / "table.json").read_text())
    assert list(table.variants) == ["full", "taam.mode=A", "taam.mode=C", "tint=0.1"] and table.n == 24
    found = {one.variant: one for one in table.scores}
    tests: dict[str, Any] = {variant: found[variant].test for variant in table.variants}
    assert [test and test.outcome for test in tests.values()] == [None, "better", "worse", "not significant"]
    assert tests["taam.mode=A"].difference == pytest.approx(5) and tests["tint=0.1"].difference == 0
    assert found["full"].by_seed.keys() == {0, 1, 2, 3} and table.tests == 3 and len(table.runs) == len(here) == 16
    assert len(list(Path("runs").rglob("gallery.png"))) == 16, "a run like any other"
    page = (folder / "README.md").read_text()
    assert "| full | 42.90 ± 0.13 |" in page and "| taam.mode=A | +5.00 ▲ |" in page and "| tint=0.1 | +0.00 |" in page
    assert "4 trainings of each variant" in page and "paired by condition and seed" in page
    assert read_image(folder / "samples.png").shape[1] > 6 * 160
    assert "\\textbf{47.90" in (folder / "table.tex").read_text()
    header = (folder / "table.csv").read_text().splitlines()[0]
    assert header.endswith(",reason,seed_0,seed_1,seed_2,seed_3,no_interval")


def test_the_same_command_makes_only_what_is_missing(call: Call, here: list[str]) -> None:
    assert call(*ABLATE, *VARY, "--seeds", "0", "--quiet").code == 0
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("images/*.png")}
    done = call(*ABLATE, *VARY, "--seeds", "0,1")
    assert done.code == 0 and "runs: 4 of 8 are there" in done.err and len(here) == 8
    assert all(path.stat().st_mtime_ns == time for path, time in before.items()) and len(before) == 4 * 24
    assert "fake: taam.mode, tint on small: full, and each variant less full" in done.out
    assert "taam.mode=A" in done.out and "2 trainings of each variant" in done.out
    assert "runs: 8 of 8 are there" in call(*ABLATE, *VARY, "--seeds", "0,1").err and len(here) == 8


def test_the_reference_segmenter_is_trained_before_the_runs_and_only_for_them(
    call: Call, here: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every process but one waits for it."""
    monkeypatch.setattr(
        ccbench.studies.ablation.variant_runs, "find_reference_segmenter", lambda *rest: here.append("segmenter")
    )
    for _ in range(2):
        assert call(*ABLATE, "--vary", "tint=0.1", "--seeds", "0").code == 0
        assert len(here) == 3 and here[0] == "segmenter" and here.count("segmenter") == 1


def test_quick_says_what_it_cannot_show(call: Call) -> None:
    done = call(*ABLATE, *VARY, "--quick")
    assert done.code == 0, done.err
    assert "of what another training of the same variant would give" in done.out
    assert "Not the protocol's budget: training.max_steps=1 (protocol: 3)" in done.out
    assert Path("runs/small/ablations/fake-taam.mode-tint-quick/README.md").is_file()


def test_a_plan_of_a_file_is_kept_with_the_board_and_checked(call: Call, tmp_path: Path) -> None:
    Path("plan.toml").write_text(
        'title = "fake: modes"\nmethod = "fake"\nprotocol = "small"\nseeds = [0, 1]\n[variants]\nbase = {}\n'
        'A = { taam = { mode = "A" } }\n[[claims]]\nmodule = "taam"\nsays = "following prompts"\nwithout = "A"\n'
        'metrics = ["text_fidelity", "seam_colour"]\n'
    )
    done = call("ablate", "plan.toml", "--jobs", "1", "--no-cache", "--store", "--boards", "boards")
    assert done.code == 0, done.err
    kept = Path("boards/small/ablations/fake-modes")
    assert {path.name for path in kept.iterdir()} == FILES and f"kept with the board: {kept}/README.md" in done.out
    page = (kept / "README.md").read_text()
    assert "| taam | following prompts | text_fidelity ↑ |" in page and "speaks against it" in page
    assert "| taam | following prompts | seam_colour →0 | - | - | - | - | - | not measured |" in page
    assert call("leaderboard", "render", "--boards", "boards").code == 0
    assert call("leaderboard", "render", "--check", "--boards", "boards").code == 0
    (kept / "README.md").write_text(page.replace("+5.00", "+6.00"))
    drift = call("leaderboard", "render", "--check", "--boards", "boards")
    assert drift.code == 5 and "its records give" in drift.err and "+6.00" in drift.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cross", "--vary", "tint=0.1,0.2"), "--cross: combines the values of several --vary"),
        (("--quick", "--store", *VARY), "--store: a board keeps tables of the protocol's whole budget"),
        (("--seeds", "0,0", *VARY), "--seeds: found '0,0', wanted different numbers"),
        ((), "--method fake: its card names no modules"),
        (("plan.toml",), "plan.toml: names its method and variants; leave --method and --vary out"),
    ],
)
def test_refused(words: tuple[str, ...], message: str, call: Call) -> None:
    done = call(*ABLATE, *words)
    assert done.code == 2 and message in done.err and not Path("runs").exists()
