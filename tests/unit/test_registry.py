"""Methods are found through entry points; broken, doubled and unknown ones give one clear line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ccbench.errors import UsageError
from ccbench.plugins.registry import find_method, list_methods
from fake_methods import METHOD


def entries() -> dict[str, Any]:
    return {entry.name: entry for entry in list_methods()}


def test_an_installed_method_is_listed_with_its_distribution(fake_plugin: str) -> None:
    entry = entries()["fake"]
    assert (entry.method, entry.error, entry.distribution, entry.version) == (METHOD, None, "fake-plugin", "1.2.3")
    assert find_method("fake") is METHOD


def test_the_list_is_sorted(install_plugin: Any) -> None:
    install_plugin({"zeta": "nowhere:METHOD", "alpha": "nowhere:METHOD"})
    names = [entry.name for entry in list_methods()]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("module_that_is_not_there:METHOD", "ModuleNotFoundError: No module named 'module_that_is_not_there'"),
        ("fake_methods:NO_SUCH", "AttributeError: module 'fake_methods' has no attribute 'NO_SUCH'"),
        ("fake_methods:INFO", "fake_methods:INFO is a MethodInfo, wanted a ccbench Method"),
        ("fake_methods:METHOD", "its card says 'fake' and its entry point 'broken'; they must be equal"),
        ("raises_at_import:METHOD", "RuntimeError: two lines"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_error(install_plugin: Any, value: str, error: str) -> None:
    site = install_plugin({"broken": value})
    (site / "raises_at_import.py").write_text("raise RuntimeError('two\\nlines')\n")
    entry = entries()["broken"]
    assert (entry.method, entry.error) == (None, error)
    with pytest.raises(UsageError) as caught:
        find_method("broken")
    assert error in str(caught.value)
    assert "fake-plugin 1.2.3" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_plugin_does_not_hide_the_others(install_plugin: Any) -> None:
    install_plugin({"broken": "nowhere:METHOD", "fake": "fake_methods:METHOD"})
    assert find_method("fake") is METHOD


def test_one_name_from_two_distributions_is_refused_and_the_others_work(install_plugin: Any) -> None:
    install_plugin({"fake": "fake_methods:METHOD"}, name="first-plugin")
    install_plugin({"fake": "fake_methods:METHOD"}, name="second-plugin", place="other")
    with pytest.raises(UsageError, match=r"'fake' of .*-plugin .*: offered twice: by .*-plugin .* uninstall one"):
        find_method("fake")
    listed = {entry.name: entry for entry in list_methods()}
    assert listed["fake"].method is None and "offered twice" in (listed["fake"].error or "")
    assert listed["train-copy"].method is not None and find_method("train-copy").info.control


def test_one_distribution_installed_in_two_places_is_refused(install_plugin: Any) -> None:
    """importlib.metadata.entry_points() would silently take the first."""
    install_plugin({"fake": "fake_methods:METHOD"})
    install_plugin({"fake": "fake_methods:METHOD"}, version="0.9", place="other")
    with pytest.raises(UsageError, match=r"fake-plugin 0\.9 in .*other.* fake-plugin 1\.2\.3 in .*site"):
        find_method("fake")


def test_one_place_seen_twice_is_no_duplicate(
    install_plugin: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = install_plugin({"fake": "fake_methods:METHOD"})
    link = tmp_path / "link"
    link.symlink_to(site)
    monkeypatch.syspath_prepend(link)
    assert find_method("fake") is METHOD


def test_an_unknown_name_gives_the_nearest_and_the_stale_install_hint(fake_plugin: str) -> None:
    with pytest.raises(UsageError, match=r"unknown method 'fakee'; did you mean 'fake'\? .*editable install again"):
        find_method("fakee")
    with pytest.raises(UsageError, match=r"unknown method 'xyzzy'; installed: .*fake"):
        find_method("xyzzy")


def test_listing_imports_no_heavy_package() -> None:
    code = (
        "import sys; from ccbench.plugins.registry import list_methods; list_methods(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
