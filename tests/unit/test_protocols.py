"""What the protocols freeze."""

from ccbench.features import ENCODERS
from ccbench.plugins.contract import TrainingSettings
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
    assert protocol.frozen_settings("arsdm", fields)["num_inference_steps"] == 200
    assert {protocol.set_encoder, protocol.text_encoder} == {"inception", "clip-vit-b-16"} <= ENCODERS.keys()
