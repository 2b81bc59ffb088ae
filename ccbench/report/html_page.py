"""A report as one HTML page that needs no network: style, script and images are in it."""

import base64
import hashlib
import io
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image as PilImage
from scipy.ndimage import binary_erosion

from ccbench.base.environment import package_version
from ccbench.metrics import metric_info
from ccbench.report.plots import Curve, Dot, DotRow, draw_dots, draw_losses
from ccbench.report.report_content import Case, Report
from ccbench.runs.record import RunRecord, count_failures
from ccbench.tables.format import (
    METRIC_GROUPS,
    format_count,
    format_mean,
    format_seconds,
    format_value,
    interval_notes,
    metric_heading,
)
from ccbench.tables.places import places
from ccbench.tables.seeds import summarise_scores
from ccbench.types import Image, Mask, Score

_SIDE = 256  # pixels; larger images are made smaller for the page
_COLOURS = 8
_NAMED = 3  # methods of a title; of many a phone would show nothing else
_OUTLINE = (0, 255, 140, 255)
_SCORED_ALONG = {"colour": -1, "control": True, "ranked": False, "seeds": "", "memorised": False,
                 **dict.fromkeys(("training", "image", "parameters"), "-"),
                 **dict.fromkeys(("training_seconds", "image_seconds", "parameters_count"), 0)}  # fmt: skip
"""A control of a scorecard: a line of the score table without runs."""


