"""Features that were computed before, found again by what an image shows and what encoded it.

One SQLite file in WAL mode: 10,000 images are 10,000 rows and not as many files, a batch is one transaction that is
there whole or not at all, and processes may read and write at once. SQLite's locks need a local disk.

Two tables, so that a file seen before is not decoded. `images` maps the sha256 of a file's bytes to the sha256 of its
pixels; `features` maps those pixels and an encoder's key to a row. Images that never were files have pixels too.
"""

import contextlib
import functools
import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray

from ccbench.base.assets import home
from ccbench.base.environment import package_version
from ccbench.base.files import make_folder, remove_file
from ccbench.base.text import one_line
from ccbench.errors import UsageError
from ccbench.features.encoder import Encoder

FEATURE_VERSION = 1  # raise it when the same image, weights and signature give other features or facts
FILE = "features-1.sqlite"
DAY = 86_400.0  # seconds; when a row was last used is kept to a day, so that reading rarely writes
_WAIT = 20.0  # seconds for another process's transaction, which takes milliseconds
_ROW_OVERHEAD = 200  # bytes of keys and indices beside a row's features
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_MALFORMED = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)  # rows of other kinds than ours
_TABLES = """
CREATE TABLE IF NOT EXISTS images (file TEXT PRIMARY KEY, pixels TEXT, height INT, width INT, flat INT, sum BLOB);
CREATE TABLE IF NOT EXISTS encoders (number INTEGER PRIMARY KEY, key TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS features (pixels BLOB, encoder INT, row BLOB, sum BLOB, used REAL,
                                     PRIMARY KEY (pixels, encoder));
"""


class ImageFacts(NamedTuple):
    """What the pipeline reports of an image. `pixels`: sha256 of size and pixels, hex; `flat`: of one colour."""

    pixels: str
    height: int
    width: int
    flat: bool


class CacheUse(NamedTuple):
    """What one encoder has in the cache. `used`: Unix time at which one of its entries was last read or written."""

    encoder: str
    entries: int
    bytes: int
    used: float


def default_folder() -> Path:
    """Return the folder of the cache, under `CCBENCH_HOME`. Not created."""
    return home() / "features"


def entry_key(encoder: Encoder, batch: int) -> str:
    """Return what features depend on besides the image, as computed in a batch of so many.

    The batch's size is in it since kernels sum in another order at another size: features from the cache then equal
    computed ones to the last bit. What else is in the batch changes nothing.
    """
    return f"{encoder.signature}|path:{encoder.path}|torch:{_torch_version()}|batch:{batch}|v:{FEATURE_VERSION}"


@functools.cache
def _torch_version() -> str | None:
    return package_version("torch")


