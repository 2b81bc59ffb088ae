"""`ccbench doctor`: what this machine has, what is missing, and what that would unlock."""

import importlib.util
import os
import platform
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ccbench.base.text import one_line
from ccbench.cli import options
from ccbench.cli.output import Output
from ccbench.errors import CcbenchError


class Finding(NamedTuple):
    """One thing that was looked for. `found` is None for a plain fact, which cannot be missing."""

    topic: str
    name: str
    found: bool | None
    detail: str
    unlocks: str = ""


_EXTRAS = {  # extra -> (module that shows it is there, what it unlocks)
    "segmentation": ("py_sod_metrics", "S-measure, E-measure, weighted F and MAE of segmenters"),
    "test": ("pytest", "the test suite (make test)"),
    "dev": ("hatchling", "building and checking ccbench itself (make lint)"),
}


def doctor(as_json: options.Json = False) -> None:
    """Print what this machine has and lacks. For what is missing, say what it would unlock."""
    out = Output(as_json)
    findings = [*_versions(), *_machine(), *_weights(), *_caches(), *_extras(), *_plugins()]
    out.json({"findings": [finding._asdict() for finding in findings]})
    for topic, group in groupby(findings, key=lambda finding: finding.topic):
        out.line(topic)
        out.table(("", "", ""), [row for finding in group for row in _rows(finding)], wrap=(1, 2))
    missing = sum(finding.found is False for finding in findings)
    out.line(f"{missing} missing" if missing else "nothing is missing")


def _rows(finding: Finding) -> list[tuple[str, str, str]]:
    state = {None: "", True: "found", False: "missing"}[finding.found]
    rows = [(f"  {state:7}", finding.name, _from_home(finding.detail))]
    return rows if finding.found is not False else [*rows, ("", "", f"unlocks: {finding.unlocks}")]


def _from_home(path: str) -> str:
    """Return a path with `~` for the home folder; text that is no path under it stays."""
    home = os.environ.get("HOME", "").rstrip("/")
    return f"~{path.removeprefix(home)}" if home and path.startswith(f"{home}/") else path


def _versions() -> list[Finding]:
    from ccbench import __version__
    from ccbench.base.environment import PACKAGES, package_version

    own = {"ccbench": __version__, "python": platform.python_version()}
    facts = [Finding("versions", name, None, version) for name, version in own.items()]
    versions = [(name, package_version(name)) for name in PACKAGES]
    return facts + [
        Finding("versions", name, None if version else False, version or f"pip install {name}", "ccbench itself")
        for name, version in versions
    ]


def _machine() -> list[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    facts = [Finding("machine", "platform", None, platform.platform()), Finding("machine", "cores", None, str(cores))]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        facts.append(Finding("machine", "memory", None, f"{memory:.1f} GiB"))
    names = _gpus()
    detail = ", ".join(names) or "none, the CPU is used"
    return [*facts, Finding("machine", "CUDA device", bool(names), detail, "faster runs")]


def _gpus() -> list[str]:
    """Return the names of the GPUs that the driver tells, without waiting for torch."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def _weights() -> list[Finding]:
    from ccbench.base.assets import locate_backbone
    from ccbench.features import list_encoders
    from ccbench.protocols.protocol import PROTOCOLS
    from ccbench.segmenters import SEGMENTERS, locate_weights

    users: dict[str, list[str]] = {}
    for protocol in PROTOCOLS.values():
        users.setdefault(protocol.backbone, []).append(protocol.name)
    looked = [
        _look(f"backbone {name}", partial(locate_backbone, name), f"protocols {', '.join(protocols)}")
        for name, protocols in users.items()
    ]
    looked += [
        _look(f"segmenter {one.title}", partial(locate_weights, one.published.backbone), "it at the papers' scale")
        for one in SEGMENTERS.values()
    ]
    for entry in list_encoders():
        if entry.spec is not None:
            looked.append(_look(f"encoder {entry.name}", partial(entry.spec.find, True), entry.spec.unlocks))
        else:
            looked.append(
                Finding("weights", f"encoder {entry.name}", False, str(entry.error), f"what {entry.source} adds")
            )
    return looked


def _look(name: str, find: Callable[[], str | Path], unlocks: str) -> Finding:
    try:
        return Finding("weights", name, True, str(find()), unlocks)
    except CcbenchError as error:
        return Finding("weights", name, False, one_line(error).removeprefix(f"{name}: "), unlocks)


def _caches() -> list[Finding]:
    from ccbench.base.assets import home, hugging_face_home, torch_home

    folders = {
        "ccbench (CCBENCH_HOME)": home(),
        "Hugging Face (HF_HOME)": hugging_face_home(),
        "torch (TORCH_HOME)": torch_home(),
    }
    state = {name: "" if path.is_dir() else " (not made yet)" for name, path in folders.items()}
    return [Finding("caches", name, None, f"{path}{state[name]}") for name, path in folders.items()]


def _extras() -> list[Finding]:
    return [
        Finding("extras", name, there, "" if there else f"pip install 'ccbench[{name}]'", unlocks)
        for name, (module, unlocks) in _EXTRAS.items()
        for there in [importlib.util.find_spec(module) is not None]
    ]


def _plugins() -> list[Finding]:
    from ccbench.plugins.registry import list_methods

    entries = list_methods()
    details = [entry.error or f"{entry.distribution} {entry.version}" for entry in entries]
    return [
        Finding("methods", entry.name, entry.method is not None, detail, "this method")
        for entry, detail in zip(entries, details, strict=True)
    ]
