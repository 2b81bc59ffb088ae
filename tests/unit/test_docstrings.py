"""Docstrings as tools read them: one entry a line under `Args:`, `Attributes:` and `Raises:`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "ccbench").rglob("*.py")), *sorted((ROOT / "methods").rglob("*.py"))]
SECTION = re.compile(r"^ *(Args|Attributes|Raises):$")
ERROR = r"[A-Z]\w*(?:Error|Interrupt|Exit)"

Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def crowded_lines(source: str) -> Iterator[tuple[str, str]]:
    """Yield the name of what is documented, and each line of a section on which a second entry begins."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, Documented):
            continue
        names = "|".join(sorted(map(re.escape, _names(node)), key=len, reverse=True)) or "(?!)"
        section = ""
        for line in (ast.get_docstring(node) or "").splitlines():
            if found := SECTION.match(line):
                section = found[1]
            elif not line.startswith(" "):
                section = ""
            elif section:
                entry = ERROR if section == "Raises" else names
                if re.search(rf"[.;)] (?:{entry})(?:, (?:{entry}))*: ", line):
                    yield node.name, line.strip()


def _names(node: Documented) -> set[str]:
    """Return the names that a section of a docstring may explain: fields and attributes, or parameters."""
    if not isinstance(node, ast.ClassDef):
        given = node.args
        return {one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    found = set[str]()
    for inner in ast.walk(node):
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            found.add(inner.target.id)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self":
            found.add(inner.attr)
        elif isinstance(inner, ast.FunctionDef):
            found |= {inner.name, *(_names(inner) if inner.name == "__init__" else ())}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_entry_has_a_line(file: Path) -> None:
    assert not list(crowded_lines(file.read_text(encoding="utf-8")))


def test_a_second_entry_on_a_line_is_seen() -> None:
    for section in ("Args:\n        a: one. b: two.", "Raises:\n        UsageError: one. DataError: two."):
        assert list(crowded_lines(f'def f(a, b):\n    """F.\n\n    {section}\n    """\n'))
    assert not list(
        crowded_lines('def f(a, b):\n    """F.\n\n    Args:\n        a: one.\n        b: as a: two.\n    """\n')
    )
