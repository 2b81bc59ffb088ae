"""What the README says is what is there: its table is the board's, its links lead somewhere, its names exist."""

import re
from pathlib import Path

import pytest

from ccbench.plugins.registry import list_methods
from ccbench.protocols.protocol import PROTOCOLS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readmes_table_is_the_boards() -> None:
    block = re.search(r"<!-- board: (\S+) -->\n((?:\|.*\n)+)", README)
    assert block is not None
    board = (ROOT / "leaderboards" / block[1] / "README.md").read_text(encoding="utf-8")
    rows = block[2].splitlines()
    assert len(rows) >= 4 and all(row in board.splitlines() for row in rows)


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_relative_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert all((ROOT / page).parent.joinpath(link).exists() for link in links)


def test_every_method_and_protocol_is_named() -> None:
    names = [entry.name for entry in list_methods() if entry.distribution == "ccbench"] + list(PROTOCOLS)
    assert all(f"`{name}`" in README for name in names)
