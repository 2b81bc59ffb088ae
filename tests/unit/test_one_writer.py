"""Two modules write on a user's disk and one prints: whatever they promise then holds everywhere."""

import ast
from pathlib import Path

import ccbench

PACKAGE = Path(ccbench.__file__).parent
WRITERS = {"base/files.py", "base/folder_files.py", "cli/streams.py"}
METHODS = {
    "write_text",
    "write_bytes",
    "mkdir",
    "touch",
    "unlink",
    "rmdir",
    "symlink_to",
    "hardlink_to",
    "echo",
    "secho",
}
FUNCTIONS = {
    *("shutil.rmtree", "shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copytree", "shutil.move"),
    *("os.remove", "os.unlink", "os.rename", "os.replace", "os.makedirs", "os.mkdir", "os.rmdir", "os.link"),
    *("tempfile.mkdtemp", "tempfile.mktemp", "print"),
}


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _writes(call: ast.Call) -> bool:
    name = _name(call.func)
    last = name.rpartition(".")[2]
    if last == "open":
        words = [*call.args, *(key.value for key in call.keywords if key.arg == "mode")]
        modes = [word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        return any(set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes)
    return name in FUNCTIONS or (isinstance(call.func, ast.Attribute) and last in METHODS)


def offences(source: str) -> list[int]:
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and _writes(node)]


def test_nothing_else_writes_or_prints() -> None:
    found = [
        f"{name}:{line}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if (name := file.relative_to(PACKAGE).as_posix()) not in WRITERS and not name.startswith("plugins/template/")
        for line in offences(file.read_text(encoding="utf-8"))
    ]
    assert not found, f"use ccbench.base.files, ccbench.base.folder_files or ccbench.cli.streams: {', '.join(found)}"


def test_the_rule_sees_every_way_to_write() -> None:
    for line in (
        "path.write_text('x')",
        "path.parent.mkdir(parents=True)",
        "open(path, 'w')",
        "path.open('ab')",
        "path.open(mode='x')",
        "print('x')",
        "typer.echo('x')",
        "shutil.rmtree(path)",
        "path.unlink(missing_ok=True)",
    ):
        assert offences(line), line
    for line in (
        "path.open('rb')",
        "PIL.Image.open(path)",
        "open(path)",
        "console.print(table)",
        "text.replace('a', 'b')",
    ):
        assert not offences(line), line
