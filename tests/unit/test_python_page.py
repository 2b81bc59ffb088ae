"""The blocks of docs/python.md are executed in their order, and give what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    said = []
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
        said.append(capsys.readouterr().out)
    run, scores, folders, comparison, plot, verified = said
    assert "synthesize: done, 4 images" in run and "gallery: done" in run
    assert "fd_lite0 " in scores and "a limited run has no reference segmenter" in scores
    assert "'fd_lite0': " in folders and names["distances"].card.scores[0].n == 4
    assert re.search(r"^clip_score controlnet \(.*max_steps=2\) corrupted-real 1.0 None$", comparison, re.MULTILINE)
    assert plot == ""
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert verified.startswith(("match", "within tolerance"))


def test_what_is_public_can_be_imported() -> None:
    import ccbench

    assert all(getattr(ccbench, name) is not None for name in ccbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'make_runs'"):
        _ = ccbench.make_runs
