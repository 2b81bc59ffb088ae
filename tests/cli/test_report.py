"""`ccbench report`: what is on the page, and that nothing of it comes from elsewhere."""

import base64
import hashlib
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest

from calling import Call
from ccbench.base.images import write_png
from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.runs import RunFolder
from report_runs import write_scored_run


@pytest.fixture
def runs(small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Two seeds of one method, and one of another."""
    monkeypatch.setitem(PROTOCOLS, "small", small_protocol)
    made = [write_scored_run(tmp_path / f"a{seed}", small_protocol, seed=seed) for seed in (0, 1)]
    return [*made, write_scored_run(tmp_path / "b", small_protocol, tint=0.1, shift=0.15)]


def test_one_page_that_needs_nothing_else(call: Call, runs: list[Path]) -> None:
    done = call("report", *runs, "--output", "out/page.html", "--json")
    assert done.code == 0, done.err
    page = Path("out/page.html").read_text()
    assert done.json == {
        "output": "out/page.html",
        "bytes": len(page.encode()),
        "methods": ["fake (tint=0.5)", "fake (tint=0.1)"],
    }
    addresses = re.findall(r"""(?:src|href)=["']([^"']*)""", page) + re.findall(r"url\(([^)]*)\)", page)
    assert all(one.startswith(("data:", "#")) for one in addresses) and "@import" not in page and "fetch(" not in page
    assert page.count('<article class="condition">') == 12 and page.count("data:image/png") > 60
    assert "50.50 ± 0.71" in page and "46.00 to 54.00" in page and "Fake &lt;b&gt;" in page and "<b>&</b>" not in page
    assert "text_fidelity: no attributes" in page and "2 nan" in page and "⚑ near training" in page
    assert "distance 0.125" in page and "e" * 64 in page and page.count("<polyline") == 3


def test_the_records_suffice_without_the_method(call: Call, runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("report", *runs, "--output", "with.html").code == 0
    monkeypatch.setattr("ccbench.plugins.registry.find_offers", lambda group: {})
    assert call("report", *runs, "--output", "without.html").code == 0
    assert Path("without.html").read_text() == Path("with.html").read_text()


def test_the_page_allows_its_own_script_and_style_alone(call: Call, runs: list[Path]) -> None:
    with RunFolder.open(runs[0]) as run:
        method = run.record.method
        assert method is not None
        run.update(
            method=method.model_copy(update={"title": "</script><script>alert(1)</script><img src=//x.example>"})
        )
    assert call("report", *runs[:1]).code == 0
    page = Path("report.html").read_text()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    policy = html.unescape(policy)
    assert policy.startswith("default-src 'none';") and "img-src data:" in policy
    assert page.index("Content-Security-Policy") < min(page.index(tag) for tag in ("<style", "<link", "<script"))
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}';" in policy
    assert "unsafe" not in policy and not re.search(r"\s(?:on[a-z]+|style)=", page) and "<img src=//" not in page


def test_an_image_that_a_run_names_elsewhere_is_not_in_the_page(call: Call, runs: list[Path], tmp_path: Path) -> None:
    write_png(tmp_path / "secret.png", np.full((16, 16, 3), 77, dtype=np.uint8))
    lines = (runs[0] / "samples.jsonl").read_text()
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        first = json.loads(lines.splitlines()[0])
        (runs[0] / "samples.jsonl").write_text(lines.replace(first["file"], name))
        done = call("report", runs[0])
        assert done.code == 4 and not Path("report.html").exists()
    (runs[0] / "samples.jsonl").write_text(lines)
    image = runs[0] / json.loads(lines.splitlines()[0])["file"]
    image.unlink()
    image.symlink_to(tmp_path / "secret.png")
    assert call("report", runs[0]).code == 4 and not Path("report.html").exists()


def test_a_title_names_three_methods_and_counts_the_others(
    call: Call, runs: list[Path], small_protocol: Protocol, tmp_path: Path
) -> None:
    def title(*paths: Path) -> str:
        assert call("report", *paths).code == 0
        return re.findall(r"<title>(.*)</title>", Path("report.html").read_text())[0]

    more = [write_scored_run(tmp_path / f"c{tint}", small_protocol, tint=tint) for tint in (0.2, 0.3, 0.4)]
    first = ", ".join(f"fake (tint={tint})" for tint in (0.5, 0.1, 0.2))
    assert title(*runs, *more[:2]) == f"small: {first}, fake (tint=0.3)"
    assert title(*runs, *more) == f"small: {first} and 2 others"


def test_worst_cases_are_the_worst_in_their_order(call: Call, runs: list[Path]) -> None:
    assert call("report", runs[0]).code == 0
    page = Path("report.html").read_text()
    worst = page[page.index('id="worst"') : page.index('id="failures"')]
    assert re.findall(r"mask_dice (0\.\d+)</strong>", worst) == ["0.20", "0.23", "0.25", "0.28", "0.30", "0.33"]


def test_public_pages_hold_no_real_image(
    call: Call, runs: list[Path], small_protocol: Protocol, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only where users bring the data: phantoms are anyone's."""
    assert call("report", runs[0], "--public").code == 0 and 'alt="real: ' in Path("report.html").read_text()
    private = small_protocol.model_copy(update={"name": "private", "needs_data_root": True})
    monkeypatch.setitem(PROTOCOLS, "private", private)
    run = write_scored_run(tmp_path / "private", private)
    given = ("--data-root", tmp_path)
    said = call("report", run, *given)
    assert "it holds real images" in said.out and 'alt="real: ' in Path("report.html").read_text()
    assert "it holds real images" not in call("report", run, *given, "--public").out
    page = Path("report.html").read_text()
    assert 'alt="real: ' not in page and 'type="range"' not in page and "distance 0.125" not in page


def test_refused(call: Call, runs: list[Path], tmp_path: Path) -> None:
    assert "wanted at least two different ones" in call("report", runs[0], runs[0]).err
    assert call("report", tmp_path / "none").code == 2
    (runs[0] / "scores" / "scorecard.json").unlink()
    done = call("report", runs[0])
    assert done.code == 2 and "ccbench score" in done.err and not Path("report.html").exists()
