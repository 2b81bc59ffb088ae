"""The package as a newcomer lists it: few names, each once, and nothing that hides the architecture."""

import ast
from collections import Counter
from pathlib import Path

from ccbench.plugins.registry import list_methods

PACKAGE = Path(__file__).parents[2] / "ccbench"
FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if "template" not in file.relative_to(PACKAGE).parts]
HEAVY = ("torch", "torchvision", "mmengine", "mmseg", "mmcv", "timm", "open_clip", "diffusers", "transformers")


def test_the_listing_is_short() -> None:
    names = [path.name for path in PACKAGE.iterdir() if not path.name.startswith("__")]
    assert len(names) <= 21, sorted(names)


def test_no_file_name_stands_in_two_packages() -> None:
    names = Counter(file.name for file in FILES if not file.name.startswith("__"))
    assert not {name for name, count in names.items() if count > 1}


def test_the_core_names_no_method() -> None:
    methods = {entry.name for entry in list_methods() if entry.method and not entry.method.info.control}
    assert methods >= {"arsdm", "ccis-diff", "controlnet", "uni-controlnet"}
    found = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in methods
    ]
    assert not found


def test_functions_outside_the_command_line_import_what_loads_torch_at_most() -> None:
    """An import inside a function hides a direction from whoever reads the head of a file."""
    found = [
        f"{file.relative_to(PACKAGE)}:{inner.lineno}"
        for file in FILES
        if file.relative_to(PACKAGE).parts[0] != "cli"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith("ccbench.")
        if not any(_loads_torch(f"{inner.module}{end}") for end in ("", *(f".{one.name}" for one in inner.names)))
    ]
    assert not found


def _loads_torch(module: str) -> bool:
    """Return whether importing a module of ccbench imports a heavy package, by itself or by what it imports."""
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        if name.partition(".")[0] in HEAVY:
            return True
        path = PACKAGE.parent.joinpath(*name.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in seen or not name.startswith("ccbench") or not file.is_file():
            continue
        seen.add(name)
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return False
