"""The paths of the encoders' image towers, and the gate in front of them."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from ccbench.errors import UsageError
from ccbench.features import open_encoder, open_text_encoder
from ccbench.features.encoder import PIECE, run_batches
from ccbench.features.fast_paths import BOUND, VARIABLE, open_tower, probe_images
from ccbench.features.feature_cache import FeatureCache
from ccbench.features.fused import fuse
from ccbench.features.image_pass import encode_texts
from ccbench.types import Image
from fake_encoders import random_images, write_mini_clip

IMAGES = random_images(PIECE + 2, (61, 47), seed=3)


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "home"


def small_network() -> torch.nn.Sequential:
    """A convolution, a norm with statistics of its own, and a pool: what `fuse` is for."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = torch.nn.BatchNorm2d(8)
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
        layers = torch.nn.Conv2d(3, 8, 3), norm, torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        return torch.nn.Sequential(*layers).eval().requires_grad_(False)


def prepare(images: Sequence[Image]) -> torch.Tensor:
    return torch.stack(
        [torch.from_numpy(image[:32, :32].astype(np.float32) / 255).permute(2, 0, 1) for image in images]
    )


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.sqrt(np.mean(np.square(expected, dtype=np.float64))))


@pytest.mark.parametrize("name", ["lite0", "mini-clip"])
def test_the_fused_path_gives_the_plain_features(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Expected: the plain network. Tolerance: what the gate promises, of images that it has not seen.
    monkeypatch.setenv(VARIABLE, "eager")
    plain = open_encoder(name)
    assert (plain.path, plain.path_error) == ("eager cpu", 0.0)
    monkeypatch.setenv(VARIABLE, "fused")
    fast = open_encoder(name)
    assert fast.path == "fused cpu" and 0 < fast.path_error < BOUND
    assert fast.signature == plain.signature
    assert relative_error(fast.encode_images(IMAGES), plain.encode_images(IMAGES)) < BOUND


def test_a_clip_vision_transformer_computes_the_class_token_only_at_last(tmp_path: Path) -> None:
    folder = write_mini_clip(tmp_path / "clip")
    fast = open_encoder("mini-clip", weights=folder)
    assert fast.path == "fused cpu" and 0 < fast.path_error < 1e-5
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "eager")
        plain = open_encoder("mini-clip", weights=folder)
    assert relative_error(fast.encode_images(IMAGES), plain.encode_images(IMAGES)) < 1e-5
    transformer = fast._tower.run.transformer  # type: ignore[attr-defined]
    assert transformer(torch.zeros(2, 5, 32)).shape == (2, 1, 32)


