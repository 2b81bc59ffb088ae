"""Archives that must not be trusted: what leads out of the folder, is no plain file, or grows too large is refused."""

import io
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ccbench.data.prepare.archives import extract
from ccbench.errors import DataError

FILES = {"set/images/a b.png": b"one", "set/masks/a b.png": b"two"}
JUNK = {"__MACOSX/set/images/a b.png": b"x", "set/images/._a b.png": b"x"}


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/", b"")
        for name, data in files.items():
            archive.writestr(name, data)


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    mode = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


WRITERS = [("a.zip", write_zip), ("a.tar", write_tar), ("a.tar.gz", write_tar), ("a.tar.xz", write_tar)]
Write = Callable[[Path, dict[str, bytes]], None]


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_files_come_out_as_they_went_in(tmp_path: Path, name: str, write: Write) -> None:
    write(tmp_path / name, FILES | JUNK)
    (tmp_path / name).rename(tmp_path / "archive")  # the content decides, not the name
    extract(tmp_path / "archive", tmp_path / "out")
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("member", ["../evil", "set/../../evil", "/evil", "C:/evil", "C:evil", "..\\evil", "\\evil"])
@pytest.mark.parametrize(("name", "write"), WRITERS[:2])
def test_nothing_leads_out(tmp_path: Path, name: str, write: Write, member: str) -> None:
    write(tmp_path / name, {**FILES, member: b"x"})
    with pytest.raises(DataError, match="leads out of the archive"):
        extract(tmp_path / name, tmp_path / "in" / "out")
    assert tree(tmp_path).keys() == {name}  # nothing was written, neither inside nor outside


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("set/images")
        info.type, info.linkname = kind, "/etc"
        archive.addfile(info)
    with pytest.raises(DataError, match="is a link or a device"):
        extract(tmp_path / "a.tar", tmp_path / "out")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("set/images")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc")
    with pytest.raises(DataError, match="'set/images' is a link or a device"):
        extract(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_size_and_number_have_a_cap(tmp_path: Path, name: str, write: Write) -> None:
    write(tmp_path / name, {"a": bytes(3_000_000), "b": bytes(3_000_000)})
    with pytest.raises(DataError, match="holds more than 5,000,000 bytes"):
        extract(tmp_path / name, tmp_path / "out", max_bytes=5_000_000)
    extract(tmp_path / name, tmp_path / "fits", max_bytes=6_000_000, max_members=3)
    with pytest.raises(DataError, match="holds more than 2 files"):
        extract(tmp_path / name, tmp_path / "more", max_members=2)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_path_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"one")
        archive.writestr("a.png", b"two")
    with pytest.raises(DataError, match=r"holds 'a\.png' twice"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    write_tar(tmp_path / "b.tar", {"a": b"file", "a/b": b"in it"})
    with pytest.raises(DataError, match="holds 'a/b' twice"):
        extract(tmp_path / "b.tar", tmp_path / "out2")


@pytest.mark.parametrize(("name", "write"), WRITERS)
def test_damaged_archives_are_named(tmp_path: Path, name: str, write: Write) -> None:
    write(tmp_path / name, {"a": bytes(range(256)) * 400})
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"{name}: (cannot be unpacked|neither zip nor tar)") as caught:
        extract(tmp_path / name, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_changed_zip_fails_its_checksum(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"content")
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"content", b"CONTENT"))
    with pytest.raises(DataError, match="Bad CRC-32"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_what_powershell_writes_is_read(tmp_path: Path) -> None:
    """Backslashes in every name, and entries of folders that end in one."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in {"set\\": b"", "set\\images\\": b"", "set\\images\\1.png": b"one"}.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert tree(tmp_path / "out") == {"set/images/1.png": b"one"}


def test_stated_sizes_are_looked_at_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse tar of 70 GB in 10 kB, a zip that states little and holds more, and a disk that is nearly full."""
    sparse, body = tarfile.TarInfo("a.png"), b"1\n0\n5\n".ljust(512, b"\0") + b"hello"
    sparse.size = len(body)
    sparse.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "a.png",
        "GNU.sparse.realsize": str(70 * 2**30),
    }
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(sparse, io.BytesIO(body))
    with pytest.raises(DataError, match="holds more than 34,359,738,368 bytes"):
        extract(tmp_path / "a.tar", tmp_path / "out")
    write_zip(tmp_path / "a.zip", {"a": bytes(400_000)})
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(data.replace((400_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(DataError, match=r"b\.zip: cannot be unpacked|holds more than"):
        extract(tmp_path / "b.zip", tmp_path / "lying", max_bytes=1000)
    assert sum(map(len, tree(tmp_path / "lying").values())) <= 1000
    usage = shutil.disk_usage(tmp_path)._replace(free=300_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    write_zip(tmp_path / "c.zip", {"a": bytes(40_000_000)})
    with pytest.raises(DataError, match="holds 40,000,000 bytes or more and 31,564,544 are free on the disk"):
        extract(tmp_path / "c.zip", tmp_path / "out")
    assert not tree(tmp_path / "out")


def test_an_encrypted_zip_is_said_to_be_one(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", FILES)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for sign, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.find(sign)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(sign, at + 4)
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match="is encrypted; unpack it with its password"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(100))
    with pytest.raises(DataError, match="a RAR archive, which is not read; unpack it with its own program"):
        extract(tmp_path / "a.rar", tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        extract(tmp_path / "none.zip", tmp_path / "out")
