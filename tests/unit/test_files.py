"""Whole files and folders at any place that a user names, and reading that trusts no file."""

import contextlib
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ccbench.base import files, folder_files
from ccbench.errors import CcbenchError, DataError, UsageError

Writer = Callable[[Path, bytes], None]
WRITERS = [files.write_atomic, files.write_output]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("write", WRITERS)
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(
    place: Path, monkeypatch: pytest.MonkeyPatch, write: Writer
) -> None:
    write(place / "a.json", b"old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match=r"No space left on device.*free the disk"):
        write(place / "a.json", b"new")
    assert names(place) == ["a.json"] and (place / "a.json").read_bytes() == b"old"


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_files_have_the_permissions_of_any_other_file(place: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.write_atomic(place / "a", b"1")
        with files.whole_file(place / "b") as temporary:
            temporary.unlink()  # as a library that writes through a file of its own, which only its owner may read
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert {stat.S_IMODE((place / name).stat().st_mode) for name in "ab"} == {0o666 & ~umask}


def test_a_planted_temporary_file_is_not_written_through(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    monkeypatch.setattr(files, "temporary_name", lambda: ".planted.tmp")
    (place / ".planted.tmp").symlink_to(target)
    with pytest.raises(UsageError):
        files.write_atomic(place / "a.json", b"new")
    assert target.read_text() == "mine"


def test_temporary_names_cannot_be_foreseen() -> None:
    assert len({files.temporary_name() for _ in range(100)}) == 100


@pytest.mark.parametrize("write", [files.append_line, lambda path, line: files.write_atomic(path, line.encode())])
def test_our_own_files_are_not_written_through_a_link(
    place: Path, tmp_path: Path, write: Callable[[Path, str], None]
) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (place / "samples.jsonl").symlink_to(tmp_path / "elsewhere")
    with contextlib.suppress(UsageError):
        write(place / "samples.jsonl", "{}")
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_lock_that_is_a_link_empties_nothing(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (place / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"\.lock"):
        folder_files.lock_folder(place)
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_an_output_that_is_a_link_stays_one(place: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (place / "table.csv").symlink_to(tmp_path / "store" / "kept.csv")
    files.write_output(place / "table.csv", b"1,2")
    assert (place / "table.csv").is_symlink() and (tmp_path / "store" / "kept.csv").read_bytes() == b"1,2"
    assert names(tmp_path / "store") == ["kept.csv"]


def test_an_output_that_is_a_pipe_is_written_to(place: Path) -> None:
    os.mkfifo(place / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((place / "pipe").read_bytes()))
    reader.start()
    files.write_output(place / "pipe", b"x" * 200_000)  # more than a pipe holds
    reader.join(10)
    assert got == [b"x" * 200_000] and stat.S_ISFIFO((place / "pipe").stat().st_mode)


def test_an_output_with_something_mounted_on_it_is_filled_in_place(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "out.csv").write_text("old and longer")
    before = (place / "out.csv").stat().st_ino
    monkeypatch.setattr(Path, "is_mount", lambda self: self.name == "out.csv")
    files.write_output(place / "out.csv", b"new")
    assert (place / "out.csv").read_bytes() == b"new" and (place / "out.csv").stat().st_ino == before


@pytest.mark.parametrize("wrong", ["file/below.csv", "", "x" * 300])
def test_an_output_that_cannot_be_is_a_usage_error(place: Path, wrong: str) -> None:
    (place / "file").write_text("")
    with pytest.raises(UsageError):
        files.write_output(place / wrong, b"1")
    assert names(place) == ["file"]


def test_the_longest_name_can_be_written(place: Path) -> None:
    name = "n" * os.pathconf(place, "PC_NAME_MAX")
    files.write_output(place / name, b"1")
    with folder_files.whole_folder(place / name[:-1]) as folder:
        files.write_atomic(folder / "a", b"1")
    assert names(place) == [name[:-1], name]


@pytest.mark.parametrize("output", [".", "new", "deep/er", "empty", "link", "new/"])
def test_a_folder_is_written_wherever_it_is_new_or_empty(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    (place / "empty").mkdir()
    (tmp_path / "disk").mkdir()
    (place / "link").symlink_to(tmp_path / "disk")
    inside = place / "empty" if output == "." else place
    monkeypatch.chdir(inside)
    with folder_files.whole_folder(Path(output)) as folder:
        files.make_folder(folder / "images")
        files.write_atomic(folder / "README.md", b"1")
        assert not (inside / output / "README.md").exists()
    assert names(inside / output) == ["README.md", "images"]
    if output == ".":  # what a shell that stands in it sees
        assert names(Path()) == ["README.md", "images"]


def test_a_folder_that_is_there_is_filled_and_not_replaced(place: Path) -> None:
    """It may be a mounted disk, onto which nothing can be renamed, below a folder that nobody may write to."""
    before = place.stat().st_ino
    with folder_files.whole_folder(place) as folder:
        assert folder.parent == place
        files.write_atomic(folder / "a", b"1")
    assert place.stat().st_ino == before and names(place) == ["a"]


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_fails_leaves_nothing(place: Path, there: bool) -> None:
    output = place / "out"
    if there:
        output.mkdir()
    with pytest.raises(RuntimeError), folder_files.whole_folder(output) as folder:
        files.write_atomic(folder / "a", b"1")
        raise RuntimeError
    assert names(place) == (["out"] if there else []) and (not there or names(output) == [])


def test_a_folder_with_something_in_it_is_refused(place: Path) -> None:
    (place / ".hidden").write_text("")
    with pytest.raises(UsageError, match="not empty"), folder_files.whole_folder(place):
        pass
    (place / "dangling").symlink_to(place / "nowhere")
    with pytest.raises(UsageError, match="not empty"), folder_files.whole_folder(place / "dangling"):
        pass


def test_a_copy_takes_the_place_of_the_old_folder_and_holds_no_link(place: Path, tmp_path: Path) -> None:
    source, secret = tmp_path / "source", tmp_path / "secret"
    secret.write_text("secret")
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a").write_text("1")
    (place / "copy").mkdir()
    (place / "copy" / "old").write_text("old")
    folder_files.copy_folder(source, place / "copy")
    assert names(place / "copy") == ["deep"] and names(place) == ["copy"]
    (source / "deep" / "b").symlink_to(secret)
    with pytest.raises(DataError, match="deep/b: is a link"):
        folder_files.copy_folder(source, place / "copy")
    assert names(place) == ["copy"] and names(place / "copy" / "deep") == ["a"]


def test_a_removed_folder_that_is_a_link_leaves_what_it_leads_to(place: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a").write_text("")
    (place / "training").symlink_to(tmp_path / "kept")
    folder_files.remove_folder(place / "training")
    assert names(place) == [] and names(tmp_path / "kept") == ["a"]


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "nothing", "dangling", "large"])
def test_only_plain_files_are_read(place: Path, kind: str) -> None:
    path, reason = place / "x.json", {"nothing": "No such file", "dangling": "link to a file", "large": "at most 9"}
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to(place / "nowhere")
    elif kind == "large":
        path.write_text("0123456789")
    with pytest.raises(DataError, match=reason.get(kind, "plain file")):
        files.read_data(path, most=9)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a": NaN}', '{"a": -Infinity}', "{", "[1]", '"x"', ""])
def test_what_is_no_json_object_is_a_data_error(place: Path, text: str) -> None:
    (place / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json") as caught:
        files.read_json(place / "x.json")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252"])
def test_other_encodings_are_named(place: Path, encoding: str) -> None:
    (place / "x.jsonl").write_bytes('{"id": "größe"}\n'.encode(encoding))
    with pytest.raises(DataError, match=r"UTF-8|Expecting"):
        list(files.read_json_lines(place / "x.jsonl", '{"id": ...}'))


def test_lines_are_counted_as_the_file_has_them(place: Path) -> None:
    text = '\ufeff{"a": "x\u2028y\x85z"}\r\n\r\n\n{"a": 2}\r\n[]\n'
    (place / "x.jsonl").write_bytes(text.encode())
    found = []
    with pytest.raises(DataError, match=r"x\.jsonl:5: found a list.*wanted one line each: EXAMPLE"):
        for number, value in files.read_json_lines(place / "x.jsonl", "EXAMPLE"):
            found.append((number, value["a"]))
    assert found == [(1, "x\u2028y\x85z"), (4, 2)]


ODD = [
    "a\u2028b\u2029c\x85d",
    "line\nfeed\rreturn",
    "\udcff\ud800",
    "\x1b[31m",
    "e\u0301",
    '"\\',
    "😀",
]


def test_what_is_written_is_read_again_and_any_reader_of_lines_finds_it(place: Path) -> None:
    files.write_atomic(place / "x.jsonl", files.json_lines({"id": text} for text in ODD))
    assert [value["id"] for _, value in files.read_json_lines(place / "x.jsonl", "")] == ODD
    lines = (place / "x.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ODD
    files.write_json(place / "x.json", {"ids": ODD})
    assert files.read_json(place / "x.json") == {"ids": ODD}


def test_every_refusal_is_one_of_ours_and_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").write_text("")
    below = place / "file" / "x"
    for act in (
        lambda: files.make_folder(below),
        lambda: files.append_line(below, ""),
        lambda: files.remove_file(below / "y"),
        lambda: folder_files.lock_folder(below),
        lambda: files.write_json(below, {}),
        lambda: folder_files.copy_folder(place, below),
        lambda: folder_files.temporary_folder(below).__enter__(),
        lambda: files.new_file(place / "file").__enter__(),
    ):
        with pytest.raises(CcbenchError) as caught:
            act()
        assert "\n" not in str(caught.value) and str(place) in str(caught.value)
