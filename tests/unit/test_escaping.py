"""Text of a record on the pages that it lands on: markdown, CSV and LaTeX show it, and none of it takes effect."""

import csv
import io
import re

import pandas as pd
import pytest

from ccbench.comparison import PairedTest
from ccbench.studies.ablation.ablation_page import ABLATION_TABLES
from ccbench.studies.ablation.variant_scores import AblationTable, VariantScore
from ccbench.studies.leak_audit.audit_record import KINDS, Audit, AuditedSet, Counts, ImageName, Pair, Thresholds
from ccbench.studies.leak_audit.audit_tables import audit_section
from ccbench.tables.csv import csv_table
from ccbench.tables.latex import escape_tex
from ccbench.tables.markdown import escape_markdown, markdown_code, markdown_table

HOSTILE = {
    "another table": "fake\n\n| method | fd |\n| --- | --- |\n| better | 0.01 |",
    "html": "<script>fetch('//x.example')</script><img src=//x.example/b.png><!-- -->",
    "image": "![x](https://x.example/b.png)",
    "link": "[click](javascript:alert(1)) and [a][b]",
    "reference": "[b]: https://x.example 'title'",
    "emphasis": "**first** _second_ ~~third~~ *x*",
    "code": "``a` | `b```",
    "pipes": "a|b\\|c\\\\|d",
    "formula": "$\\href{https://x.example}{x}$",
    "terminal": "\x1b[2J\x1b]0;title\x07\u202e",
    "separators": "a\u2028b\x85c\x0bd\re",
}


def cells(line: str) -> list[str]:
    """The cells of a line of a table, by the rule of the strictest reader: a pipe behind an odd number of backslashes
    is none."""
    return re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_is_in_a_cell_it_stays_one(text: str) -> None:
    for cell in (text, escape_markdown(text), markdown_code(text)):
        lines = markdown_table(("a", "b"), [(cell, "1")]).splitlines()
        assert len(lines) == 3 and len(cells(lines[2])) == 2, lines
        assert "\x1b" not in lines[2] and "\u202e" not in lines[2]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_escaped_text_takes_effect(text: str) -> None:
    shown = escape_markdown(text)
    assert not re.search(r"<[A-Za-z/!?]", shown)
    bare = re.sub(r"\\.", "", shown)  # what is left unescaped
    assert not re.search(r"[`*$~]|\]\(|\]\[|\]:|(?<!\w)_", bare), shown
    assert len(shown.splitlines()) == 1


def test_what_begins_a_block_is_escaped_and_numbers_and_names_stay() -> None:
    for text in ("# h", "> q", "- a", "+ a", "1. a", "2) a", "---"):
        assert re.match(r"\d*\\", escape_markdown(text)), text
    for text in (
        "-4.30 ± 0.1 ▲",
        "-bmws",
        "< 0.0001",
        "a_b_c 3",
        "x [1, 2] y",
        "a (b=1)",
        "AT&T",
        "5 > 3",
        "real+synth",
    ):
        assert escape_markdown(text) == text
    assert escape_markdown("&lt;b&gt;") == "&amp;lt;b&amp;gt;" and escape_markdown("ends in ]") == "ends in \\]"


def test_code_holds_its_backticks() -> None:
    assert markdown_code("a b") == "`a b`" and markdown_code("a``b`") == "``` a``b` ```"


def test_latex_prints_every_sign() -> None:
    shown = escape_tex("\\input{/etc/x} 100% a_b #1 $y$ ~ ^ & → ± ↓\n\\end{tabular}")
    assert shown == (
        "\\textbackslash{}input\\{/etc/x\\} 100\\% a\\_b \\#1 \\$y\\$ \\textasciitilde{} \\textasciicircum{} \\& → "
        "$\\pm$ $\\downarrow$ \\textbackslash{}end\\{tabular\\}"
    )
    assert escape_tex("seam →0") == "seam $\\to 0$"


def test_a_spreadsheet_computes_nothing() -> None:
    texts = [
        "=1+2",
        "@SUM(A1)",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "\t=1",
        " =1",
        "\x1b[2J\nx",
        "-bmws",
        "-0.30 ± 0.10",
        "plain",
    ]
    rows = list(csv.reader(io.StringIO(csv_table(pd.DataFrame({"name": texts, "value": range(len(texts))})))))[1:]
    assert [row[0] for row in rows] == [
        *("'=1+2", "'@SUM(A1)", "'+cmd|' /C calc'!A0", "'-2+3", "' =1", "' =1", "\\x1b[2J x"),
        *("-bmws", "-0.30 ± 0.10", "plain"),
    ]
    assert [row[1] for row in rows] == [str(number) for number in range(len(texts))]


def make_ablation(name: str) -> AblationTable:
    """Two variants, with `name` wherever a plan or a run says a word."""
    untested = PairedTest(metric="clip_score", first="other", second=name, reason=name)
    scores = [
        VariantScore(variant=variant, metric="clip_score", mean=50.0, spread=None, by_seed={}, test=test)
        for variant, test in ((name, None), ("other", untested))
    ]
    return AblationTable(
        title=name,
        method="fake",
        protocol="small",
        protocol_hash="0" * 16,
        n=3,
        seeds=(0,),
        base=name,
        variants={name: {"key": name}, "other": {}},
        settings={"key": name},
        claims=(),
        unit="condition",
        tests=1,
        scores=scores,
        runs=[],
        notes=[name],
    )


def without_code(page: str) -> str:
    """The page without its code and without what a backslash escapes."""
    return re.sub(r"\\.", "", re.sub(r"(?<![`\\])(`+)(?!`).*?(?<!`)\1(?!`)", "", page))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_an_ablations_files_escape_what_its_plan_names(text: str) -> None:
    files, plain = (ABLATION_TABLES.files(make_ablation(name)) for name in (text, "plain"))
    page, table = files["README.md"], files["table.tex"]
    assert len(page.splitlines()) == len(plain["README.md"].splitlines())
    assert len(table.splitlines()) == len(plain["table.tex"].splitlines())
    assert not re.search(r"<[a-z!]|\]\((?!samples\.png)|\]\[", without_code(page)), page
    assert "\x1b" not in page + table and not re.search(r"(?<!\\textbackslash\{\})\\(?:input|href)", table)


def test_an_audits_names_reach_no_page_as_markup() -> None:
    pair = Pair(
        kind="near",
        first=ImageName(set="train", index=0, id=HOSTILE["another table"]),
        second=ImageName(set="test", index=0, id=HOSTILE["html"]),
        hamming=1,
        cosine=0.1,
        distance=0.1,
        overlap=0.1,
    )
    sets = tuple(
        AuditedSet(name=name, n=1, manifest_sha256="0" * 64, clusters=0, unclustered=1) for name in ("train", "test")
    )
    counts = Counts(first="train", second="test", pairs=dict.fromkeys(KINDS, 0), images=dict.fromkeys(KINDS, 0))
    audit = Audit(
        protocol="small",
        encoder="enc",
        hash="a`<b>x</b>`",
        thresholds=Thresholds(),
        sets=sets,
        counts=(counts,),
        clusters=(),
        pairs=(pair,),
    )
    text = audit_section(audit)
    assert not any(line.startswith("| better") for line in text.splitlines())
    assert "`` a`<b>x</b>` ``" in text and "&lt;script>" in text and "<script" not in text
