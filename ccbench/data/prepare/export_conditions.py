"""Writes the conditions of a protocol as files, for programs that do not import ccbench."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccbench.base.files import json_lines, make_folder, write_atomic
from ccbench.base.folder_files import check_new_folder, whole_folder
from ccbench.base.images import file_stem, write_mask, write_png
from ccbench.base.seeding import sample_seed
from ccbench.data.pairs import DataSplit
from ccbench.data.split import Split, open_split
from ccbench.errors import DataError
from ccbench.protocols.protocol import Protocol
from ccbench.tables.markdown import escape_markdown, markdown_code
from ccbench.types import Condition, Progress, SilentProgress


@dataclass(frozen=True)
class Exported:
    """What `export` wrote. `images`: whether the real images of the split are among it."""

    split: str
    n: int
    manifest_sha256: str
    licence: str
    images: bool


def export(
    protocol: Protocol, split: Split, data_root: Path | None, output: Path, progress: Progress = SilentProgress()
) -> Exported:
    """Write conditions.jsonl, masks/ and a README with the rules, whole or not at all.

    Real images are written of training and validation phantoms only: those of a data set that users bring stay where
    they are, and no program needs those of the test split.

    Raises:
        UsageError: `output` is not empty, or cannot be written.
        DataError: see `open_split`.
    """
    check_new_folder(output)
    opened = open_split(protocol, split, data_root)
    with_images = split != "test" and not protocol.needs_data_root
    done = Exported(split, len(opened.pairs), opened.manifest_sha256, opened.licence, with_images)
    with whole_folder(output) as folder, progress.step(f"export {protocol.name}", done.n) as step:
        for name in ("masks", "images")[: 1 + with_images]:
            make_folder(folder / name)
        rows: dict[str, dict[str, Any]] = {}
        for pair in opened.pairs:
            file = f"{file_stem(pair.condition.id)}.png"
            if file in rows:
                raise DataError(
                    f"conditions {rows[file]['id']!r} and {pair.condition.id!r} would share the name {file}"
                )
            rows[file] = _row(pair.condition, file, protocol, split, with_images)
            write_mask(folder / "masks" / file, pair.condition.mask)
            if with_images:
                write_png(folder / "images" / file, pair.image)
            step.advance()
        write_atomic(folder / "conditions.jsonl", json_lines(rows.values()))
        write_atomic(folder / "README.md", _rules(protocol, opened, done).encode())
    return done


def _row(condition: Condition, file: str, protocol: Protocol, split: Split, with_images: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"id": condition.id, "file": file, "mask": f"masks/{file}", "prompt": condition.prompt}
    if with_images:
        row["image"] = f"images/{file}"
    if split == "test":
        row["seeds"] = {str(seed): sample_seed(seed, condition.id) for seed in protocol.seeds}
    return row if condition.cluster is None else {**row, "cluster": condition.cluster}


def _rules(protocol: Protocol, opened: DataSplit, done: Exported) -> str:
    size = f"{protocol.image_size} x {protocol.image_size}"
    data = " --data-root DIR" if protocol.needs_data_root else ""
    lines = [
        f"# {escape_markdown(protocol.name)}: conditions of the {done.split} split",
        "",
        f"- protocol: {markdown_code(protocol.name)} version {protocol.version}, hash `{protocol.hash}`",
        f"- conditions: {done.n}, manifest `{done.manifest_sha256}`",
        f"- licence of the data: {escape_markdown(opened.licence)}",
        "",
        "One JSON object a line in `conditions.jsonl`:",
        "",
        "| key | what it is |",
        "| --- | --- |",
        "| `id` | of the condition |",
        "| `file` | name of its image: the id with every character but ASCII letters, digits, `.`, `_`, `-` as `_` |",
        f"| `mask` | PNG of {size} pixels, one channel, 255 = polyp, 0 = mucosa |",
        "| `prompt` | what the image must show |",
    ]
    if done.images:
        lines.append(f"| `image` | the real image, RGB PNG of {size} pixels |")
    if done.split == "test":
        lines.append("| `seeds` | run seed -> seed of the noise of this image, for programs that can take one |")
    lines += ["| `cluster` | video sequence or patient, where known |", "", ""]
    return "\n".join(lines) + (_how_to_join(protocol, size, data) if done.split == "test" else _how_to_train(done))


def _how_to_join(protocol: Protocol, size: str, data: str) -> str:
    training, seeds = protocol.training, ", ".join(map(str, protocol.seeds))
    return f"""\
## Rules

1. One image a condition, in one folder, under the name `file`; no other image beside them.
2. 8-bit RGB PNG without transparency, exactly {size} pixels. JPEG is refused: its traces change the scores.
3. Image i depends on its mask, its prompt and its seed only. None is picked by hand and none is made again.
4. A complete row has the run seeds {seeds}: one training and one folder each.
5. Train on the train split only (`--split train`); the validation split is for choosing settings, the test split for
   neither. The protocol's budget is {training.max_steps} steps of {training.batch_size}; another one is no error, and
   the board says that training is the submitter's word.

```
ccbench run --from-dir IMAGES --method NAME --protocol {protocol.name}{data} --seed 0 \\
  --title TEXT --licence TEXT --code URL
```
"""


def _how_to_train(done: Exported) -> str:
    if done.images:
        return "The images are here, beside their masks. Test conditions: `--split test`.\n"
    return (
        "The licence keeps the real images where they are: an id names its data set and its file there, and image and "
        "mask are squashed to this size (image bicubic with antialias, mask nearest).\n"
    )
