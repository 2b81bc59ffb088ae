"""Writes a new plugin: the package of `template`, which trains and samples as it is, under another name."""

from pathlib import Path

from ccbench.base.files import make_folder, write_atomic
from ccbench.base.folder_files import check_new_folder, whole_folder
from ccbench.plugins.registry import check_new_name

TEMPLATE = Path(__file__).parent / "template"
SUFFIXES = (".py", ".md", ".toml")


def new_method(name: str, output: Path) -> list[Path]:
    """Write the plugin of a new method into a new folder and return its files, relative to the folder.

    Raises:
        UsageError: the name is taken or not kebab-case, or there is something at `output`.
    """
    check_new_name(name, "NAME")
    check_new_folder(output)
    words = name.split("-")
    names = {
        "my-method": name,
        "my_method": "_".join(words),
        "MyMethod": "".join(word.capitalize() for word in words),
        "My Method": " ".join(word.capitalize() for word in words),
    }
    written = []
    with whole_folder(output) as folder:
        for source in sorted(TEMPLATE.rglob("*")):
            if source.suffix not in SUFFIXES:  # caches that tools leave beside the files
                continue
            file = Path(_renamed(source.relative_to(TEMPLATE).as_posix(), names))
            make_folder((folder / file).parent)
            write_atomic(folder / file, _renamed(source.read_text(encoding="utf-8"), names).encode())
            written.append(file)
    return written


def _renamed(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text
