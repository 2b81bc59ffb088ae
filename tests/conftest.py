"""Fixtures shared by the tests: an installed fake plugin, a small protocol for it, and polyp files in their layout."""

import importlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ccbench.data.phantom.phantom_source
import ccbench.data.sets.splits
import fake_methods
from ccbench.plugins.contract import TrainingSettings
from ccbench.plugins.registry import find_offers
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from fake_polyps import write_polyps

Install = Callable[..., Path]


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell without job control
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's caches and choice of encoder path out of the tests, and the tests out of the user's caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CCBENCH_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("CCBENCH_ENCODER_PATH", raising=False)
        yield


@pytest.fixture(autouse=True)
def packages_are_looked_at_anew() -> Iterator[None]:
    """What is installed is kept for a process; a test may install more."""
    find_offers.cache_clear()
    yield
    find_offers.cache_clear()


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that makes a distribution with entry points visible, as an installed wheel would be."""

    def install(
        points: dict[str, str],
        name: str = "fake-plugin",
        version: str = "1.2.3",
        place: str = "site",
        group: str = "ccbench.methods",
    ) -> Path:
        site = tmp_path / place
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{key} = {value}" for key, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        monkeypatch.syspath_prepend(site)
        importlib.invalidate_caches()
        find_offers.cache_clear()
        return site

    return install


@pytest.fixture
def fake_plugin(install_plugin: Install) -> str:
    """Install the NumPy-only fake method and return its name."""
    install_plugin({"fake": "fake_methods:METHOD"})
    return fake_methods.METHOD.info.name


@pytest.fixture
def small_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Protocol:
    """A protocol of this version on a few 16 px phantoms, with an empty folder as its backbone."""
    counts = {"train": 24, "validation": 8, "test": 24}
    monkeypatch.setattr(ccbench.data.phantom.phantom_source, "COUNTS", counts)
    backbone = tmp_path / "backbone"
    backbone.mkdir()
    protocol = Protocol(
        name="small",
        title="for tests",
        version=1,
        data="phantom",
        needs_data_root=False,
        image_size=16,
        backbone=str(backbone),
        training=TrainingSettings(max_steps=3, batch_size=2),
        sampling={"num_inference_steps": 20, "guidance_scale": 7.0},
        set_encoder="lite0",
        text_encoder="mini-clip",
    )
    monkeypatch.setitem(PROTOCOLS, protocol.name, protocol)
    return protocol


@pytest.fixture
def polyp_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small images in the layout of Kvasir-SEG and CVC-ClinicDB, and splits of them; return the data root."""
    monkeypatch.setattr(ccbench.data.sets.splits, "FOLDER", tmp_path / "splits")
    return write_polyps(tmp_path / "data", tmp_path / "splits")
