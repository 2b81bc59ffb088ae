"""Every kind of bad input through `ccbench score`: an error line that names it, or what docs/metrics.md says of it."""

import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest
import tifffile
import torch
from safetensors.torch import save_file

from calling import Call, Finished
from ccbench.scoring import two_folders
from fake_encoders import random_images, write_images, write_mini_clip

SCORE = ("score", "--images", "made", "--reference", "real", "--device", "cpu", "--quiet")
PICTURE = random_images(1, (12, 20), seed=9)[0]


class Means:
    """Colour means: the input is under test here, not the network."""

    id, signature, path, dim = "lite0", "enc:means|w:00000000|resize:none", "eager cpu", 3

    def encode_images(self, images: list[np.ndarray]) -> np.ndarray:
        return np.array([image.mean(axis=(0, 1)) for image in images], dtype=np.float32)


@pytest.fixture
def score(call: Call, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finished]:
    """Two folders of four images with one name each, and the command that scores them."""
    monkeypatch.setattr(two_folders, "open_encoder", lambda name, **settings: Means())
    clip, opened = write_mini_clip(Path("clip")), two_folders.open_text_encoder
    monkeypatch.setattr(two_folders, "open_text_encoder", lambda name, **settings: opened("mini-clip", weights=clip))
    write_images(Path("made"), random_images(4, seed=1))
    write_images(Path("real"), random_images(4, seed=2))
    return lambda *args: call(*SCORE, *args)


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        (b"IDAT", data),
        (b"IEND", b""),
    ]
    parts = [struct.pack(">I", len(body)) + kind + body for kind, body in chunks]
    sums = [struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(part + check for part, check in zip(parts, sums, strict=True))


def encoded(picture: PIL.Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def deep_tiff() -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, PICTURE.astype(np.uint16), photometric="rgb")
    return buffer.getvalue()


RGB = PIL.Image.fromarray(PICTURE)
OTHER = PIL.Image.fromarray(255 - PICTURE)
ROW = b"\0" + bytes(range(12))  # two pixels of three 16-bit channels
EXIF = PIL.Image.Exif()
EXIF[0x0112] = 6

REFUSED = {
    "truncated": (encoded(RGB)[:-60], "cannot be decoded"),
    "truncated JPEG": (encoded(RGB, "JPEG")[:-60], "cannot be decoded"),
    "zero bytes": (b"", "not an image"),
    "a page": (b"<!DOCTYPE html><title>404</title>", "not an image"),
    "16-bit grey": (encoded(PIL.Image.fromarray(np.zeros((4, 4), np.uint16))), "wanted 8 bits a channel"),
    "16-bit colour": (png(2, 1, 16, 2, zlib.compress(ROW)), "wanted 8 bits a channel"),
    "16-bit TIFF": (deep_tiff(), "16 bits a channel, wanted 8"),
    "float": (encoded(PIL.Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), "32 bits a channel, wanted 8"),
    "animated PNG": (encoded(RGB, save_all=True, append_images=[OTHER]), "holds 2 pictures, wanted one"),
    "animated GIF": (encoded(RGB, "GIF", save_all=True, append_images=[OTHER]), "but a GIF; convert it to PNG"),
    "animated WebP": (encoded(RGB, "WEBP", save_all=True, append_images=[OTHER]), "holds 2 pictures, wanted one"),
    "pages of TIFF": (encoded(RGB, "TIFF", save_all=True, append_images=[OTHER]), "holds 2 pictures, wanted one"),
    "bomb": (png(30_000, 30_000, 8, 2, zlib.compress(bytes(100_000))), "900000000 pixels"),
    "bomb below Pillow's limit": (png(12_000, 12_000, 8, 2, b""), "12000 x 12000 pixels, at most 64,000,000"),
}
READ_AS = {  # file -> the pixels that are scored
    "alpha": (encoded(PIL.Image.fromarray(np.dstack([PICTURE, PICTURE[..., 0]]))), PICTURE),
    "palette": (encoded(RGB.quantize(7)), np.array(RGB.quantize(7).convert("RGB"))),
    "grey": (encoded(RGB.convert("L")), np.repeat(np.array(RGB.convert("L"))[..., None], 3, axis=2)),
    "CMYK": (encoded(RGB.convert("CMYK"), "TIFF", compression="raw"), PICTURE),
    "turned": (encoded(RGB, "PNG", exif=EXIF), np.rot90(PICTURE, -1)),
    "one pixel": (encoded(RGB.crop((3, 3, 4, 4))), PICTURE[3:4, 3:4]),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("folder", ["made", "real"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_that_is_refused_is_named(score: Callable[..., Finished], kind: str, folder: str) -> None:
    data, words = REFUSED[kind]
    Path(folder, "case-002.png").write_bytes(data)
    done = score()
    assert done.code == 4 and done.out == "", done
    assert done.err.count("\n") == 1 and words in done.err
    assert f"1 of 4 images cannot be read: {folder}/case-002.png" in done.err


def test_all_bad_images_are_counted_in_one_error(score: Callable[..., Finished]) -> None:
    for number in range(5):
        Path("made", f"bad-{number}.png").write_bytes(b"x")
    done = score()
    assert done.code == 4 and "5 of 9 images cannot be read" in done.err and "; and 2 more" in done.err
    assert all(f"bad-{number}.png" in done.err for number in range(3)) and "bad-3.png" not in done.err


@pytest.mark.parametrize("kind", READ_AS)
def test_an_image_that_is_converted_scores_as_its_rgb_pixels(score: Callable[..., Finished], kind: str) -> None:
    data, pixels = READ_AS[kind]
    Path("made", "case-002.png").write_bytes(data)
    found = score("--json", "--no-cache")
    assert found.code == 0, found.err
    PIL.Image.fromarray(np.ascontiguousarray(pixels)).save("made/case-002.png")
    assert found.json == score("--json", "--no-cache").json


def test_links_are_followed_and_one_to_nothing_is_an_error(score: Callable[..., Finished], tmp_path: Path) -> None:
    outside = write_images(tmp_path / "outside", [PICTURE])[0]
    Path("made/case-002.png").write_bytes(outside.read_bytes())
    wanted = score("--json").json
    Path("made/case-002.png").unlink()
    Path("made/case-002.png").symlink_to(outside)
    assert score("--json").json == wanted
    outside.unlink()
    done = score()
    assert done.code == 4 and "case-002.png: a link to a file that is not there" in done.err


def test_a_pipe_is_an_error_and_is_not_waited_for(score: Callable[..., Finished]) -> None:
    os.mkfifo("made/pipe.png")
    done = score()
    assert done.code == 4 and "pipe.png: not a regular file" in done.err


def test_a_name_that_is_not_utf8_is_refused(score: Callable[..., Finished]) -> None:
    with open(b"made/\xff\xfe.png", "wb") as file:  # noqa: PTH123  a bytes path is what this is about
        file.write(encoded(RGB))
    done = score("--json")
    assert done.code == 4 and "1 file names are not UTF-8, such as b'\\xff\\xfe.png'" in done.err


def test_unequal_and_unpaired_sets_have_distances_and_say_why_there_are_no_pairs(
    score: Callable[..., Finished],
) -> None:
    Path("real/case-003.png").unlink()
    Path("real/case-002.png").rename("real/other.png")
    scores = {item["metric"]: item for item in score("--json").json["scores"]}
    assert (scores["fd_lite0"]["n"], scores["fd_lite0"]["n_real"]) == (4, 3) and scores["fd_lite0"]["value"] is not None
    assert scores["clip_image"]["value"] is None
    assert "2 are shared by 4 images and 3 reference images" in scores["clip_image"]["reason"]


def test_one_image_has_no_distance_and_none_is_an_error(score: Callable[..., Finished]) -> None:
    for number in range(1, 4):
        Path("made", f"case-00{number}.png").unlink()
    scores = score("--json").json["scores"]
    assert all(item["value"] is None and "at least 2" in item["reason"] for item in scores[:2])
    Path("made/case-000.png").unlink()
    done = score()
    assert done.code == 4 and "made: holds no image" in done.err


def test_constant_images_are_scored_and_counted(score: Callable[..., Finished]) -> None:
    for number in range(4):
        PIL.Image.new("RGB", (8, 8), (number, 90, 90)).save(f"made/case-00{number}.png")
    card = score("--json").json
    assert card["failures"]["constant"] == 4
    assert all(np.isfinite(item["value"]) for item in card["scores"] if item["value"] is not None)


def test_features_that_are_not_finite_are_an_error(
    score: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Means, "encode_images", lambda self, images: np.full((len(images), 3), np.nan, np.float32))
    done = score()
    assert done.code == 4 and "features of 4 of 4 images are not finite" in done.err


class Hostile:
    """Runs a command when it is unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-run",)


@pytest.mark.parametrize("encoder", ["lite0", "inception", "clip-vit-b-16"])
@pytest.mark.parametrize("kind", ["page", "pickle", "archive", "empty", "half", "another network"])
def test_weights_that_are_something_else(call: Call, encoder: str, kind: str) -> None:
    write_images(Path("made"), random_images(2, seed=1))
    path = Path("weights.pth")
    save_file({"w": torch.zeros(64)}, path)
    if kind == "page":
        path.write_text("<!DOCTYPE html><html><title>Not found</title></html>")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Hostile()))
    elif kind == "archive":
        torch.save({"w": Hostile()}, path)
    elif kind != "another network":
        path.write_bytes(path.read_bytes()[: 0 if kind == "empty" else 100])
    weights = ("--encoder", encoder, "--weights", path)
    if encoder.startswith("clip"):
        weights = ("--text-encoder", encoder, "--text-weights", path)
    done = call("score", "--images", "made", "--reference", "made", "--device", "cpu", *weights)
    assert done.code == 4 and done.err.count("\n") == 1 and "weights.pth" in done.err, done
    assert "HTML" in done.err or kind != "page"
    assert not Path("was-run").exists()
