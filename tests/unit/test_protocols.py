"""What the protocols freeze."""

import json
from pathlib import Path

import pytest

from ccbench.features import ENCODERS
from ccbench.plugins.contract import TrainingSettings
from ccbench.plugins.registry import find_method
from ccbench.protocols.config import resolve_config, restore_config
from ccbench.protocols.protocol import PROTOCOLS, find_protocol


def test_hashes_of_protocols_with_boards_stay() -> None:
    """Golden values: a board's rows carry them, so that a change here ends the board."""
    hashes = {name: PROTOCOLS[name].hash for name in ("phantom-128", "polyp-128")}
    assert hashes == {"phantom-128": "a51ce25049c3394f", "polyp-128": "4cfbe9f9618456b6"}


def test_polyp_512_is_the_papers_scale() -> None:
    """CCIS-DIFF sections 2.2.4 and 3.1: batch 4, rate 1e-5, half of the prompts dropped, DDIM 20, guidance 7."""
    protocol = find_protocol("polyp-512")
    assert protocol.training == TrainingSettings(max_steps=30_000, batch_size=4, learning_rate=1e-5, prompt_drop=0.5)
    fields = ("num_inference_steps", "guidance_scale", "conditioning_scale")
    assert protocol.frozen_settings("ccis-diff", fields) == dict(zip(fields, (20, 7.0, 1.0), strict=True))
    assert protocol.with_method(find_method("arsdm")).frozen_settings("arsdm", fields)["num_inference_steps"] == 200
    assert {protocol.set_encoder, protocol.text_encoder} == {"inception", "clip-vit-b-16"} <= ENCODERS.keys()


RESULTS = sorted(Path(__file__).parents[2].glob("leaderboards/*/results/*/*.json"))


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_published_configurations_keep_their_hash(file: Path) -> None:
    """Resolved anew from what its record says was changed, a published run has the hash that it was published under."""
    record = json.loads(file.read_text())["record"]
    recorded = record["config"]
    said = recorded["overrides"] | {key: value for key, value in recorded["settings"].items() if key == "of"}
    overrides = [f"{key}={json.dumps(value)}" for key, value in said.items()]
    config = resolve_config(
        find_method(recorded["method"]), find_protocol(record["protocol"]), sets=overrides, seed=record["seed"]
    )
    config = config.model_copy(update={"revision": recorded.get("revision", 1)})
    assert config.config_hash == record["config_hash"] and not config.not_comparable
    assert restore_config(recorded).config_hash == record["config_hash"]
