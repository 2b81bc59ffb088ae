"""Prompts in JSON Lines: one object a line that names an image and holds its text."""

from pathlib import Path

from ccbench.base.files import read_json_lines
from ccbench.data.name_matching import plain_name
from ccbench.errors import DataError

_WANTED = '{"id": image name, "prompt": text}'


def read_prompts(path: Path) -> dict[str, str]:
    """Return the prompts of a JSON Lines file by the id or file name on their line.

    `id` is a file stem or name, `file` a path whose name counts; the text is `prompt`, `caption` or `text`. Caption
    files of data sets hold more keys.

    Raises:
        DataError: the file is missing, a line is not such an object, an id is there twice, or a text is empty.
    """
    prompts: dict[str, str] = {}
    for number, line in read_json_lines(path, _WANTED):
        name = line["id"] if line.get("id") is not None else line.get("file", line.get("file_name"))
        text = next((line[key] for key in ("prompt", "caption", "text") if line.get(key) is not None), None)
        if not isinstance(name, str) or not name:
            raise DataError(f"{path}:{number}: found {name!r} as id; wanted one line each: {_WANTED}")
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{path}:{number}: found {text!r} as prompt; wanted one line each: {_WANTED}")
        key = plain_name(name if line.get("id") is not None else Path(name.replace("\\", "/")).name)
        if key in prompts:
            raise DataError(f"{path}:{number}: {key!r} has a prompt already; keep one line an image")
        prompts[key] = text
    return prompts


def match_prompts(prompts: dict[str, str], images: list[Path], source: Path) -> list[str]:
    """Return the prompt of each image, found by its stem or its name.

    Raises:
        DataError: images without a prompt: how many, and which is the first.
    """
    found = [prompts.get(plain_name(path.stem), prompts.get(plain_name(path.name))) for path in images]
    if None in found:
        first = images[found.index(None)].name
        raise DataError(
            f"{source}: no prompt for {found.count(None)} of {len(images)} images; the first: {first}; "
            'its line needs "id" equal to the file name, with or without suffix'
        )
    return [prompt for prompt in found if prompt is not None]
