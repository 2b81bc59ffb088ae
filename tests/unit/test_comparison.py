"""Comparisons of scored runs: joined on ids, refused across signatures, corrected, and honest about seeds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccbench.base.seeding import derive_seed
from ccbench.comparison import Comparison, PairedTest, ScoringData, compare_entries, read_entries, read_scoring_data
from ccbench.comparison.compared_runs import signature_difference
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.metrics.statistics.paired import Difference, compare_frechet, compare_manifold, compare_means
from ccbench.metrics.statistics.ranking import holm
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.runs import RunFolder
from compared import CLIP, CONDITIONS, REFERENCE_ID, ColourEncoder, N, draw_images, pairs_of, write_run

CLEAR = tuple(np.linspace(50, 60, N))  # a pair metric far above the others' at every condition
LOW = tuple(np.linspace(20, 31, N))


@pytest.fixture(autouse=True)
def _small(small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol)


def scoring_data(clusters: bool = False) -> ScoringData:
    test, reference = pairs_of(draw_images(1), "c", clusters), pairs_of(draw_images(99, 20), "r")
    return read_scoring_data(test, reference, REFERENCE_ID, [ColourEncoder()])


def compare(*runs: RunFolder, against: str | None = None, clusters: bool = False) -> Comparison:
    return compare_entries(read_entries(runs), scoring_data(clusters), against)


def by_metric(comparison: Comparison, first: str = "fake", second: str = "fake (tint=0.1)") -> dict[str, PairedTest]:
    return {one.metric: one for one in comparison.compared if (one.first, one.second) == (first, second)}


def numbers(test: PairedTest) -> dict[str, Any]:
    """What `Difference.fields` names, as the record has it."""
    return {name: getattr(test, name) for name in Difference(0, 0, None, 1, None, 0, 0).fields()}


def test_two_runs_differ_significantly_where_they_do(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", draw_images(2), CLEAR)
    b = write_run(tmp_path / "b", draw_images(3), LOW, sets=("tint=0.1",), order=tuple(reversed(range(N))))
    found = by_metric(compare(a, b))
    clip, fd = found["clip_score"], found["fd_lite0"]
    # The per-sample rows of b are in the opposite order: joined by id the differences are linear, not constant.
    expected = compare_means(np.array(CLEAR), np.array(LOW), derive_seed("compare", "clip_score"), [None] * N)
    assert numbers(clip) == expected.fields() and clip.effect is not None and clip.effect > 50
    assert found["clip_score"].verdict == "fake" and found["clip_score"].unit == "condition"
    encode, seed = ColourEncoder().encode_images, derive_seed("compare", "fd_lite0")
    sets = [encode(images) for images in (draw_images(2), draw_images(3), draw_images(99, 20))]
    assert numbers(fd) == compare_frechet(*sets, seed, None, 400).fields()
    assert found["fd_lite0"].verdict is None
    for family, exchanges in (("precision", 10_000), ("density", 10_000), ("recall", 400), ("coverage", 400)):
        seed, name = derive_seed("compare", f"{family}_lite0"), f"{family}_lite0"
        wanted = compare_manifold(*sets, family, seed, None, exchanges)  # type: ignore[arg-type]
        assert numbers(found[name]) == wanted.fields()
    assert found["memorised_near"].difference is None
    assert found["memorised_near"].reason == "no paired test of this metric"
    tested = [one.p for one in found.values() if one.p is not None]
    assert [one.p_holm for one in found.values() if one.outcome] == pytest.approx(holm(tested).tolist())


def test_direction_decides_which_is_better(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", draw_images(2, shift=60), LOW)  # far from the reference
    b = write_run(tmp_path / "b", draw_images(2), CLEAR, sets=("tint=0.1",))
    found = by_metric(compare(a, b))
    assert [found[m].verdict for m in ("fd_lite0", "kid_lite0", "clip_score")] == ["fake (tint=0.1)"] * 3
    assert (found["fd_lite0"].difference or 0) > 0


def test_clusters_of_conditions_are_used(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", draw_images(2), CLEAR)
    b = write_run(tmp_path / "b", draw_images(3), LOW, sets=("tint=0.1",))
    for one in compare(a, b, clusters=True).compared:
        assert one.outcome is None or (one.n, one.clusters) == (12, 6)


def test_another_signature_is_refused_and_named(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", draw_images(2), CLEAR)
    other = CLIP.replace("prompts@1", "prompts@2")
    b = write_run(tmp_path / "b", draw_images(3), LOW, sets=("tint=0.1",), clip_signature=other)
    found = by_metric(compare(a, b))
    assert found["clip_score"].difference is None and found["clip_score"].first_values is None
    assert "differ: ref: prompts@1, prompts@2" in str(found["clip_score"].reason)
    assert found["kid_lite0"].difference is not None
    assert signature_difference("a|enc:x|v:1", "a|enc:x|v:2|k:5") == "v: 1, 2; k: nothing, 5"


def test_images_that_do_not_give_their_scores_are_an_error(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", draw_images(2), CLEAR, reference=draw_images(98, 20))  # scored on another reference
    b = write_run(tmp_path / "b", draw_images(3, shift=5), LOW, sets=("tint=0.1",))
    with pytest.raises(VerificationError, match="score the runs again"):
        compare(a, b)


def test_seeds_decide_between_methods(tmp_path: Path) -> None:
    # Within a seed every condition is 10 better, but the trainings of the first scatter by as much.
    low, runs = np.array(LOW), []
    for seed, shift in enumerate((-8.0, 10.0, 28.0)):
        runs.append(write_run(tmp_path / f"a{seed}", draw_images(2 + seed), low + shift, seed=seed))
        runs.append(write_run(tmp_path / f"b{seed}", draw_images(7 + seed), LOW, seed=seed, sets=("tint=0.1",)))
    several, one = by_metric(compare(*runs))["clip_score"], by_metric(compare(*runs[2:4]))["clip_score"]
    assert one.verdict == "fake" and one.unit == "condition" and one.seeds == ((1, 1),)
    assert several.verdict is None and several.unit == "condition and training"
    assert several.seeds == ((0, 0), (1, 1), (2, 2)) and several.by_seed == pytest.approx((-8, 10, 28))
    assert several.difference == pytest.approx(10)
    assert several.first_values is not None and several.first_values.spread == pytest.approx(18)
    assert several.second_values is not None and several.second_values.spread is None


NOISE = np.linspace(-0.3, 0.3, N)


@pytest.mark.parametrize(("first", "second", "winner"), [
    (-0.9, 0.9, None),  # as far from 0 on either side, though the signed difference is large
    (-0.9, 3.0, "fake"),
    (-3.0, -0.9, "fake (tint=0.1)"),
    (-3.0, 0.9, "fake (tint=0.1)"),
])  # fmt: skip
def test_a_metric_whose_best_is_0_is_tested_by_distance_from_0(
    tmp_path: Path, first: float, second: float, winner: str | None
) -> None:
    seams = first + NOISE, second + np.roll(NOISE, 5)
    a = write_run(tmp_path / "a", draw_images(2), LOW, seam=seams[0].tolist())
    b = write_run(tmp_path / "b", draw_images(3), LOW, sets=("tint=0.1",), seam=seams[1].tolist())
    found = by_metric(compare(a, b))["seam_colour"]
    signs = np.sign([first, second])
    wanted = compare_means(signs[0] * seams[0], signs[1] * seams[1], derive_seed("compare", "seam_colour"), [None] * N)
    assert numbers(found) == wanted.fields() and found.difference == pytest.approx(abs(first) - abs(second))
    assert found.verdict == winner and found.by_seed == pytest.approx((abs(first) - abs(second),))


def test_ranks_of_a_metric_whose_best_is_0_agree_with_its_verdicts(tmp_path: Path) -> None:
    means = {"fake": -1.0, "fake (tint=0.1)": 1.0, "fake (tint=0.2)": 5.0}
    runs = [
        write_run(tmp_path / str(k), draw_images(2 + k), LOW, sets=sets, seam=(mean + np.roll(NOISE, k)).tolist())
        for k, (sets, mean) in enumerate(zip(((), ("tint=0.1",), ("tint=0.2",)), means.values(), strict=True))
    ]
    comparison = compare(*runs)
    ranks = {rank.name: rank for rank in comparison.ranks if rank.metric == "seam_colour"}
    assert ranks["fake"].groups == ranks["fake (tint=0.1)"].groups == "a" != ranks["fake (tint=0.2)"].groups
    verdicts = {(o.first, o.second): o.verdict for o in comparison.compared if o.metric == "seam_colour"}
    assert set(verdicts.values()) == {None, "fake", "fake (tint=0.1)"}


def test_the_verdict_follows_the_paired_seeds(tmp_path: Path) -> None:
    """Seed 0 is of both: there the first is better, though its other seed draws its mean below the second's."""
    low = np.array(LOW)
    runs = [
        write_run(tmp_path / "a0", draw_images(2), low + 5),
        write_run(tmp_path / "a1", draw_images(3), low - 50, seed=1),
        write_run(tmp_path / "b0", draw_images(4), low + 0.1 * NOISE, sets=("tint=0.1",)),
    ]
    found = by_metric(compare(*runs))["clip_score"]
    assert found.first_values is not None and found.second_values is not None
    assert found.first_values.mean < found.second_values.mean
    assert found.seeds == ((0, 0),) and found.difference == pytest.approx(5)
    assert found.verdict == "fake"


