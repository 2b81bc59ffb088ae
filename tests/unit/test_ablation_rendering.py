"""An ablation's page: differences that were tested, those that were not, and no row for what was not tested."""

from ccbench.comparison import PairedTest
from ccbench.studies.ablation.ablation_page import render_csv, render_markdown
from ccbench.studies.ablation.variant_scores import AblationTable, RunLine, VariantScore
from ccbench.studies.ablation.variants import Claim

TESTED = {
    "difference": -4.3,
    "low": -17.6,
    "high": 9.0,
    "p": 0.3,
    "p_holm": 1.0,
    "effect": -0.64,
    "n": 200,
    "clusters": 200,
}


def score(variant: str, metric: str, mean: float | None, **test: object) -> VariantScore:
    """A score, with the fields of its test against the base where there is one."""
    paired = PairedTest.model_validate({"metric": metric, "first": variant, "second": "full", **test}) if test else None
    return VariantScore(variant=variant, metric=metric, mean=mean, spread=0.02, by_seed={}, test=paired)


TABLE = AblationTable(
    title="two variants",
    method="ccis-diff",
    protocol="phantom-128",
    protocol_hash="0123456789abcdef",
    n=200,
    seeds=(0, 1, 2),
    base="full",
    variants={"full": {}, "-bmws": {"bmws": "off"}},
    settings={},
    claims=(Claim(module="bmws", says="no seam", without="-bmws", metrics=("precision_lite0",)),),
    unit="condition and training",
    tests=1,
    scores=[
        score("full", "clip_score", 58.2),
        score("-bmws", "clip_score", 53.9, **TESTED),
        score("full", "precision_lite0", 0.14),
        score("-bmws", "precision_lite0", 0.09, reason="no paired test of this metric"),
        score("full", "clip_score_polyp", None),
        score("-bmws", "clip_score_polyp", None, reason="no value in any run"),
    ],
    runs=[],
    notes=[],
)

RUN = {"variant": "full", "seed": 0, "config_hash": "0123"}


def test_a_difference_without_a_test_is_of_the_means_and_says_so() -> None:
    lines = render_markdown(TABLE).splitlines()
    assert "| -bmws | -4.30 |" in lines and "| -bmws | -0.05 |" in lines
    assert any(line.endswith("of precision_lite0 not tested, the difference is of the means.") for line in lines)
    assert not any("clip_score_polyp" in line and line.startswith("|") for line in lines)


def test_a_metric_whose_best_is_0_is_compared_by_its_distance_from_0() -> None:
    """-0.9 is farther from 0 than 0.8 by 0.1; tables stored before say the difference of the values, -1.7."""
    scores = [score("full", "seam_colour", 0.8), score("-bmws", "seam_colour", -0.9, reason="no test")]
    now = TABLE.model_copy(update={"scores": scores, "zero_differences": "absolute"})
    assert "| -bmws | +0.10 |" in render_markdown(now) and "→0: of the distances from 0." in render_markdown(now)
    before = AblationTable.model_validate_json(TABLE.model_copy(update={"scores": scores}).model_dump_json())
    assert before.zero_differences == "signed" and "| -bmws | -1.70 |" in render_markdown(before)


def test_a_difference_without_an_interval_says_why() -> None:
    few = {**TESTED, "low": None, "high": None, "no_interval": "5 clusters: too few for an interval, 8 are needed"}
    scores = [score("full", "clip_score", 58.2), score("-bmws", "clip_score", 53.9, **few)]
    table = TABLE.model_copy(update={"scores": scores})
    assert "no interval of clip_score: 5 clusters: too few for an interval, 8 are needed." in render_markdown(table)
    assert "no_interval" in render_csv(table) and "no_interval" not in render_csv(TABLE)


def test_only_tests_have_rows_and_reasons_stand_below() -> None:
    page = render_markdown(TABLE)
    tests = page.partition("## Every test")[2].partition("## Runs")[0]
    rows = [line for line in tests.splitlines() if line.startswith("| ")]
    assert len(rows) == 3 and rows[2].startswith(
        "| clip_score ↑ | -bmws | 53.90 ± 0.02 | -4.30 | -17.60 to +9.00 | 0.3000 |"
    )
    assert "Not tested: precision_lite0; no paired test of this metric." in tests
    assert "| bmws | no seam | precision_lite0 ↑ | 0.14 ± 0.02 | 0.09 ± 0.02 | - | - | - | not tested |" in page


def test_a_reason_stands_once_and_names_variants_where_it_is_not_all() -> None:
    variants = ("-bmws", "-taam")
    runs = [RunLine.model_validate({**dict.fromkeys(RunLine.model_fields), **RUN, "run_id": run}) for run in variants]
    scores = [
        *(score(one, "clip_score_polyp", None, reason=f"{one}: whole frames: not crops") for one in variants),
        score("full", "precision_lite0", 0.1),
        score("-bmws", "precision_lite0", 0.1, **TESTED),
        score("-taam", "precision_lite0", 0.1, reason="-taam: too few images"),
    ]
    every: dict[str, dict[str, object]] = {"full": {}, "-bmws": {}, "-taam": {}}
    table = TABLE.model_copy(update={"variants": every, "runs": runs, "scores": scores, "claims": ()})
    said = [line for line in render_markdown(table).splitlines() if line.startswith("Not tested")]
    assert said == [
        "Not tested: clip_score_polyp; whole frames: not crops.",
        "Not tested: precision_lite0 of -taam; too few images.",
    ]
