"""A user's own encoder through the entry-point group `ccbench.encoders`."""

import subprocess
import sys
from pathlib import Path

import pytest

from calling import Install
from ccbench.cli import execute
from ccbench.errors import UsageError
from ccbench.features import ENCODERS, GROUP, find_spec, list_encoders, open_encoder, open_text_encoder

CODE = """
from pathlib import Path
import numpy as np
from ccbench.features import EncoderSpec

ENCODER = EncoderSpec(
    name="mine", title="Colour means", texts=False, dim=3, weights="any file", source="nowhere", unlocks="fd_mine",
    find=lambda offline: Path(__file__), module="my_encoder",
)
NO_SPEC = 3

class Means:
    id, signature, path, path_error, dim = "mine", "enc:mine|w:00000000|resize:none", "numpy", 0.0, 3
    def encode_images(self, images):
        return np.array([image.mean(axis=(0, 1)) for image in images], dtype=np.float32).reshape(-1, 3)

def open(weights, device):
    return Means()
"""


@pytest.fixture
def install(install_plugin: Install) -> Install:
    def add(points: dict[str, str], **settings: str) -> Path:
        site = install_plugin(points, group=GROUP, **settings)
        (site / "my_encoder.py").write_text(CODE)
        sys.modules.pop("my_encoder", None)
        return site

    return add


def test_an_installed_encoder_opens_by_name(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install({"mine": "my_encoder:ENCODER"})
    assert [entry.name for entry in list_encoders()] == [*ENCODERS, "mine"]
    assert open_encoder("mine").signature == "enc:mine|w:00000000|resize:none"
    with pytest.raises(UsageError, match="does not read text; those that do: mini-clip, clip"):
        open_text_encoder("mine")
    assert execute(["doctor"]) == 0
    assert "encoder mine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("not_there:ENCODER", "ModuleNotFoundError: No module named 'not_there'"),
        ("my_encoder:NO_SPEC", "my_encoder:NO_SPEC is a int, wanted a ccbench EncoderSpec"),
        ("my_encoder:ENCODER", "its card says 'mine' and its entry point 'broken'; they must be equal"),
    ],
)
def test_a_broken_one_is_listed_with_its_error_and_hides_nothing(
    install: Install, value: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install({"broken": value, "mine": "my_encoder:ENCODER"})
    entries = {entry.name: entry for entry in list_encoders()}
    assert (entries["broken"].spec, entries["broken"].error, entries["broken"].source) == (
        None,
        error,
        "fake-plugin 1.2.3",
    )
    assert find_spec("mine").unlocks == "fd_mine"
    with pytest.raises(UsageError) as caught:
        open_encoder("broken")
    assert error in str(caught.value) and "fake-plugin 1.2.3" in str(caught.value)
    assert execute(["doctor", "--json"]) == 0  # the table wraps at the terminal's width
    assert error in capsys.readouterr().out


def test_two_of_one_name_are_refused_and_ours_still_open(install: Install) -> None:
    install({"mine": "my_encoder:ENCODER"}, name="first-plugin")
    install({"mine": "my_encoder:ENCODER"}, name="second-plugin", place="other")
    with pytest.raises(UsageError, match=r"encoder 'mine' of .*: offered twice: by .*-plugin .* uninstall one"):
        open_encoder("mine")
    assert find_spec("lite0") is ENCODERS["lite0"]


def test_an_encoder_with_a_name_of_ours_is_listed_as_unusable(install: Install) -> None:
    install({"lite0": "my_encoder:ENCODER"})
    ours, theirs = (entry for entry in list_encoders() if entry.name == "lite0")
    assert ours.spec is ENCODERS["lite0"] is find_spec("lite0")
    assert theirs.spec is None and theirs.source == "fake-plugin 1.2.3" and "has the name of" in (theirs.error or "")


def test_listing_imports_no_torch() -> None:
    code = "import sys; from ccbench.features import list_encoders; list_encoders(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
