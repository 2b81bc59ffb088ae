"""Ways in which a run folder from a stranger may attack its reader: each changes an honest, scored run."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

SECRET = b"nobody is to see what is in here, not even its hash"


def secret(run: Path) -> Path:
    """Return a file beside the run that is none of it."""
    file = run.parent / "secret.png"
    file.write_bytes(SECRET)
    return file


def to_link(name: str) -> Callable[[Path], None]:
    """Put a link in the place of a file or folder; it leads to what was there, so that all hashes hold."""

    def change(run: Path) -> None:
        moved = run.parent / f"moved-{Path(name).name}"
        (run / name).rename(moved)
        (run / name).symlink_to(moved)

    return change


def in_json(name: str, edit: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Edit the JSON of a file, and record what it is then where the scores stand on it."""

    def change(run: Path) -> None:
        content = json.loads((run / name).read_text())
        edit(content)
        (run / name).write_text(json.dumps(content))
        record_hashes(run)

    return change


def record_hashes(run: Path) -> None:
    """Let the scorecard say what the files are that it stands on."""
    card = json.loads((run / "scores/scorecard.json").read_text())
    for name in ("run.json", "scores/per_sample.parquet"):
        if isinstance(card["files"], dict) and name in card["files"]:
            card["files"][name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    (run / "scores/scorecard.json").write_text(json.dumps(card))


def in_first_sample(**changes: Any) -> Callable[[Path], None]:
    """Change fields of the first line of `samples.jsonl`; `file="SECRET"` is the whole path of the secret."""

    def change(run: Path) -> None:
        outside = secret(run)
        (run / "images" / "link.png").symlink_to(outside)
        first, *others = (run / "samples.jsonl").read_text().splitlines()
        sample = json.loads(first) | {"sha256": hashlib.sha256(SECRET).hexdigest()} | changes
        sample["file"] = str(outside) if sample["file"] == "SECRET" else sample["file"]
        (run / "samples.jsonl").write_text("\n".join([json.dumps(sample), *others, ""]))
        digests = "".join(json.loads(line)["sha256"] for line in (run / "samples.jsonl").read_text().splitlines())
        card = json.loads((run / "scores/scorecard.json").read_text())
        card["samples_sha256"] = hashlib.sha256(digests.encode()).hexdigest()  # the scores are of these images
        (run / "scores/scorecard.json").write_text(json.dumps(card))

    return change


def rewritten_table(edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    """Write another table of single images, whose hash the scorecard has."""

    def change(run: Path) -> None:
        file = run / "scores/per_sample.parquet"
        edit(pd.read_parquet(file)).to_parquet(file, index=False)
        record_hashes(run)

    return change


def cut(name: str, part: float = 0.6) -> Callable[[Path], None]:
    """Leave the first part of a file."""

    def change(run: Path) -> None:
        data = (run / name).read_bytes()
        (run / name).write_bytes(data[: int(len(data) * part)])
        if name.endswith(".parquet"):
            record_hashes(run)

    return change


def written(name: str, data: bytes) -> Callable[[Path], None]:
    """Write something else in the place of a file."""

    def change(run: Path) -> None:
        (run / name).write_bytes(data)

    return change


def _set(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return edit


def _renamed(method: str) -> Callable[[dict[str, Any]], None]:
    """Give the method another name wherever the record says it."""

    def edit(record: dict[str, Any]) -> None:
        record["config"]["method"] = record["method"]["name"] = method
        record["run_id"] = f"{method}-seed{record['seed']}-{record['config_hash'][:8]}"

    return edit


def _other_protocol(record: dict[str, Any]) -> None:
    record["protocol"] = record["config"]["protocol"]["name"] = "../../small"


def _swap(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def _deep_settings(record: dict[str, Any]) -> None:
    record["config"]["settings"]["taam"] = json.loads('{"a":' * 500 + "1" + "}" * 500)


CARD, RUN = "scores/scorecard.json", "run.json"
SCORE = ("scorecard", "scores", 0)

ATTACKS: dict[str, Callable[[Path], None]] = {
    "the record is a link": to_link(RUN),
    "the scorecard is a link": to_link(CARD),
    "the table is a link": to_link("scores/per_sample.parquet"),
    "the folder of scores is a link": to_link("scores"),
    "the list of samples is a link": to_link("samples.jsonl"),
    "an image is a link": to_link("images/0001-c1.png"),
    "the folder of images is a link": to_link("images"),
    "a sample lies above": in_first_sample(file="../secret.png"),
    "a sample lies above by a way round": in_first_sample(file="images/../../secret.png"),
    "a sample has a whole path": in_first_sample(file="SECRET"),
    "a sample is a link": in_first_sample(file="images/link.png"),
    "a sample is another file of the run": in_first_sample(file="scores/scorecard.json"),
    "a sample has a number below 0": in_first_sample(index=-1),
    "a sample has a huge number": in_first_sample(index=10**30),
    "a sample has a seed without end": in_first_sample(seed=10**400),
    "the scores stand on a file outside": in_json(CARD, _set("files", "../secret.png", value="0" * 64)),
    "the scores stand on no files": in_json(CARD, _set("files", value={})),
    "the files of the scores are a list": in_json(CARD, _set("files", value=["run.json"])),
    "the run id leads outside": in_json(RUN, _set("run_id", value="../../landed")),
    "the method's name leads outside": in_json(RUN, _renamed("../../landed")),
    "the protocol's name leads outside": in_json(RUN, _other_protocol),
    "the run id is not the run's": in_json(RUN, _set("run_id", value="arsdm-seed0-00000000")),
    "two names of one method": in_json(RUN, _set("method", "name", value="arsdm")),
    "a title steers the terminal": in_json(RUN, _set("method", "title", value="\x1b[2Jgone")),
    "parameters without end": in_json(RUN, _set("cost", "parameters_trained", value=10**400)),
    "parameters by the quadrillion": in_json(RUN, _set("cost", "parameters_trained", value=10**15)),
    "training took less than nothing": in_json(RUN, _set("cost", "train_seconds", value=-5.0)),
    "a time that is not a number": in_json(RUN, _set("cost", "sample_seconds", value=float("nan"))),
    "settings nested 500 deep": in_json(RUN, _deep_settings),
    "a setting without end": in_json(RUN, _set("config", "limit", value=10**400)),
    "a billion conditions": in_json(RUN, _set("conditions", "n", value=10**9 - 1)),
    "failures below 0": in_json(RUN, _set("failures", "black", value=-1)),
    "a score without end": in_json(CARD, _set(*SCORE, "value", value=10**400)),
    "a score that is a text": in_json(CARD, _set(*SCORE, "value", value="best")),
    "a score beyond all numbers": lambda run: _swap(run / CARD, '"value": 52.0', '"value": 1e999'),
    "a score that is infinite": in_json(CARD, _set(*SCORE, "value", value=float("inf"))),
    "a score of less than no images": in_json(CARD, _set(*SCORE, "n", value=-3)),
    "a score with a field of its own": in_json(CARD, _set(*SCORE, "bold", value=True)),
    "a note that nobody knows": in_json(CARD, _set("scorecard", "notes", "verified", value="yes")),
    "a table of other columns": rewritten_table(lambda table: table.rename(columns={"condition_id": "id"})),
    "a table of texts": rewritten_table(lambda table: table.assign(clip_score=["<script>"] * len(table))),
    "the record is cut": cut(RUN),
    "the scorecard is cut": cut(CARD),
    "the table is cut": cut("scores/per_sample.parquet"),
    "the list of samples is cut in its first line": cut("samples.jsonl", 0.01),
    "the record is nested without end": written(RUN, b'{"a":' * 100_000),
    "the scorecard is nested without end": written(CARD, b"[" * 100_000),
    "a sample is nested without end": written("samples.jsonl", b"[" * 100_000 + b"\n"),
    "the record is no text": written(RUN, bytes(range(256))),
    "the list of samples is no text": written("samples.jsonl", b"\xff\xfe\n"),
}
