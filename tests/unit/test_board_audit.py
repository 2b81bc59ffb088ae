"""The leak audit of a protocol on its board: what is stored, shown, refused, and checked."""

import json
from pathlib import Path

import pytest

from audit_sets import MANIFESTS
from board_runs import CONDITIONS, TRAINED_ON, add_unverified, make_card, make_run
from ccbench.boards.additions import store_audit
from ccbench.boards.board_result import seal
from ccbench.boards.rendered_boards import render_boards
from ccbench.errors import DataError, UsageError, VerificationError
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.studies.leak_audit.audit_record import (
    KINDS,
    Audit,
    AuditedSet,
    Counts,
    ImageName,
    Kind,
    Pair,
    SharedCluster,
    Thresholds,
)

SETS = {"train": TRAINED_ON.n, "test": CONDITIONS.n}


@pytest.fixture
def protocol(small_protocol: Protocol, monkeypatch: pytest.MonkeyPatch, fake_plugin: str) -> str:
    """The small protocol under a backbone name that is not a path, known by name."""
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol.model_copy(update={"backbone": "sd-mini"}))
    return "small"


def make_audit(pairs: dict[Kind, int] | None = None, clusters: int = 0, manifests: dict[str, str] = MANIFESTS) -> Audit:
    """An audit of the hand-made runs' conditions, with so many pairs across train and test."""
    across = {**dict.fromkeys(KINDS, 0), **(pairs or {})}
    listed = [(kind, index) for kind, count in across.items() for index in range(count)]
    return Audit(
        protocol="small",
        encoder="enc:grid|w:00000000",
        hash="dhash",
        thresholds=Thresholds(),
        sets=tuple(
            AuditedSet(name=name, n=n, manifest_sha256=manifests[name], clusters=clusters, unclustered=n - clusters)
            for name, n in SETS.items()
        ),
        counts=(
            Counts(first="train", second="train", pairs=dict.fromkeys(KINDS, 0), images={}, in_sequence=7),
            Counts(first="train", second="test", pairs=across, images=across),
        ),
        clusters=tuple(
            SharedCluster(cluster=f"video-{n}", first="train", second="test", images_first=2, images_second=1)
            for n in range(clusters)
        ),
        pairs=tuple(
            Pair(
                kind=kind,
                first=ImageName(set="train", index=index, id=f"train-{kind}"),
                second=ImageName(set="test", index=index, id="odd|name"),
                hamming=8 + index,
                cosine=0.12345,
                distance=0.139075 + index,
                overlap=0.25,
            )
            for kind, index in listed
        ),
    )


def page(boards: Path) -> str:
    return (boards / "small" / "README.md").read_text(encoding="utf-8")


def section(boards: Path) -> str:
    """The section on the leak audit."""
    return page(boards).partition("## Leak audit\n")[2].partition("\n## ")[0]


def test_a_board_without_an_audit_says_how_to_make_one(
    tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path)
    render_boards(tmp_path)
    assert section(tmp_path).strip() == "No audit stored: run `ccbench data audit --protocol small --store`."
    with_root = PROTOCOLS["small"].model_copy(update={"needs_data_root": True})
    monkeypatch.setitem(PROTOCOLS, "small", with_root)
    rules = tmp_path / "small" / "board.toml"
    old, new = rules.read_text().split('protocol_hash = "')[1][:16], with_root.hash
    for file in tmp_path.glob("small/**/*.*"):
        if file.suffix in (".toml", ".json"):
            file.write_text(file.read_text().replace(old, new))
    (result,) = tmp_path.glob("small/results/*/*.json")
    held = json.loads(result.read_text())
    result.write_text(json.dumps({**held, "sha256": seal(held)}))
    render_boards(tmp_path)
    assert "`ccbench data audit --protocol small --data-root DIR --store`" in section(tmp_path)


def test_the_page_shows_the_audit_without_a_date_or_an_unescaped_name(tmp_path: Path, protocol: str) -> None:
    file = store_audit(make_audit({"near": 2}), tmp_path)
    assert file == tmp_path / "small" / "audit.json"
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path)
    render_boards(tmp_path)
    text = section(tmp_path)
    assert "No image is in two sets. Near-duplicates across sets: 2 pairs." in text
    assert "| train / test | 5 x 3 | 0 | 0 | 0 | 2 (2) |  | 0 |" in text
    assert "| train | 5 | 0 | 0 | 0 | 0 | 7 |  |" in text
    assert "| near | train-near (train) | odd\\|name (test) | 8 | 0.123 | 0.139 | 0.25 |" in text
    assert "Near: a distance of at most 0.4. Same frame: a distance of at most 0.5," in text
    assert "`enc:grid|w:00000000`" in text
    assert f"train `{'d' * 12}`, test `{'c' * 12}`" in text and "](audit.json)" in text
    render_boards(tmp_path, check=True)


