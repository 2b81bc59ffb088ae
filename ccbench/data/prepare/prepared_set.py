"""Writes a data set as `images/`, `masks/` and `metadata.jsonl`: image, mask and caption of every pair.

The folder loads as `datasets.load_dataset("imagefolder", data_dir=...)`, with columns `image`, `mask`, `caption`, `id`
and the rest of a row. Files are numbered, since `imagefolder` makes splits of words such as `train` in file names.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccbench.base.files import json_lines, make_folder, write_atomic
from ccbench.base.folder_files import check_new_folder, temporary_folder, whole_folder
from ccbench.base.images import content_sha256, write_mask, write_png
from ccbench.base.mask_files import MaskRule
from ccbench.data.captioners import Captioner
from ccbench.data.captions.caption_files import METADATA
from ccbench.data.name_matching import PairFiles
from ccbench.data.pair_files import open_pair
from ccbench.data.prepare.archives import extract
from ccbench.data.prepare.examination import map_threads
from ccbench.data.prepare.findings import KINDS
from ccbench.data.prepare.fitness import CheckReport, check_listing
from ccbench.data.sets.data_set import DataSet, Listing
from ccbench.errors import DataError
from ccbench.tables.markdown import escape_markdown
from ccbench.types import Progress, ProgressStep, SilentProgress

LEFT_OUT = "left_out.jsonl"

_COMPRESSION = 3  # a third of the time of the usual 6 for a tenth more bytes


@dataclass(frozen=True)
class Prepared:
    """What `prepare` wrote.

    Attributes:
        captioned: pairs with a caption.
        left_out: pair id, or path of a file without a partner -> kind of fault.
    """

    output: Path
    pairs: int
    captioned: int
    left_out: dict[str, str]
    report: CheckReport


def prepare(
    data_set: DataSet,
    source: Path,
    output: Path,
    captioner: Captioner | None = None,
    skip_faulty: bool = False,
    progress: Progress | None = None,
    rule: MaskRule | None = None,
) -> Prepared:
    """Write a data set in the form above, whole or not at all.

    Images become lossless RGB PNG, upright and without metadata; masks one channel of 0 and 255. Beside them lies a
    README with source and licence.

    Args:
        source: the data set's folder, or a zip or tar of it.
        output: does not exist yet, or is an empty folder.
        captioner: captions the pairs for which the data set has no caption, several at a time; without it their
            caption is null.
        skip_faulty: leave out pairs that `check` finds faulty, and files without a partner, and list them in
            `left_out.jsonl`.
        progress: told of each pair.
        rule: which pixels of a mask are polyp, where a user said so.

    Raises:
        DataError: `source` cannot be read or unpacked, or `check` finds what no benchmark may run on.
        UsageError: `output` is not empty, or cannot be written.
    """
    progress = progress or SilentProgress()
    check_new_folder(output)
    with _unpacked(source, output) as root:
        listing = data_set.scan(root)
        report = check_listing(data_set, listing, progress, rule)
        left_out = report.faulty if skip_faulty else {}
        kept = [pair for pair in listing.pairs if pair.id not in left_out]
        _refuse(report, kept, skip_faulty)
        with whole_folder(output) as folder, progress.step(f"prepare {data_set.name}", len(kept)) as step:
            captioned = _write_pairs(folder, data_set, listing, kept, captioner, step, rule)
            if left_out:
                lines = (
                    {"id": name, "fault": KINDS[kind].text, "reason": report.reasons.get(name)}
                    for name, kind in left_out.items()
                )
                _write_lines(folder / LEFT_OUT, lines)
            write_atomic(folder / "README.md", _card(data_set, kept).encode())
    return Prepared(output, len(kept), captioned, left_out, report)


def _write_pairs(
    folder: Path,
    data_set: DataSet,
    listing: Listing,
    pairs: list[PairFiles],
    captioner: Captioner | None,
    step: ProgressStep,
    rule: MaskRule | None,
) -> int:
    for name in ("images", "masks"):
        make_folder(folder / name)
    width = max(5, len(str(len(pairs))))

    def write(item: tuple[int, PairFiles]) -> dict[str, Any]:
        number, pair = item
        return _write_pair(folder, f"{number:0{width}d}.png", data_set, listing.root, pair, captioner, rule)

    rows = list(map_threads(write, list(enumerate(pairs, start=1)), step))
    _write_lines(folder / METADATA, rows)
    return sum(row["caption"] is not None for row in rows)


def _write_pair(
    folder: Path,
    name: str,
    data_set: DataSet,
    root: Path,
    pair: PairFiles,
    captioner: Captioner | None,
    rule: MaskRule | None,
) -> dict[str, Any]:
    opened = open_pair(pair, rule)
    image, mask = opened.image.pixels, opened.mask.region
    written = captioner.caption(image, mask, pair.id).text if pair.caption is None and captioner else None
    write_png(folder / "images" / name, image, _COMPRESSION)
    write_mask(folder / "masks" / name, mask)
    return {
        "file_name": f"images/{name}",
        "mask_file_name": f"masks/{name}",
        "id": pair.id,
        "caption": pair.caption or written,
        "captioner": captioner.id if written and captioner else None,
        "source": data_set.name,
        "source_url": data_set.url or None,
        "licence": data_set.licence,
        "part": pair.part or None,
        "cluster": pair.cluster,
        "split": pair.split,
        "image_sha256": content_sha256(folder / "images" / name),
        "mask_sha256": content_sha256(folder / "masks" / name),
        "source_image": pair.image.relative_to(root).as_posix(),
        "source_image_sha256": content_sha256(pair.image, opened.image),
        "source_mask": pair.mask.relative_to(root).as_posix(),
        "source_mask_sha256": content_sha256(pair.mask, opened.mask_file),
    }


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    write_atomic(path, json_lines(rows))


def _refuse(report: CheckReport, kept: list[PairFiles], skip_faulty: bool) -> None:
    if report.fatal and not skip_faulty:
        found = ", ".join(map(str, report.fatal))
        raise DataError(
            f"{report.root}: holds {found}; `ccbench data check` names them: mend the data set, "
            "or leave faulty pairs out with --skip-faulty"
        )
    if not kept:
        raise DataError(f"{report.root}: holds no pair to prepare; wanted {report.layout}")


def _card(data_set: DataSet, pairs: list[PairFiles]) -> str:
    splits = Counter(pair.split or "no split" for pair in pairs)
    counts = ", ".join(f"{count} {name}" for name, count in splits.most_common())
    passing_on = "may be passed on with attribution" if data_set.shippable else "must not be passed on"
    rows = {
        "source": escape_markdown(f"{data_set.title} {data_set.url}"),
        "licence": escape_markdown(f"{data_set.licence}; these images {passing_on}"),
        "pairs": escape_markdown(f"{len(pairs)} ({counts})"),
        "captions": f"{METADATA}, column `caption`",
    }
    lines = [
        f"# {escape_markdown(data_set.title)}, prepared by ccbench",
        "",
        *(f"- {key}: {text}" for key, text in rows.items()),
    ]
    return "\n".join([*lines, "", '`datasets.load_dataset("imagefolder", data_dir=THIS_FOLDER)` loads it.', ""])


@contextmanager
def _unpacked(source: Path, output: Path) -> Iterator[Path]:
    """Give the folder of `source`, which is unpacked beside `output` when it is an archive."""
    if source.is_dir():
        yield source
        return
    with temporary_folder(output) as folder:
        extract(source, folder)
        yield folder
