"""Prompts in JSON Lines: one object a line that names an image and holds its text."""

from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, Field, ValidationError

from ccbench.errors import DataError


class _PromptLine(BaseModel):
    """`id` is a file stem or name, `file` a path whose name counts; caption files of data sets hold more keys."""

    id: str | None = None
    file: str | None = None
    prompt: str = Field(validation_alias=AliasChoices("prompt", "caption", "text"))

    def key(self) -> str:
        if self.id is None and self.file is None:
            raise ValueError('neither "id" nor "file" is given')
        return self.id if self.id is not None else Path(str(self.file)).name


def read_prompts(path: Path) -> dict[str, str]:
    """Return the prompts of a JSON Lines file by the id or file name on their line.

    Raises:
        DataError: the file is missing, a line is not such an object, or an id is there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a prompts file ({error})") from error
    prompts: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            parsed = _PromptLine.model_validate_json(line)
            key = parsed.key()
        except ValueError as error:
            raise DataError(f'{path}:{number}: {_reason(error)}; wanted {{"id": ..., "prompt": ...}}') from error
        if key in prompts:
            raise DataError(f"{path}:{number}: {key!r} has a prompt already; keep one line an image")
        prompts[key] = parsed.prompt
    return prompts


def match_prompts(prompts: dict[str, str], images: list[Path], source: Path) -> list[str]:
    """Return the prompt of each image, found by its stem or its name.

    Raises:
        DataError: images without a prompt: how many, and which is the first.
    """
    found = [prompts.get(path.stem, prompts.get(path.name)) for path in images]
    if None in found:
        first = images[found.index(None)].name
        raise DataError(
            f"{source}: no prompt for {found.count(None)} of {len(images)} images; the first: {first}; "
            'its line needs "id" equal to the file name without suffix'
        )
    return [prompt for prompt in found if prompt is not None]


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first: Any = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'line'}: {first['msg']}"
    return str(error)