class FeatureCache:
    """The cache in a folder, made when needed. A cache that cannot be used is a note and no error.

    Every entry carries a checksum of its key and content; one that does not match is as good as absent.
    """

    def __init__(self, folder: Path, note: Callable[[str], None] = lambda text: None) -> None:
        self._path, self._note = folder / FILE, note
        self._lock = threading.Lock()
        self._reader = f"{FEATURE_VERSION}|pillow {PIL.__version__}"  # decoders of JPEG differ in the last bit
        self._numbers: dict[str, int] = {}
        self._db: sqlite3.Connection | None = None
        was_there = self._path.is_file()
        self._open()
        if self._db is None and was_there and not self._path.exists():  # it was damaged, and is removed
            self._open()

    def _open(self) -> None:
        with self._guarded():
            make_folder(self._path.parent)
            if self._path.exists() and not self._path.is_file():
                raise UsageError("is no plain file")
            self._db = sqlite3.connect(self._path, timeout=_WAIT, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)

    def close(self) -> None:
        """Close the file; the cache is empty from then on."""
        with self._lock:
            self._drop()

    def find_image(self, file: str) -> ImageFacts | None:
        """Return what is known of the image in a file with this sha256."""
        with self._guarded() as db:
            query = "SELECT pixels, height, width, flat, sum FROM images WHERE file = ?"
            found = db and db.execute(query, (self._file_key(file),)).fetchone()
            if found:
                facts = ImageFacts(found[0], found[1], found[2], bool(found[3]))
                return facts if found[4] == self._facts_sum(file, facts) else None
        return None

    def add_image(self, file: str, facts: ImageFacts) -> None:
        """Keep what is known of the image in a file with this sha256."""
        with self._guarded() as db:
            if db:
                values = (self._file_key(file), *facts, self._facts_sum(file, facts))
                with db:
                    db.execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?)", values)

    def holds(self, pixels: str, keys: Sequence[str]) -> bool:
        """Return whether there are features of an image under each of `keys`; they are not checked yet."""
        query = "SELECT 1 FROM features WHERE pixels = ? AND encoder = ?"
        with self._guarded() as db:
            if db:
                name = bytes.fromhex(pixels)
                return all(db.execute(query, (name, self._number(db, key))).fetchone() for key in keys)
        return False

    def read(self, pixels: Sequence[str], key: str, dim: int) -> NDArray[np.float32] | None:
        """Return the features (N, `dim`) of images, in order; None unless all of them are there and whole."""
        names = [bytes.fromhex(one) for one in pixels]
        marks = ", ".join("?" * len(names))
        with self._guarded() as db:
            if db:
                where = f"WHERE encoder = ? AND pixels IN ({marks})"
                values, now = (self._number(db, key), *names), time.time()
                found = db.execute(f"SELECT pixels, row, sum, used FROM features {where}", values).fetchall()
                rows = {name: row for name, row, kept, _ in found if kept == _row_sum(name, key, row)}
                if any(len(rows.get(name, b"")) != 4 * dim for name in names):
                    return None
                if any(used < now - DAY for *_, used in found):
                    with db:
                        db.execute(f"UPDATE features SET used = ? {where}", (now, *values))
                return np.stack([np.frombuffer(rows[name], dtype="<f4") for name in names]).astype(np.float32)
        return None

    def write(self, pixels: Sequence[str], key: str, features: NDArray[np.float32]) -> None:
        """Keep the features (N, D) of images."""
        names, rows = [bytes.fromhex(one) for one in pixels], [row.astype("<f4").tobytes() for row in features]
        with self._guarded() as db:
            if db:
                number, now = self._number(db, key), time.time()
                values = [
                    (name, number, row, _row_sum(name, key, row), now) for name, row in zip(names, rows, strict=True)
                ]
                with db:
                    db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", values)

    def usage(self) -> list[CacheUse]:
        """Return what each encoder has in the cache, under the name in its signature."""
        query = "SELECT key, COUNT(*), SUM(LENGTH(row)), MAX(used) FROM features JOIN encoders ON encoder = number"
        total: dict[str, CacheUse] = {}
        with self._guarded() as db:
            for key, entries, size, used in db.execute(f"{query} GROUP BY number").fetchall() if db else ():
                name = "|".join(key.split("|path:")[0].split("|")[:2])
                other = total.get(name, CacheUse(name, 0, 0, 0.0))
                size += other.bytes + entries * _ROW_OVERHEAD
                total[name] = CacheUse(name, other.entries + entries, size, max(other.used, used))
        return [total[name] for name in sorted(total)]

    def collect(self, *, max_age: float | None = None, max_bytes: int | None = None) -> int:
        """Remove entries not used for `max_age` seconds, then the longest unused ones above `max_bytes`; count them."""
        removed = 0
        with self._guarded() as db:
            if db:
                with db:
                    if max_age is not None:
                        removed += db.execute("DELETE FROM features WHERE used < ?", (time.time() - max_age,)).rowcount
                    if max_bytes is not None:
                        sums = f"SUM(LENGTH(row) + {_ROW_OVERHEAD}) OVER (ORDER BY used DESC, rowid DESC)"
                        above = f"SELECT number FROM (SELECT rowid AS number, {sums} AS total FROM features)"
                        query = f"DELETE FROM features WHERE rowid IN ({above} WHERE total > ?)"
                        removed += db.execute(query, (max_bytes,)).rowcount
                    db.execute("DELETE FROM images WHERE pixels NOT IN (SELECT LOWER(HEX(pixels)) FROM features)")
                db.execute("VACUUM")
        return removed

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection | None]:
        """Give the open file to one thread at a time; a failure ends the use of the cache with a note."""
        with self._lock:
            try:
                yield self._db
            except (sqlite3.Error, OSError, UsageError, *_MALFORMED) as error:
                self._drop()
                damaged = getattr(error, "sqlite_errorcode", None) in _DAMAGED or isinstance(error, _MALFORMED)
                if damaged:
                    for end in ("", "-wal", "-shm"):
                        with contextlib.suppress(UsageError):
                            remove_file(self._path.with_name(FILE + end))
                fate = "it was damaged and is made anew" if damaged else "features are computed and not kept"
                self._note(f"feature cache: {self._path}: {one_line(error)}; {fate}")

    def _drop(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _number(self, db: sqlite3.Connection, key: str) -> int:
        if key not in self._numbers:
            with db:
                db.execute("INSERT OR IGNORE INTO encoders (key) VALUES (?)", (key,))
            self._numbers[key] = db.execute("SELECT number FROM encoders WHERE key = ?", (key,)).fetchone()[0]
        return self._numbers[key]

    def _file_key(self, file: str) -> str:
        return f"{file}|{self._reader}"

    def _facts_sum(self, file: str, facts: ImageFacts) -> bytes:
        return hashlib.blake2b(repr((self._file_key(file), *facts)).encode(), digest_size=16).digest()


def _row_sum(name: bytes, key: str, row: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join((name, key.encode(), row)), digest_size=16).digest()
