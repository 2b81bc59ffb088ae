"""`ccbench data audit`: exit codes, the report, and what is kept with a board."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import ccbench.studies.leak_audit.audit
from audit_sets import GridEncoder, phantoms
from calling import Call
from ccbench.base.images import read_image, write_png
from ccbench.data.split import open_split
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.studies.leak_audit.audit_record import Audit


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder without a network."""
    monkeypatch.setattr(ccbench.studies.leak_audit.audit, "open_audit_encoder", lambda device: GridEncoder())


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    """Two folders without a common image, as arguments."""
    images = phantoms(1, 2, 3, 4)
    for number, image in enumerate(images):
        folder = tmp_path / ("a" if number < 2 else "b")
        folder.mkdir(exist_ok=True)
        write_png(folder / f"frame {number}.png", image)
    return f"first={tmp_path / 'a'}", f"second={tmp_path / 'b'}"


def red_share(picture: Path) -> float:
    image = read_image(picture)
    return float((image == (200, 20, 20)).all(axis=2).mean())


def test_folders_that_share_nothing_end_well(call: Call, grid: None, folders: tuple[str, str]) -> None:
    done = call("data", "audit", "--images", folders[0], "--images", folders[1])
    assert done.code == 0, done.err
    assert "first / second" in done.out and "2 x 2" in done.out and "No image is in two sets" in done.out
    report = Path("runs", "audits", "first-second")
    assert [file.name for file in report.iterdir()] == ["audit.json"]  # nothing to draw
    assert f"wrote {report / 'audit.json'}" in done.out


def test_a_copy_ends_with_code_4_and_is_named_and_drawn(
    call: Call, grid: None, folders: tuple[str, str], tmp_path: Path
) -> None:
    plain = np.zeros((64, 64, 3), np.uint8) + np.array((200, 20, 20), np.uint8)
    write_png(tmp_path / "a" / "red.png", plain)
    shutil.copy(tmp_path / "a" / "red.png", tmp_path / "b" / "also red.png")
    done = call("data", "audit", "--images", folders[0], "--images", folders[1], "--output", "report")
    assert done.code == 4
    assert (
        done.err.splitlines()[-1] == "error: leak: first and second share 1 x same file; remove these images from "
        "one side"
    )
    assert "same file  red.png (first)  also red.png (second)" in done.out.replace("   ", "  ")
    assert red_share(Path("report", "pairs.png")) > 0.2
    (tmp_path / "b" / "also red.png").unlink()
    assert call("data", "audit", "--images", folders[0], "--images", folders[1], "--output", "report").code == 0
    assert not Path("report", "pairs.png").exists()  # of the audit before


def test_json_is_the_record_with_its_leaks(call: Call, grid: None, folders: tuple[str, str], tmp_path: Path) -> None:
    shutil.copy(tmp_path / "a" / "frame 0.png", tmp_path / "b" / "copy.png")
    done = call("data", "audit", "--images", folders[0], "--images", folders[1], "--json", "--quiet")
    assert done.code == 4
    value = done.json
    assert value.pop("leaks") == ["first and second share 1 x same file"]
    files = [Path(file) for file in value.pop("files")]
    assert [file.name for file in files] == ["audit.json", "pairs.png"]
    assert json.loads(files[0].read_text()) == value
    assert Audit.model_validate(value).protocol is None
    assert str(tmp_path) not in files[0].read_text()


def test_a_protocol_is_audited_with_the_real_encoder_and_kept_with_its_board(
    call: Call, polyp_files: Path, tmp_path: Path
) -> None:
    options = ("data", "audit", "--protocol", "polyp-128", "--data-root", polyp_files, "--boards", "boards", "--store")
    done = call(*options, "--device", "cpu", "--json")
    assert done.code == 0, done.err
    stored = Audit.model_validate_json(Path("boards", "polyp-128", "audit.json").read_bytes())
    assert Path("runs", "audits", "polyp-128", "audit.json").read_text() == stored.to_text()
    splits = ("train", "validation", "test")
    manifests = [open_split(PROTOCOLS["polyp-128"], split, polyp_files).manifest_sha256 for split in splits]
    assert [(part.name, part.manifest_sha256) for part in stored.sets] == list(zip(splits, manifests, strict=True))
    assert stored.protocol == "polyp-128" and stored.encoder.endswith("|resize:clean-bicubic128")
    assert call("leaderboard", "render", "--boards", "boards").code == 0


def test_a_part_of_a_protocol_is_not_kept(
    call: Call, grid: None, small_protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol)
    part = call("data", "audit", "--protocol", "small", "--limit", "2", "--json")
    assert part.code == 0 and part.json["protocol"] is None
    assert [(item["name"], item["n"]) for item in part.json["sets"]] == [("train", 2), ("validation", 2), ("test", 2)]
    refused = call("data", "audit", "--protocol", "small", "--limit", "2", "--store")
    assert refused.code == 2 and "without --limit" in refused.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give either --protocol NAME or --images NAME=DIR"),
        (("--protocol", "phantom-128", "--images", "a=b"), "give either --protocol NAME or --images NAME=DIR"),
        (("--images", "b"), "found 'b', wanted NAME=DIR"),
        (("--images", "a=b", "--limit", "2"), "--data-root and --limit belong to --protocol"),
        (("--images", "=b"), "found '=b', wanted NAME=DIR"),
        (("--images", "../a=b"), "found '../a=b', wanted NAME=DIR"),
        (("--images", "a=b", "--store"), "--store: a board keeps the audit of a whole protocol"),
        (("--protocol", "phantom"), "unknown protocol 'phantom'"),
    ],
)
def test_usage_errors(call: Call, options: tuple[str, ...], message: str) -> None:
    done = call("data", "audit", *options)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1
    assert not Path("runs").exists()


def test_a_missing_folder_is_a_data_error(call: Call) -> None:
    done = call("data", "audit", "--images", "a=nowhere")
    assert done.code == 4 and "nowhere: not a folder" in done.err