def render_report(report: Report, title: str | None = None) -> str:
    """Return the page; its title names the protocol and the methods unless one is given."""
    loader = Environment(
        loader=PackageLoader("ccbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = _rows(report)
    _mark_places(report, rows)
    here = files("ccbench.report").joinpath("templates")
    style, script = (here.joinpath(f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return loader.get_template("report.html").render(
        title=title or _title(report),
        protocol=report.protocol,
        n=report.n,
        public=report.public,
        version=package_version("ccbench"),
        policy=_policy(style, script),
        style=style,
        script=script,
        groups=[{"name": name, "title": heading or "Main"} for name, heading in METRIC_GROUPS.items()],
        metrics=[_metric(name) for name in report.metrics()],
        rows=rows,
        ranked=", ".join(map(str, report.protocol.seeds)),
        plots=[{"metric": _metric(name), "svg": _dots(report, name)} for name in report.metrics() if _plotted(name)],
        losses=_losses(report),
        names=[{"name": entry.name, "colour": number % _COLOURS} for number, entry in enumerate(report.entries)],
        gallery=[
            {
                "id": shown.id,
                "prompt": shown.prompt,
                "real": None if shown.real is None else _png(shown.real),
                "outline": _outline(shown.mask),
                "synthetic": [{"method": name, "src": _png(image)} for name, image in shown.synthetic.items()],
            }
            for shown in report.gallery
        ],
        worst=_cases(report.worst),
        nearest=_cases(report.nearest),
        failures=_failures(report),
        provenance=[_provenance(name, run.folder.record) for name, run in report.runs()],
    )


def _policy(style: str, script: str) -> str:
    """Return the page's Content-Security-Policy: its own style and script by hash, images in it, nothing else."""
    styled, scripted = (_policy_hash(text) for text in (style, script))
    return (
        f"default-src 'none'; style-src {styled}; script-src {scripted}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _policy_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _title(report: Report) -> str:
    names = [entry.name for entry in report.entries]
    others = f" and {len(names) - _NAMED} others" if len(names) > _NAMED + 1 else ""
    return f"{report.protocol.name}: {', '.join(names[:_NAMED] if others else names)}{others}"


def _metric(name: str) -> dict[str, Any]:
    info = metric_info(name)
    return {
        "name": name,
        "heading": metric_heading(name),
        "title": info.title,
        "group": info.group,
        "direction": info.direction,
    }


def _plotted(metric: str) -> bool:
    return metric_info(metric).group in METRIC_GROUPS


def _rows(report: Report) -> list[dict[str, Any]]:
    """Return the lines of the score table: the methods, then the controls that were scored along with the first."""
    rows = []
    for number, entry in enumerate(report.entries):
        cards = [run.card for run in entry.runs]
        cells = {}
        for metric in report.metrics():
            scores = [score for card in cards for score in card.scores if score.metric == metric]
            cells[metric] = _cell(metric, scores)
        records = [run.folder.record for run in entry.runs]
        cost, control = records[0].cost, bool(records[0].method and records[0].method.control)
        seeds = {record.seed for record in records}
        rows.append(
            {
                "name": entry.name,
                "colour": number % _COLOURS,
                "control": control,
                "ranked": not control and seeds >= set(report.protocol.seeds),
                "seeds": ", ".join(str(record.seed) for record in records),
                "cells": cells,
                "training": "-" if not cost.train_seconds else format_seconds(cost.train_seconds),
                "training_seconds": cost.train_seconds or 0,
                "image": "-" if cost.seconds_per_image is None else format_seconds(cost.seconds_per_image),
                "image_seconds": cost.seconds_per_image or 0,
                "parameters": format_count(cost.parameters_trained) if cost.parameters_trained else "-",
                "parameters_count": cost.parameters_trained or 0,
                "memorised": any(card.notes.memorised for card in cards),
            }
        )
    for name, scores in report.controls.items():
        held = {score.metric: [score] for score in scores}
        cells = {metric: _cell(metric, held.get(metric, [])) for metric in report.metrics()}
        rows.append({**_SCORED_ALONG, "name": name, "cells": cells})
    return rows


def _mark_places(report: Report, rows: list[dict[str, Any]]) -> None:
    """Put the place of each cell of the score table into it, by the rule of boards."""
    ranked = [row["ranked"] for row in rows]
    for metric in report.metrics():
        cells = [row["cells"][metric] for row in rows]
        for cell, place in zip(cells, places(metric, [cell["mean"] for cell in cells], ranked), strict=True):
            cell["mark"] = {1: "best", 2: "second"}.get(place, "")


def _cell(metric: str, scores: Sequence[Score]) -> dict[str, Any]:
    """Return the mean over the seeds as shown and as sorted by, with every seed's interval for the pointer."""
    summary = summarise_scores(scores)
    if summary is None:
        reasons = [score.reason for score in scores if score.reason]
        return {"mean": None, "text": "-", "sort": "", "hint": reasons[0] if reasons else "not measured"}
    spans = [_span(metric, score) for score in scores if score.interval]
    spans += interval_notes([(f"{score.metric}", score.no_interval) for score in scores])
    counts = f"n {scores[0].n}" + ("" if scores[0].n_real is None else f" x {scores[0].n_real}")
    return {
        "mean": summary.mean,
        "text": format_mean(metric, summary.mean, summary.spread),
        "sort": repr(summary.mean),
        "hint": "; ".join([*spans, counts, scores[0].signature]),
    }


def _span(metric: str, score: Score) -> str:
    ends = (score.interval.low, score.interval.high) if score.interval else ()
    return f"{format_value(metric, score.value)} ({' to '.join(format_value(metric, end) for end in ends)})"


def _dots(report: Report, metric: str) -> str:
    rows = []
    for number, entry in enumerate(report.entries):
        scores = [run.scores[metric] for run in entry.runs if metric in run.scores]
        dots = [
            Dot(s.value, s.interval.low if s.interval else s.value, s.interval.high if s.interval else s.value)
            for s in scores
            if s.value is not None
        ]
        if dots:
            rows.append(DotRow(entry.name, number % _COLOURS, dots))
    controls = [
        (name, score.value)
        for name, scores in report.controls.items()
        for score in scores
        if score.metric == metric and score.value is not None
    ]
    return draw_dots(metric, rows, controls)


def _losses(report: Report) -> str:
    colours = {entry.name: number % _COLOURS for number, entry in enumerate(report.entries)}
    curves = [
        Curve(f"{name}, seed {run.seed}", colours[name], run.folder.record.training.loss)
        for name, run in report.runs()
        if run.folder.record.training and run.folder.record.training.loss
    ]
    return draw_losses(curves) if curves else ""


def _cases(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return the cases by method and rule, in their order."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for case in cases:
        value = f"{case.value:.3f}" if case.mask is None else format_value(case.rule, case.value)
        shown = {
            "id": case.id,
            "prompt": case.prompt,
            "value": value,
            "image": _png(case.image),
            "other": None if case.other is None else _png(case.other),
            "outline": None if case.mask is None else _outline(case.mask),
        }
        groups.setdefault((case.method, case.rule), []).append(shown)
    return [{"method": method, "rule": rule, "cases": held} for (method, rule), held in groups.items()]


def _failures(report: Report) -> list[dict[str, Any]]:
    rows = []
    for name, run in report.runs():
        record, card = run.folder.record, run.card
        counts = count_failures(record, card.failures)
        rows.append(
            {
                "run": record.run_id,
                "method": name,
                "seed": record.seed,
                "failures": ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "none",
                "reasons": [f"{score.metric}: {score.reason}" for score in card.scores if score.reason],
                "board": "; ".join(record.not_comparable) or "as its protocol says",
                "memorisation": card.notes.memorisation or "not measured",
            }
        )
    return rows


def _provenance(name: str, record: RunRecord) -> dict[str, Any]:
    method, backbone, training, conditions = record.method, record.backbone, record.training, record.conditions
    machine = [str(record.env[key]) for key in ("device", "device_name", "platform") if record.env.get(key)]
    packages = record.env.get("packages") or {}
    facts = {
        "method": f"{method.title} ({method.distribution} {method.version})" if method else name,
        "licence": method.licence if method else "",
        "code commit": f"{method.commit}{' and changes' if method.dirty else ''}" if method and method.commit else "",
        "weights": method.weights_sha256 if method else "",
        "backbone": f"{backbone.kind}, {backbone.weights_sha256}" if backbone else "",
        "protocol": f"{record.protocol} {record.protocol_hash}",
        "configuration": f"{record.config_hash}, changed: {record.config.get('overrides') or 'nothing'}",
        "test conditions": f"{conditions.n}, {conditions.manifest_sha256}" if conditions else "",
        "trained on": f"{training.pairs.n}, {training.pairs.manifest_sha256}" if training else "",
        "machine": ", ".join(machine),
        "packages": ", ".join(f"{key} {value}" for key, value in packages.items()),
        "started, finished": f"{record.started}, {record.finished or '-'}",
    }
    shown = [(fact, value) for fact, value in facts.items() if value]
    return {"run": record.run_id, "seed": record.seed, "method": name, "facts": shown}


def _png(image: Image) -> str:
    """Return an image as the address of a PNG in the page."""
    picture = PilImage.fromarray(image)
    if max(picture.size) > _SIDE:
        picture.thumbnail((_SIDE, _SIDE), PilImage.Resampling.LANCZOS)
    return _address(picture)


def _outline(mask: Mask) -> str:
    """Return a mask's edge as the address of a PNG that is clear elsewhere."""
    rgba = np.zeros((*mask.shape, 4), dtype=np.uint8)
    rgba[mask & ~binary_erosion(mask)] = _OUTLINE
    picture = PilImage.fromarray(rgba)
    if max(picture.size) > _SIDE:
        picture.thumbnail((_SIDE, _SIDE), PilImage.Resampling.NEAREST)
    return _address(picture)


def _address(picture: PilImage.Image) -> str:
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
