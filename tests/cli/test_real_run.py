"""The main job with nothing faked: shipped weights, both protocols, a few images and steps."""

import json
from pathlib import Path

import pandas as pd
import pytest

from calling import Call
from ccbench.base.image_folders import list_images
from ccbench.base.images import read_image
from real_files import real_data

SMALL = ("--limit", "4", "--set", "training.max_steps=2", "--set", "num_inference_steps=2", "--json")
METRICS = ["fd_lite0", "kid_lite0", "clip_score", "clip_image", "text_fidelity"]


def check_run(output: Path, result: dict[str, object]) -> None:
    images = list_images(output / "images")
    assert len(images) == 4 and {read_image(file).shape for file in images} == {(128, 128, 3)}
    assert json.loads((output / "run.json").read_text())["status"] == "complete"
    assert len((output / "samples.jsonl").read_text().splitlines()) == 4
    assert len(pd.read_parquet(output / "scores" / "per_sample.parquet")) == 4
    assert (output / "gallery.png").stat().st_size > 10_000
    scores = result["scores"]
    assert isinstance(scores, list)
    reasons = {score["metric"]: score["reason"] for score in scores if score["value"] is None}
    assert {score["metric"] for score in scores} >= {*METRICS, "cmmd_mini-clip", "seam_colour", "memorised_near"}
    assert "has no reference segmenter" in reasons["mask_dice"] and "more than k" in reasons["recall_lite0"]
    found = {score["metric"]: score for score in scores}
    assert all(found[name]["value"] is not None for name in METRICS)
    assert all("clusters: too few for an interval" in found[name]["no_interval"] for name in METRICS)
    assert all((found[name]["n"], found[name]["n_real"]) == (4, 4) for name in ("fd_lite0", "memorised_near"))
    assert (output / "nearest-training.png").stat().st_size > 10_000


@pytest.mark.parametrize("method", ["ccis-diff", pytest.param("controlnet", marks=pytest.mark.slow)])
def test_phantom_run_twice_is_equal_to_the_last_digit(call: Call, method: str, tmp_path: Path) -> None:
    first, again = (
        call("run", "--method", method, *SMALL, "--output", tmp_path / name).json for name in ("first", "again")
    )
    check_run(tmp_path / "first", first)
    assert not (tmp_path / "first" / "gallery-public.png").exists()
    assert first["scores"] == again["scores"] and first["controls"] == again["controls"]
    one, two = ([file.read_bytes() for file in list_images(tmp_path / name / "images")] for name in ("first", "again"))
    assert one == two


def test_polyp_run_on_real_or_drawn_images(call: Call, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    root = real_data() or request.getfixturevalue("polyp_files")
    output = tmp_path / "out"
    done = call(
        "run", "--method", "ccis-diff", "--protocol", "polyp-128", "--data-root", root, *SMALL, "--output", output
    )
    assert done.code == 0, done.err
    check_run(output, done.json)
    assert (output / "gallery-public.png").stat().st_size > 10_000
    record = json.loads((output / "run.json").read_text())
    assert record["conditions"]["split"] == "test" and record["not_comparable"]
    shown = call("score", output, "--data-root", root)
    assert all(f"\n{name} alone:\n" in shown.out for name in ("kvasir-seg", "cvc-clinicdb"))
