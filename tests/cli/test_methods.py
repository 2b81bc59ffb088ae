"""Starting a method from the template, and checking any installed one."""

import subprocess
import sys
from pathlib import Path

import pytest

import ccbench.plugins.scaffold
from calling import Call, Install

FILES = ["__init__.py", "config.py", "generator.py", "model.py", "train.py", "README.md"]


def install_folder(folder: Path, install: Install, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    install({name: f"ccbench_{name.replace('-', '_')}:METHOD"}, name=f"ccbench-{name}")
    monkeypatch.syspath_prepend(folder)


def test_a_new_method_has_the_files_of_every_method_under_its_own_name(call: Call) -> None:
    done = call("methods", "new", "polyp-gan2")
    assert done.code == 0, done.err
    package = Path("polyp-gan2", "ccbench_polyp_gan2")
    assert sorted(path.name for path in package.iterdir()) == sorted(FILES)
    text = "".join(path.read_text() for path in Path("polyp-gan2").rglob("*") if path.is_file()).lower()
    assert not [word for word in ("my-method", "my_method", "mymethod", "my method") if word in text]
    assert 'polyp-gan2 = "ccbench_polyp_gan2:METHOD"' in Path("polyp-gan2", "pyproject.toml").read_text()
    assert "class PolypGan2Config" in (package / "config.py").read_text()
    commands = ("pip install -e polyp-gan2", "ccbench methods check polyp-gan2", "ccbench run --method polyp-gan2")
    assert all(command in done.out for command in commands)


def test_the_new_method_keeps_the_contract(
    call: Call, install_plugin: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("methods", "new", "toy-one", "--output", "deep/folder")
    install_folder(Path("deep", "folder").resolve(), install_plugin, monkeypatch, "toy-one")
    done = call("methods", "check", "toy-one", "--json")
    assert done.code == 0 and done.json["passed"], done.out
    assert [check["name"] for check in done.json["checks"] if not check["passed"]] == []
    assert len(done.json["checks"]) >= 12


def test_the_polyp_stands_in_the_mask(call: Call, install_plugin: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import numpy as np
from ccbench_toy_two.config import MyConfig as Config
from ccbench_toy_two.model import Colours, draw
mask = np.zeros((32, 48), dtype=bool)
mask[8:24, 8:24] = True
colours = Colours(np.array([[200.0, 90, 80], [90, 60, 120]]), np.full((2, 3), 4.0))
image = draw(colours, mask, 5, Config())
assert image.shape == (32, 48, 3) and image.dtype == np.uint8
assert np.abs(image[12:20, 12:20].mean((0, 1)) - colours.mean[1]).max() < 8
assert np.abs(image[:, 30:].mean((0, 1)) - colours.mean[0]).max() < 8
between = image[16, 24].astype(float)
assert colours.mean[1][0] + 10 < between[0] < colours.mean[0][0] - 10
""".replace("MyConfig", "ToyTwoConfig")
    call("methods", "new", "toy-two")
    subprocess.run([sys.executable, "-c", code], check=True, cwd="toy-two")


@pytest.mark.parametrize("name", ["My-Method", "my_method", "2fast", "a--b", "-a", "a-", "über", ""])
def test_a_name_is_kebab_case(call: Call, name: str) -> None:
    done = call("methods", "new", "--output", "out", "--", name)
    assert done.code == 2 and "single hyphens: my-method" in done.err and not Path("out").exists()


def test_a_name_or_folder_that_is_taken_is_refused(call: Call, fake_plugin: str) -> None:
    done = call("methods", "new", "fake", "--output", "out")
    assert done.code == 2 and "'fake' is the name of a method that fake-plugin 1.2.3 offers" in done.err
    Path("mine").mkdir()
    Path("mine", "note.txt").write_text("mine")
    done = call("methods", "new", "mine")
    assert done.code == 2 and done.err == "error: mine: exists and is not empty; choose a new folder\n"
    assert [path.name for path in Path("mine").iterdir()] == ["note.txt"] and not Path("out").exists()


def test_what_tools_leave_in_the_template_is_not_copied(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "template"
    (template / "__pycache__").mkdir(parents=True)
    (template / "__pycache__" / "config.cpython-311.pyc").write_bytes(b"\xff\xfe")
    (template / "config.py").write_text('"""My Method."""\n')
    monkeypatch.setattr(ccbench.plugins.scaffold, "TEMPLATE", template)
    assert call("methods", "new", "toy", "--json").json["files"] == ["config.py"]
    assert Path("toy", "config.py").read_text() == '"""Toy."""\n'


def test_check_names_what_a_broken_method_breaks(
    call: Call, install_plugin: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("methods", "new", "toy-three")
    generator = Path("toy-three", "ccbench_toy_three", "generator.py")
    generator.write_text(generator.read_text().replace("c.mask, seed,", "c.mask, 7,"))
    install_folder(Path("toy-three").resolve(), install_plugin, monkeypatch, "toy-three")
    done = call("methods", "check", "toy-three")
    assert done.code == 1 and "toy-three breaks the contract: other seed" in done.out
    assert "is the same with another seed" in done.out and "same seed" in done.out
    broken = call("methods", "check", "toy-three", "--json")
    assert broken.code == 1 and not broken.json["passed"]


def test_check_shows_where_a_method_raises(
    call: Call, install_plugin: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("methods", "new", "toy-four")
    train = Path("toy-four", "ccbench_toy_four", "train.py")
    train.write_text(train.read_text().replace('"""\n', '"""\n\nWIDTHS: dict[str, int] = {}\n', 1) + "\n")
    text = train.read_text()
    start = text.index("def train(")
    body = text.index('"""', text.index('"""', start) + 3) + 3
    train.write_text(f"{text[:body]}\n    WIDTHS['narrow']{text[body:]}")
    install_folder(Path("toy-four").resolve(), install_plugin, monkeypatch, "toy-four")
    done = call("methods", "check", "toy-four")
    assert done.code == 1 and "raised KeyError: 'narrow'" in done.out
    assert "Traceback" in done.err and "WIDTHS['narrow']" in done.err and "train.py" in done.err


def test_check_says_why_a_plugin_does_not_load(call: Call, install_plugin: Install) -> None:
    install_plugin({"gone": "no_such_module:METHOD"})
    done = call("methods", "check", "gone")
    assert done.code == 1 and "No module named 'no_such_module'" in done.out and "import" in done.out


def test_check_of_an_unknown_method_names_the_nearest(call: Call, fake_plugin: str) -> None:
    done = call("methods", "check", "fak")
    assert done.code == 2 and "did you mean 'fake'?" in done.err and done.err.count("\n") == 1
