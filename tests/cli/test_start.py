"""Starting the command line: speed, what is imported, and how failures end."""

import os
import resource
import subprocess
import sys

import pytest

import ccbench.plugins.registry
from calling import Call, Install
from ccbench.cli import main
from ccbench.errors import DataError

# Of processor time, which another process cannot take. The bars are 0.35 s and 0.1 s on an idle machine.
SECONDS = {"--help": 0.7, "--version": 0.2}
UNWANTED = {"--help": {"numpy", "pydantic", "PIL", "rich", "multiprocessing.pool"}, "--version": {"typer", "pathlib"}}

_PROBE = """
import sys
from ccbench.cli import execute
code = execute(sys.argv[1:])
heavy = {"torch", "diffusers", "transformers", "pandas", "scipy", "timm"} & set(sys.modules)
sys.exit(f"imported {sorted(heavy)}" if heavy else code)
"""


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(("option", "shown"), [("--help", "ccbench run --method ccis-diff"), ("--version", "0.1.0")])
def test_starting_is_quick(option: str, shown: str) -> None:
    seconds = []
    for _ in range(3):
        begin = _children_seconds()
        done = subprocess.run([sys.executable, "-m", "ccbench", option], capture_output=True, text=True, check=True)
        seconds.append(_children_seconds() - begin)
    assert shown in done.stdout
    assert min(seconds) < SECONDS[option]


@pytest.mark.parametrize("option", UNWANTED)
def test_starting_imports_little(option: str) -> None:
    """What was heavy once; that is seen on a busy machine too."""
    probe = f"import sys; from ccbench.cli import execute; execute(['{option}']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not UNWANTED[option] & set(done.stderr.split())


@pytest.mark.parametrize(("given", "found"), [(None, "1000"), ("7", "7")])
def test_threads_that_wait_sleep_soon_unless_the_user_says_otherwise(
    given: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads of torch are else many times slower than one beside other work."""
    monkeypatch.setenv("GOMP_SPINCOUNT", given or "")
    if given is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setattr(sys, "argv", ["ccbench", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["GOMP_SPINCOUNT"] == found


def test_a_refusal_and_the_names_of_the_package_wait_for_no_torch() -> None:
    words = ["leaderboard add here", "verify here", "compare here there", "score here", "run --method ccis-dif"]
    probe = f"""
import sys
import ccbench
from ccbench.cli import execute
public = [getattr(ccbench, name) for name in ccbench.__all__]
ccbench.Session().scorer()
codes = [execute(words.split()) for words in {words}]
sys.exit(0 if codes == [2] * {len(words)} and "torch" not in sys.modules else f"{{codes}}")
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "args",
    [["--help"], ["methods"], ["methods", "--json"], ["protocols"], ["protocols", "show", "phantom-128"], ["doctor"]],
)
def test_listing_imports_nothing_heavy(args: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", _PROBE, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["run", "--method", "ccis-dif"], 2, "did you mean 'ccis-diff'?"),
        (["run", "--method", "fake", "--protocol", "phantm-128"], 2, "did you mean 'phantom-128'?"),
        (["run", "--method", "fake", "--set", "guidance_scal=3"], 2, "did you mean 'method.guidance_scale'?"),
        (["run", "--method", "fake", "--set", "guidance_scale=low"], 2, "guidance_scale"),
        (["run", "--method", "fake", "--protocol", "polyp-128"], 4, "Kvasir-SEG/ and CVC-ClinicDB/"),
        (["run", "--method", "fake", "--protocol", "polyp-128", "--data-root", "."], 4, "no folder Kvasir-SEG/"),
        (["run"], 2, "Missing option '--method'"),
        (["run", "--nope"], 2, "No such option: --nope"),
        (["rum"], 2, "Did you mean 'run'?"),
        (["score"], 2, "--images DIR and --reference DIR"),
        (["score", "here"], 2, "found no run there"),
        (["score", "here", "--encoder", "inception"], 2, "scored as its protocol says"),
        (["score", "--images", "a", "--reference", "b"], 4, "a: not a folder"),
        (["leaderboard", "add", "here"], 2, "found no run there"),
        (["protocols", "show", "polyp-28"], 2, "did you mean 'polyp-128'?"),
    ],
)
def test_wrong_use_is_one_line_and_its_code(
    call: Call, fake_plugin: str, args: list[str], code: int, words: str
) -> None:
    done = call(*args)
    assert done.code == code
    assert words in done.err and done.err.startswith("error: ") and done.err.count("\n") == 1
    assert done.out == ""


def test_no_command_shows_help_and_version_is_printed(call: Call) -> None:
    assert "Commands:" in call().out
    assert call("--version").out == "0.1.0\n"


def test_a_known_error_on_several_lines_is_still_one(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise DataError("first\n  second")

    monkeypatch.setattr(ccbench.plugins.registry, "list_methods", fail)
    done = call("methods")
    assert (done.code, done.err) == (4, "error: first second\n")


def test_a_fault_shows_a_traceback_only_when_asked_to(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(ccbench.plugins.registry, "list_methods", fail)
    short = call("methods")
    assert short.code == 1 and short.err.count("\n") == 1
    assert "unexpected ZeroDivisionError: by zero" in short.err and "CCBENCH_DEBUG=1" in short.err
    monkeypatch.setenv("CCBENCH_DEBUG", "1")
    long = call("methods")
    assert long.code == 1 and "Traceback (most recent call last)" in long.err


def test_a_closed_pipe_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, "protocols"], stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert "Traceback" not in done.stderr


def test_methods_lists_a_broken_plugin_with_its_error(call: Call, install_plugin: Install) -> None:
    install_plugin({"fake": "fake_methods:METHOD", "gone": "no_such_module:METHOD"})
    cards = {card["name"]: card for card in call("methods", "--json").json["methods"]}
    assert cards["fake"]["status"] == "ok"
    assert cards["fake"]["needs"] == ["mask", "prompt"] and cards["fake"]["version"] == "1.2.3"
    assert cards["gone"]["status"].startswith("broken: ModuleNotFoundError")
    assert "no_such_module" in call("methods").out


def test_methods_lists_the_controls_after_the_methods(call: Call, fake_plugin: str) -> None:
    flags = {card["name"]: card["control"] for card in call("methods", "--json").json["methods"]}
    assert (flags["fake"], flags["real-split"], flags["shuffled-mask"]) == (False, True, True)
    methods, heading, controls = call("methods").out.partition("controls:")
    assert heading and " fake " in methods and "real-split" in controls
    assert "real-split" not in methods and " fake " not in controls


def test_protocols_are_shown_whole(call: Call) -> None:
    listed = call("protocols", "--json").json["protocols"]
    shown = call("protocols", "show", "phantom-128", "--json").json
    assert shown in listed
    assert shown["training"]["max_steps"] > 0 and len(shown["hash"]) == 16
    assert shown["hash"] in call("protocols", "show", "phantom-128").out
