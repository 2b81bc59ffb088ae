"""methods/README.md is a worked example: its blocks are run here as they stand, in an empty folder."""

import json
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from calling import Call
from ccbench.base.image_folders import list_images
from ccbench.plugins.registry import find_entry, find_offers
from ccbench.runs import RunFolder

README = Path(__file__).parents[2] / "methods" / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def no_trace() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "ccbench_my_method"]:
        del sys.modules[name]


def install(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the wheel as pip would, without its isolated environment, and unpack it into a folder of its own."""
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    Path("wheels").mkdir()
    command = [sys.executable, "-c", build, str(Path("wheels").resolve())]
    name = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
    with zipfile.ZipFile(Path("wheels", name)) as wheel:
        wheel.extractall("site")
    monkeypatch.syspath_prepend(Path("site").resolve())
    find_offers.cache_clear()


def test_the_readmes_blocks_work_as_they_stand(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_trace: None
) -> None:
    for script in blocks("python"):
        Path(script.splitlines()[0].removeprefix("# ")).write_text(script, encoding="utf-8")
    shown = {}
    for line in "".join(blocks("bash")).splitlines():
        program, *args = shlex.split(line)
        if program == "pip":
            assert args[:2] == ["install", "-e"]
            install(args[2], monkeypatch)
        elif program == "python":
            subprocess.run([sys.executable, *args], check=True)
        else:
            assert program == "ccbench"
            done = call(*args)
            assert done.code == 0, done.err
            shown[" ".join(args[:2])] = done.out
    assert re.search(r"my-method +My Method .* ok ", shown["methods"])
    assert "my-method keeps the contract" in shown["methods check"]
    entry = find_entry("my-method")
    assert entry.distribution == "ccbench-my-method" and entry.method is not None
    assert (Path("site") / entry.method.config.__module__.replace(".", "/")).with_suffix(".py").is_file()
    ours, outside = (
        RunFolder.read(next(Path("runs", "phantom-128").glob(f"{name}-*"))) for name in ("my-method", "my-gan")
    )
    for run in (ours, outside):
        assert run.record.status == "complete" and len(list_images(run.path / "images")) == 4 and run.gallery.is_file()
        card = run.scorecard()
        assert card is not None
        values = {score.metric: score.value for score in card.scores}
        assert all(values[name] is not None for name in ("fd_lite0", "clip_score", "clip_image", "text_fidelity"))
    assert ours.record.training is not None and ours.record.training.steps == ours.config.protocol.training.max_steps
    assert outside.record.method is not None and outside.record.method.title == "My GAN"
    rows = [json.loads(line) for line in Path("conditions", "conditions.jsonl").read_text().splitlines()]
    assert len(rows) == len(list_images(Path("images"))) == 200


def test_the_readmes_entry_point_is_the_templates(call: Call) -> None:
    call("methods", "new", "my-method")
    assert blocks("toml")[0] in Path("my-method", "pyproject.toml").read_text()


def test_the_readmes_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links and all((README.parent / link).exists() for link in links)