@pytest.mark.parametrize(
    ("change", "path"), [(0.5 * BOUND, "fused cpu"), (2 * BOUND, "eager cpu"), (np.nan, "eager cpu")]
)
def test_the_gate_measures_the_largest_error_against_the_rms(
    change: float, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small_network()
    plain = network(prepare(probe_images())).double()

    def wrong(module: torch.nn.Module) -> torch.nn.Module:
        step = change * plain.square().mean().sqrt()
        hooked = fuse(module)
        hooked.register_forward_hook(lambda _, inputs, output: output + step * (torch.arange(8) == 5))
        return hooked

    tower = open_tower(lambda: network, prepare, "enc:x", "cpu", wrong)
    assert tower.path == path
    assert tower.error == pytest.approx(change if path == "fused cpu" else 0.0, rel=0.1)


def test_fusing_leaves_the_network_alone_and_takes_its_norms_out() -> None:
    network = small_network()
    before, batch = {key: value.clone() for key, value in network.state_dict().items()}, prepare(probe_images())
    features, fused = network(batch), fuse(network)
    assert [type(layer).__name__ for layer in fused][:3] == ["Conv2d", "Identity", "ReLU"]
    assert relative_error(fused(batch).numpy(), features.numpy()) < 1e-5
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(network(batch), features)


def test_the_verdict_is_kept_and_measured_again_for_other_weights_or_a_damaged_file(empty_home: Path) -> None:
    def runs(signature: str) -> int:
        network, calls = small_network(), []
        unhooked = small_network()
        network.register_forward_hook(lambda *_: calls.append(1))
        tower = open_tower(lambda: network, prepare, signature, "cpu", lambda _: fuse(unhooked))
        assert tower.path == "fused cpu" and 0 < tower.error < BOUND
        assert relative_error(tower.run(prepare(IMAGES)).numpy(), unhooked(prepare(IMAGES)).numpy()) < BOUND
        return len(calls)

    assert [runs("enc:x|w:1"), runs("enc:x|w:1"), runs("enc:x|w:2")] == [1, 0, 1]
    files = list((empty_home / "encoder-paths").iterdir())
    assert len(files) == 2
    kept = json.loads(files[0].read_text())
    for damaged in ("{", "[]", json.dumps({**kept, "of": "another"}), json.dumps({"of": kept["of"]})):
        for file in files:
            file.write_text(damaged)
        assert runs("enc:x|w:1") + runs("enc:x|w:2") == 2, damaged


def test_with_a_verdict_the_network_is_loaded_when_it_runs_and_a_refused_path_stays_refused() -> None:
    loads: list[int] = []

    def load() -> torch.nn.Module:
        loads.append(1)
        return small_network()

    def broken(module: torch.nn.Module) -> torch.nn.Module:
        return torch.nn.Sequential(module, torch.nn.Threshold(1e9, 0.0))

    for signature, fusing, path in (("good", fuse, "fused cpu"), ("bad", broken, "eager cpu")):
        loads.clear()
        first, again = (open_tower(load, prepare, signature, "cpu", fusing) for _ in range(2))
        assert len(loads) == 1
        assert first.path == again.path == path and first.error == again.error
        assert torch.equal(first.run(prepare(IMAGES)), again.run(prepare(IMAGES)))
        again.run(prepare(IMAGES))
        assert len(loads) == 2


def test_texts_come_from_the_cache_and_depend_on_no_other_text(tmp_path: Path) -> None:
    encoder, cache = open_text_encoder("mini-clip"), FeatureCache(tmp_path / "cache")
    texts = ["a polyp", "a round red polyp on the left wall of a fold " * 3, "a polyp", ""]
    expected = encoder.encode_texts(texts)
    assert np.array_equal(np.concatenate([encoder.encode_texts([text]) for text in texts]), expected)
    assert np.array_equal(encode_texts(encoder, texts[:1], cache=cache), expected[:1])
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        plain = encoder.encode_texts
        patch.setattr(encoder, "encode_texts", lambda missing: asked.extend(missing) or plain(missing))
        assert np.array_equal(encode_texts(encoder, texts, cache=cache), expected)
        assert np.array_equal(encode_texts(encoder, texts, cache=cache), expected)
    assert asked == [texts[1], ""]
    assert encode_texts(encoder, []).shape == (0, encoder.dim)


def test_a_home_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CCBENCH_HOME", str(tmp_path / "file"))
    assert open_encoder("mini-clip").path == "fused cpu"


def test_an_unknown_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "tf32")
    with pytest.raises(UsageError, match="CCBENCH_ENCODER_PATH is 'tf32'; wanted one of auto, eager, fused"):
        open_tower(small_network, prepare, "enc:x", "cpu")


@pytest.mark.parametrize("name", ["lite0", "mini-clip"])
def test_features_depend_on_no_neighbour_and_on_no_number_of_threads(name: str) -> None:
    encoder, threads = open_encoder(name), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = encoder.encode_images(IMAGES)
        alone = np.concatenate([encoder.encode_images([image]) for image in IMAGES])
        torch.set_num_threads(2)
        assert np.array_equal(encoder.encode_images(IMAGES), expected)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(alone, expected)
    assert np.array_equal(encoder.encode_images(IMAGES[::-1])[::-1], expected)


def test_an_error_in_a_thread_comes_out_and_threads_are_put_back() -> None:
    threads = torch.get_num_threads()

    def fail(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no memory")

    try:
        torch.set_num_threads(2)
        with pytest.raises(RuntimeError, match="no memory"):
            run_batches(IMAGES, prepare, fail, 8, "cpu")
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as new:
            assert new.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(threads)
