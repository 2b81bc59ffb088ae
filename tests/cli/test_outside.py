"""Images from outside: all are there, whole and as asked for, before anything is written; then they are a run."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from board_runs import add_unverified, make_card
from calling import Call
from ccbench.base.image_folders import list_images
from ccbench.base.images import file_stem, read_image, write_png
from ccbench.base.seeding import sample_seed
from ccbench.boards.rendered_boards import render_boards
from ccbench.data.phantom import phantom_source
from ccbench.data.split import open_split
from ccbench.errors import DataError
from ccbench.pipeline.outside_images import check_outside
from ccbench.pipeline.session import Session
from ccbench.protocols.config import OutsideConfig, restore_config
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.runs import RunFolder

RUN = ("run", "--method", "my-gan", "--protocol", "small", "--limit", "4", "--from-dir", "made")
SAID = ("--title", "My GAN", "--licence", "MIT", "--code", "https://example.org/gan")


@pytest.fixture
def made(tmp_path: Path, scored_images: object, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images for the first four of six test conditions, as another program would leave them."""
    monkeypatch.setattr(phantom_source, "COUNTS", {"train": 8, "validation": 2, "test": 6})
    folder = tmp_path / "made"
    folder.mkdir()
    write_images(folder, 4)
    return folder


def write_images(folder: Path, n: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for pair in open_split(PROTOCOLS["small"], "test", None, n).pairs:
        write_png(folder / f"{file_stem(pair.condition.id)}.png", rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))


def test_images_become_a_run_and_nothing_is_generated(call: Call, made: Path) -> None:
    done = call(*RUN, *SAID, "--output", "out")
    assert done.code == 0, done.err
    assert "train" not in done.err and "copied all 4" in done.err and "cost: unknown" in done.out
    assert "ccbench run --from-dir made --method my-gan --protocol small" in done.out
    run = RunFolder.read(Path("out"))
    record, samples = run.record, run.samples()
    assert record.status == "complete" and record.training is None and not run.checkpoint.exists()
    assert record.method is not None and record.method.model_dump(exclude_none=True) == {
        "name": "my-gan",
        "title": "My GAN",
        "licence": "MIT",
        "distribution": "outside",
        "version": "not stated",
        "control": False,
    }
    assert (record.cost.train_seconds, record.cost.seconds_per_image, record.cost.parameters_trained) == (None,) * 3
    assert [sample.seed for sample in samples] == [sample_seed(0, sample.condition_id) for sample in samples]
    for copied, file in zip(run.image_files(), list_images(made), strict=True):
        assert np.array_equal(read_image(copied), read_image(file))
    assert run.gallery.is_file() and str(made) not in (run.path / "run.json").read_text()


def test_a_text_that_steers_the_terminal_is_refused(call: Call, made: Path) -> None:
    done = call(*RUN, "--title", "\x1b[2Jgone", "--output", "out")
    assert done.code == 2 and "--title: found \\x1b[2Jgone" in done.err and not Path("out").exists()


def test_the_same_command_skips_what_is_there_and_ends_equal_after_a_stop(call: Call, made: Path) -> None:
    first = call(*RUN, "--output", "out", "--json")
    again = call(*RUN, "--output", "out", "--json")
    assert first.json == again.json and "images: skipped" in again.err and "score: skipped" in again.err
    with RunFolder.open(Path("out")) as run:  # as a run that was stopped between two images
        run.image_files()[2].unlink()
        run.update(status="started")
    assert call(*RUN, "--output", "out").code == 0
    assert RunFolder.read(Path("out")).record.status == "complete"


def test_other_images_or_words_are_another_configuration(call: Call, made: Path) -> None:
    call(*RUN, "--output", "out")
    assert call(*RUN, *SAID, "--output", "out").code == 2
    write_images(made, 4, seed=1)
    done = call(*RUN, "--output", "out")
    assert done.code == 2 and "settings.images_sha256" in done.err and "choose another folder" in done.err


def test_the_hash_is_of_the_pixels(made: Path) -> None:
    before = check_outside(made, "my-gan", PROTOCOLS["small"], Session(), limit=4)
    for file in list_images(made):
        PIL.Image.fromarray(read_image(file)).save(file, compress_level=0)
    after = check_outside(made, "my-gan", PROTOCOLS["small"], Session(), limit=4)
    assert before.config.config_hash == after.config.config_hash
    assert restore_config(json.loads(before.config.model_dump_json())) == before.config
    first, second = list_images(made)[:2]
    pixels = read_image(first)
    write_png(first, read_image(second))
    write_png(second, pixels)
    swapped = check_outside(made, "my-gan", PROTOCOLS["small"], Session(), limit=4)
    assert swapped.config.config_hash != before.config.config_hash


def test_a_suffix_in_capitals_is_png_too_and_a_name_twice_is_refused(call: Call, made: Path) -> None:
    for file in list_images(made):
        file.rename(file.with_suffix(".PNG"))
    assert len(check_outside(made, "my-gan", PROTOCOLS["small"], Session(), limit=4).images) == 4
    shutil.copy(list_images(made)[0], list_images(made)[0].with_suffix(".png"))
    with pytest.raises(DataError, match="has the same name; keep one of the two"):
        check_outside(made, "my-gan", PROTOCOLS["small"], Session(), limit=4)


def _one_missing(made: Path) -> None:
    for file in list_images(made)[2:]:
        file.unlink()


def _one_more(made: Path) -> None:
    shutil.copy(list_images(made)[0], made / "grid.png")


def _other_size(made: Path) -> None:
    write_png(list_images(made)[1], np.zeros((16, 17, 3), dtype=np.uint8))