def test_check_sees_another_audit(tmp_path: Path, protocol: str) -> None:
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path)
    render_boards(tmp_path)
    store_audit(make_audit(), tmp_path)
    with pytest.raises(VerificationError, match=r"README\.md:\d+: found 'No audit stored"):
        render_boards(tmp_path, check=True)
    render_boards(tmp_path)
    store_audit(make_audit({"near": 1}), tmp_path)
    with pytest.raises(VerificationError, match=r"README\.md:\d+: found '.*: 0 pairs"):
        render_boards(tmp_path, check=True)


@pytest.mark.parametrize("kind", ["same_file", "same_pixels", "same_frame"])
def test_no_run_is_accepted_while_the_splits_leak(tmp_path: Path, protocol: str, kind: Kind) -> None:
    store_audit(make_audit({kind: 2}), tmp_path)
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0))
    with pytest.raises(DataError, match=rf"data leak, train and test share 2 x {kind.replace('_', ' ')}; no run"):
        add_unverified(run, tmp_path)
    assert not (tmp_path / "small" / "results").exists() and not (tmp_path / "small" / "board.toml").exists()


def test_a_shared_video_is_a_leak_and_an_older_board_shows_it(tmp_path: Path, protocol: str) -> None:
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path)
    store_audit(make_audit(clusters=1), tmp_path)
    with pytest.raises(DataError, match="share 1 x video sequence or patient"):
        add_unverified(make_run(tmp_path / "next", protocol, make_card(51.0, 25.0), seed=1), tmp_path)
    render_boards(tmp_path)
    text = section(tmp_path)
    assert "**Leak: train and test share 1 x video sequence or patient. No run is accepted.**" in text
    assert "| video-0 | 2 in train | 1 in test |" in text


def test_near_duplicates_alone_do_not_close_a_board(tmp_path: Path, protocol: str) -> None:
    store_audit(make_audit({"near": 3}), tmp_path)
    assert add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path).is_file()


def test_an_audit_of_other_images_is_refused(tmp_path: Path, protocol: str) -> None:
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path)
    other = make_audit(manifests={**MANIFESTS, "test": "9" * 64})
    with pytest.raises(VerificationError, match=r"test images 3 \(999999999999\), the board's are small with 3 \(cccc"):
        store_audit(other, tmp_path)
    assert not (tmp_path / "small" / "audit.json").exists()
    (tmp_path / "small" / "audit.json").write_text(other.to_text())
    with pytest.raises(VerificationError, match=r"audit\.json: audited small with test images"):
        render_boards(tmp_path)
    (tmp_path / "small" / "audit.json").write_text(make_audit().to_text().replace('"small"', '"large"'))
    with pytest.raises(VerificationError, match=r"audit\.json: audited large with"):
        render_boards(tmp_path)


def test_an_audit_of_other_training_pairs_is_refused(tmp_path: Path, protocol: str) -> None:
    run = make_run(tmp_path / "run", protocol, make_card(50.0, 25.0))
    store_audit(make_audit(manifests={**MANIFESTS, "train": "9" * 64}), tmp_path)
    with pytest.raises(DataError, match=r"trained on 5 pairs \(dddddddddddd\), the leak audit looked at 5 \(999999999"):
        add_unverified(run, tmp_path)


def test_an_audit_with_other_thresholds_or_that_is_none_is_refused(tmp_path: Path, protocol: str) -> None:
    add_unverified(make_run(tmp_path / "run", protocol, make_card(50.0, 25.0)), tmp_path)
    loose = make_audit().model_copy(update={"thresholds": Thresholds(near=0.1)})
    with pytest.raises(VerificationError, match="other thresholds than this version has"):
        store_audit(loose, tmp_path)
    file = tmp_path / "small" / "audit.json"
    for text in ("not json", json.dumps({**make_audit().model_dump(mode="json"), "extra": 1})):
        file.write_text(text)
        with pytest.raises(DataError, match=r"audit\.json: not a leak audit .* ccbench data audit --protocol small"):
            render_boards(tmp_path)


def test_the_audit_of_folders_belongs_to_no_board(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--store: only the audit of a protocol"):
        store_audit(make_audit().model_copy(update={"protocol": None}), tmp_path)
    assert not list(tmp_path.iterdir())
