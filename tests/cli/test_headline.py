"""What ccbench promises, with nothing faked: a run is scored again to the same digits, published, and drift is seen."""

from pathlib import Path

import pytest

import ccbench.data.phantom.phantom_source
import ccbench.scoring.reference_segmenter
from calling import Call
from ccbench.plugins.contract import TrainingSettings
from ccbench.protocols.protocol import PROTOCOLS, Protocol

RUN = ("run", "--method", "ccis-diff", "--protocol", "dozen", "--output", "out")


@pytest.fixture(autouse=True)
def _dozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol of a dozen phantoms: encoders, segmenter, backbone and method are the real ones, little trained."""
    counts = {"train": 24, "validation": 8, "test": 12}
    monkeypatch.setattr(ccbench.data.phantom.phantom_source, "COUNTS", counts)
    monkeypatch.setattr(ccbench.scoring.reference_segmenter, "_STEPS", 2)
    protocol = Protocol(
        name="dozen",
        title="for a test",
        version=1,
        data="phantom",
        needs_data_root=False,
        image_size=64,
        backbone="sd-mini",
        training=TrainingSettings(max_steps=2, batch_size=2),
        sampling={"num_inference_steps": 2, "guidance_scale": 2.0},
        set_encoder="lite0",
        text_encoder="mini-clip",
    )
    monkeypatch.setitem(PROTOCOLS, protocol.name, protocol)


def flip_a_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_run_is_verified_published_and_checked_and_a_flipped_byte_is_drift(call: Call) -> None:
    made = call(*RUN, "--json")
    assert made.code == 0, made.err
    scores = {score["metric"]: score for score in made.json["scores"]}
    for name in ("fd_lite0", "clip_score", "mask_dice", "text_fidelity"):
        assert scores[name]["value"] is not None and scores[name]["n"] == 12, scores[name]
    assert "judge:semantic-fpn" in scores["mask_dice"]["signature"]

    verified = call("verify", "out", "--json")
    apart = [check["what"] for check in verified.json["checks"] if check["state"] != "match"]
    assert verified.code == 0 and all(what.startswith("images sampled again") for what in apart), verified.out
    assert verified.json["state"] in ("match", "within tolerance")  # of an image sampled in another batch
    added = call("leaderboard", "add", "out", "--json")
    assert added.code == 0 and len(added.json["results"]) == 1, added.err
    assert call("leaderboard", "render").code == 0 and call("leaderboard", "check").code == 0
    page = Path("leaderboards", "dozen", "README.md").read_text()
    assert "ccis-diff" in page and f"{scores['fd_lite0']['value']:.2f}" in page

    for file in (next(Path("out", "images").glob("*.png")), next(Path("out", "checkpoint").rglob("*.safetensors"))):
        flip_a_byte(file)
        drift = call("verify", "out")
        assert drift.code == 5 and "drift" in drift.out, drift.err
        flip_a_byte(file)