def _truncated(made: Path) -> None:
    file = list_images(made)[1]
    file.write_bytes(file.read_bytes()[:-60])


def _jpeg(made: Path) -> None:
    file = list_images(made)[1]
    PIL.Image.fromarray(read_image(file)).save(file.with_suffix(".jpg"))
    file.unlink()


def _jpeg_named_png(made: Path) -> None:
    file = list_images(made)[1]
    PIL.Image.fromarray(read_image(file)).save(file, format="JPEG")


def _transparent(made: Path) -> None:
    PIL.Image.new("RGBA", (16, 16)).save(list_images(made)[1])


def _text(made: Path) -> None:
    list_images(made)[1].write_text("not an image")


def _no_folder(made: Path) -> None:
    shutil.rmtree(made)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_one_missing, "2 of 4 images are missing, the first is phantom-test-0002.png of condition"),
        (_one_more, "1 images belong to no test condition, the first is grid.png"),
        (_other_size, "phantom-test-0001.png: 17x16 pixels, wanted 16x16"),
        (_truncated, "phantom-test-0001.png: cannot be decoded"),
        (_jpeg, "phantom-test-0001.jpg: found JPG, wanted PNG: lossy"),
        (_jpeg_named_png, "phantom-test-0001.png: found JPEG, wanted PNG: lossy"),
        (_transparent, "pixel mode RGBA, wanted RGB"),
        (_text, "phantom-test-0001.png: not an image"),
        (_no_folder, "made: not a folder"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(call: Call, made: Path, spoil: object, words: str) -> None:
    assert callable(spoil)
    spoil(made)
    done = call(*RUN, "--quiet", "--output", "out")
    assert done.code == 4 and words in done.err and done.err.count("\n") == 1
    assert not Path("out").exists() and not Path("runs").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--method", "fake"), "'fake' is the name of a method that fake-plugin 1.2.3 offers"),
        (("--method", "My GAN"), "--method: found 'My GAN', wanted lower case"),
        (("--set", "tint=0.1"), "--set: --from-dir runs no method"),
        (("--config", "x.toml"), "--config: --from-dir runs no method"),
    ],
)
def test_options_that_do_not_go_together(call: Call, made: Path, args: tuple[str, ...], words: str) -> None:
    done = call(*RUN, "--quiet", *args)
    assert done.code == 2 and words in done.err and not Path("runs").exists()


def test_words_about_outside_images_need_the_images(call: Call, scored_images: object) -> None:
    done = call("run", "--method", "fake", "--protocol", "small", "--title", "My GAN")
    assert done.code == 2 and "--title" in done.err and "--from-dir" in done.err and not Path("runs").exists()


def test_with_a_limit_the_other_images_may_be_there(call: Call, made: Path) -> None:
    write_images(made, 6)
    assert call(*RUN, "--output", "out").code == 0
    assert len(list_images(Path("out", "images"))) == 4


def test_an_image_that_changes_after_the_check_fails_the_run(
    call: Call, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ccbench.pipeline.outside_images.read_image", lambda file: np.zeros((16, 16, 3), dtype=np.uint8)
    )
    done = call(*RUN, "--output", "out")
    assert done.code == 4 and "has changed since it was checked" in done.err
    assert RunFolder.read(Path("out")).record.status == "failed"


def test_black_and_equal_images_are_counted(call: Call, made: Path) -> None:
    for file in list_images(made):
        write_png(file, np.zeros((16, 16, 3), dtype=np.uint8))
    done = call(*RUN, "--json")
    assert done.code == 1
    assert (done.json["failures"]["black"], done.json["failures"]["duplicate"]) == (4, 3)


def test_boards_take_the_seeds_as_one_marked_row(
    call: Call, tmp_path: Path, made: Path, small_protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol.model_copy(update={"backbone": "sd-mini"}))
    card = make_card(52.0, 25.0, 6)
    monkeypatch.setattr("ccbench.pipeline.run_scorer.SynthesisScorer.__init__", lambda *_, **__: None)
    monkeypatch.setattr("ccbench.pipeline.run_scorer.SynthesisScorer.score", lambda *_: card)
    segmenter = SimpleNamespace(signature="judge:none", dice=0.5)  # the real one trains for minutes
    monkeypatch.setattr("ccbench.scoring.reference_segmenter.open_reference_segmenter", lambda *_, **__: segmenter)
    for seed in range(3):
        write_images(made, 6, seed)
        done = call("run", *RUN[1:5], *RUN[7:], *SAID, "--seed", seed, "--output", f"out{seed}")
        assert done.code == 0, done.err
        assert isinstance(RunFolder.read(Path(f"out{seed}")).config.settings, OutsideConfig)
        add_unverified(Path(f"out{seed}"), tmp_path / "boards")
    render_boards(tmp_path / "boards")
    render_boards(tmp_path / "boards", check=True)
    page = (tmp_path / "boards" / "small" / "README.md").read_text()
    assert "| my-gan † | 0, 1, 2 | 6 | 52.00 | 25.00 | - | - | - | - |" in page
    assert "† images brought from outside: not generated under this protocol by ccbench; training is the" in page
    assert "- my-gan †: My GAN; licence: MIT; code: https://example.org/gan" in page
    assert "my-gan †" in (tmp_path / "boards" / "README.md").read_text()


def test_no_segmenter_is_trained_on_them(call: Call, made: Path) -> None:
    assert call(*RUN, *SAID, "--output", "out").code == 0
    done = call("segment", "--runs", "out", "--limit", "4", "--device", "cpu")
    assert done.code == 2 and "out: another program made its images, and of training masks none" in done.err