def test_clusters_of_the_reference_are_read_and_used(tmp_path: Path) -> None:
    test, reference = pairs_of(draw_images(1), "c"), pairs_of(draw_images(99, 20), "r", clusters=True)
    data = read_scoring_data(test, reference, REFERENCE_ID, [ColourEncoder()])
    assert data.reference_clusters == [f"video {i // 2}" for i in range(20)]
    assert data.groups[1].tolist() == [i // 2 for i in range(20)]
    a = write_run(tmp_path / "a", draw_images(2), CLEAR)
    b = write_run(tmp_path / "b", draw_images(3), LOW, sets=("tint=0.1",))
    videos, alone = (
        by_metric(compare_entries(read_entries([a, b]), one))["fd_lite0"] for one in (data, scoring_data())
    )
    assert videos.low is not None and alone.low is not None
    assert videos.p == alone.p and videos.low != pytest.approx(alone.low, rel=1e-6)


def test_seeds_of_one_method_stand_alone(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(seed), draw_images(2 + seed), LOW, seed=seed) for seed in range(2)]
    comparison = compare(*runs)
    assert {(one.first, one.second) for one in comparison.compared} == {("fake seed 0", "fake seed 1")}
    assert comparison.compared[0].seeds == ((0, 1),)


def test_three_methods_have_ranks_and_ties_and_one_baseline_has_none(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", draw_images(2), CLEAR)
    b = write_run(tmp_path / "b", draw_images(3), LOW, sets=("tint=0.1",))
    c = write_run(tmp_path / "c", draw_images(4), np.roll(LOW, 5).tolist(), sets=("tint=0.2",))
    comparison = compare(a, b, c)
    assert comparison.tests == 21
    ranks = {rank.name: rank for rank in comparison.ranks if rank.metric == "clip_score"}
    assert (ranks["fake"].low, ranks["fake"].high, ranks["fake"].groups) == (1, 1, "a")
    others = [ranks[f"fake (tint={tint})"] for tint in (0.1, 0.2)]
    assert {(one.low, one.high, one.groups) for one in others} == {(2, 3, "b")}
    only = compare(a, b, c, against="fake (tint=0.2)")
    assert {(one.first, one.second) for one in only.compared} == {
        ("fake", "fake (tint=0.2)"),
        ("fake (tint=0.1)", "fake (tint=0.2)"),
    }
    assert only.tests == 14 and not only.ranks
    with pytest.raises(UsageError, match=r"wanted one of fake, fake \(tint=0.1\)"):
        compare(a, b, against="nothing")


def test_runs_that_never_compare(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", draw_images(2), CLEAR)
    b = write_run(tmp_path / "b", draw_images(3), LOW, sets=("tint=0.1",))
    with pytest.raises(UsageError, match="at least two different"):
        read_entries([a, a])
    again = write_run(tmp_path / "again", draw_images(5), CLEAR)
    with pytest.raises(UsageError, match="give one run a seed"):
        read_entries([a, b, again])
    other = CONDITIONS.model_copy(update={"manifest_sha256": "e" * 64})
    c = write_run(tmp_path / "c", draw_images(3), LOW, sets=("tint=0.2",), conditions=other)
    with pytest.raises(DataError, match="only equal ones compare"):
        read_entries([a, c])
    b.update(protocol_hash="0" * 16)
    with pytest.raises(DataError, match="only runs of one protocol"):
        read_entries([a, b])
    b.update(status="failed", protocol_hash=a.record.protocol_hash)
    with pytest.raises(UsageError, match="the run is failed, not complete"):
        read_entries([a, b])
    b.update(status="complete")
    b.add_sample(0, "c0", 1, draw_images(77)[0])  # another image than was scored
    with pytest.raises(UsageError, match="no scores of its present images"):
        read_entries([a, b])
