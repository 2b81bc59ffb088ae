"""The report in headless Chromium: sorting, sliders, toggles, keyboard, phone and print, and a silent console."""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ccbench.protocols.protocol import PROTOCOLS, Protocol
from ccbench.report import collect_report, render_report
from ccbench.runs import RunFolder
from report_runs import write_scored_run

if TYPE_CHECKING:  # of the extra `dev`; `make test` collects this file without it
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
INSTALLED = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """The machine's Chromium, or the one that `playwright install chromium` has brought."""
    from playwright.sync_api import sync_playwright

    path = next((found for name in INSTALLED if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def kept() -> dict[str, str]:
    """The text of the page, once it is made."""
    return {}


@pytest.fixture
def report(
    kept: dict[str, str], small_protocol: Protocol, fake_plugin: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Path:
    page = tmp_path / "report.html"
    if "page" not in kept:
        protocol = small_protocol.model_copy(update={"seeds": (0,)})  # so that every row is complete
        monkeypatch.setitem(PROTOCOLS, "small", protocol)
        kept["page"] = make_page(protocol, tmp_path)
    page.write_text(kept["page"])
    return page


def make_page(protocol: Protocol, folder: Path) -> str:
    """Three methods, the first of two seeds."""
    settings = ((0, 0.5, 0.0), (1, 0.5, 0.0), (0, 0.1, 0.15), (0, 0.9, 0.1))
    paths = [
        write_scored_run(folder / f"run{number}", protocol, seed=seed, tint=tint, shift=shift)
        for number, (seed, tint, shift) in enumerate(settings)
    ]
    return render_report(collect_report([RunFolder.read(path) for path in paths], None), "a report")


@pytest.fixture
def page(browser: "Browser", report: Path) -> "Iterator[Page]":
    """The report in a window whose console and network must stay silent."""
    opened, complaints = browser.new_page(viewport={"width": 1280, "height": 900}), []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
    opened.goto(report.as_uri())
    yield opened
    opened.close()
    assert complaints == []


def first_column(page: "Page") -> list[str]:
    return [text.strip() for text in page.locator("#table tbody th").all_inner_texts()]


def test_sorting(page: "Page") -> None:
    """The better end first, a second press turns it round, and cells without a number stay last."""
    head = page.get_by_role("columnheader", name="fd_lite0")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert [name.split()[0] for name in first_column(page)] == ["real-split", "fake", "fake", "fake"]
    assert first_column(page)[1].startswith("fake (tint=0.1)")
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "descending" and first_column(page)[0] == "fake (tint=0.5)"
    dice = page.get_by_role("columnheader", name="mask_dice")
    dice.get_by_role("button").click()
    assert dice.get_attribute("aria-sort") == "descending" and head.get_attribute("aria-sort") == "none"
    assert first_column(page)[0].startswith("fake (tint=0.1)") and first_column(page)[-1] == "real-split"
    assert page.locator("#said").inner_text() == "sorted by mask_dice ↑, descending"


def test_best_and_second_are_marked(page: "Page") -> None:
    assert page.locator("#table td.best:visible").all_inner_texts() == ["44.00", "0.65"]
    assert page.locator("#table td.second:visible").all_inner_texts() == ["46.00", "0.60"]


def test_groups_of_metrics(page: "Page") -> None:
    assert page.get_by_role("columnheader", name="seam_colour").count() == 0
    page.get_by_role("button", name="Mask and seam").click()
    assert page.get_by_role("columnheader", name="seam_colour").is_visible()
    assert page.get_by_role("columnheader", name="fd_lite0").count() == 0
    assert page.get_by_role("button", name="Prompt").count() == 0  # no metric of it has a value


def shown(page: "Page") -> str:
    """The clip of the first slider's real image as it is painted, and its grey level in the middle."""
    return str(page.evaluate("getComputedStyle(document.querySelector('#gallery .compare .before')).clipPath"))


def test_sliders_by_pointer_and_keyboard(page: "Page") -> None:
    slider = page.locator("#gallery .slide input").first
    assert shown(page) == "inset(0px 0px 0px 100%)"  # all synthetic
    slider.focus()
    page.keyboard.press("Home")
    assert shown(page) == "inset(0px 0px 0px 0%)" and slider.get_attribute("aria-valuetext") == "all real"
    page.keyboard.press("ArrowRight")
    assert shown(page) == "inset(0px 0px 0px 1%)" and slider.get_attribute("aria-valuetext") == "1% synthetic"
    slider.click()  # in its middle
    assert 45 <= int(slider.input_value()) <= 55
    page.locator("#all").fill("0")
    values = page.locator("#gallery .slide input").evaluate_all("all => all.map(one => one.value)")
    assert values == ["0"] * 36 and page.locator("#worst .slide input").first.input_value() == "100"


def test_the_masks_outline(page: "Page") -> None:
    outline = page.locator("#gallery .outline").first
    assert not outline.is_visible()
    page.locator("#gallery .outlines").check()
    assert outline.is_visible() and not page.locator("#worst .outline").first.is_visible()


def test_themes(page: "Page") -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 26)"
    assert paper() == light
    page.emulate_media(color_scheme="dark")
    assert paper() == dark
    button = page.locator("#theme")
    button.click()
    assert paper() == light and button.inner_text() == "Theme: light"
    button.click()
    assert paper() == dark
    page.emulate_media(color_scheme="light")
    assert paper() == dark
    button.click()
    assert paper() == light and button.inner_text() == "Theme: system"


def test_a_phone_scrolls_no_page_sideways(page: "Page") -> None:
    page.set_viewport_size({"width": 375, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert page.locator(".plots figure").first.is_visible()


def test_print_opens_everything_and_hides_controls(page: "Page") -> None:
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0 and not page.locator("nav").is_visible()
    assert not page.locator(".slide").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 1
    assert page.pdf().startswith(b"%PDF")


def test_every_picture_has_a_text_and_headings_step_by_one(page: "Page") -> None:
    assert page.locator("img:not([alt])").count() == 0
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(one => +one.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
