"""One self-contained report.html: the numbers of a Report, its figures and its worst mistakes.

What a page is made of stands in judge/parts.py; the template draws it.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import resources

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from flowers.errors import FlowersError
from flowers.judge import figures
from flowers.judge.parts import Facts, Photo, Photos, Picture, Section, Table, Tile, Words
from flowers.judge.report import ClassScore, Interval, Report

SHOWN_MISTAKES = 12
SHOWN_CLASSES = 24  # in a figure; the table has them all
PHOTO_SIDE = 288  # px of a photo on the page: sharp on a phone, about 15 kB

UNKNOWN = (
    "How it does on photos from elsewhere: another camera, another country, drawings, herbaria. "
    "The test photos come from the same source as those it learned from.",
    "What it does with things that belong to none of its classes. It must name one of them "
    "whatever it sees, and a high probability does not mean that the photo shows one at all.",
    "Whether every label is right. A photo filed under the wrong name counts as a mistake here.",
)


def page(
    report: Report,
    history: pd.DataFrame | None,
    settings: Mapping[str, object],
    photo: Callable[[str], np.ndarray],
    *,
    title: str = "How good is it?",
    sections: Sequence[Section] = (),
    tiles: Sequence[Tile] = (),
    unknown: Sequence[str] = UNKNOWN,
) -> str:
    """The whole report as one HTML text that needs no other file, no script and no network.

    Args:
        report: what `evaluate` measured.
        history: one row an epoch, as `figures.learning_curves` takes it; None or empty when the
            model was not trained here.
        settings: how it was measured, in the order to be shown: texts, numbers, lists, or a dict
            of them. The key "command" is shown as a command to copy.
        photo: reads the photo of a path in the report: uint8 [H, W, 3]. A photo that it cannot
            read (a FlowersError or OSError) leaves an empty frame.
        title: of the page.
        sections: shown after those of the report and before how it was measured.
        tiles: added to the strip of numbers.
        unknown: what the report does not say, one sentence or two a point.
    """
    shown = [_confusion(report), _mistakes(report, photo)]
    if history is not None and len(history):
        shown.append(_learning(history))
    shown += [_classes(report), *sections, _measured(report, settings), _unknown(report, unknown)]
    template = _environment().from_string(
        resources.files("flowers.judge").joinpath("report.html.jinja").read_text("utf-8")
    )
    claim, interval = headline(report).split(" (")
    html = template.render(
        title=title,
        claim=claim,
        interval=f"({interval}",
        tiles=[*_tiles(report), *tiles],
        sections=shown,
    )
    return html.encode("utf-8", "replace").decode("utf-8")  # names that are no Unicode become "?"


def headline(report: Report) -> str:
    """The report in one sentence."""
    return (
        f"Right on {percent(report.accuracy)} of {report.photos:,} photos it had never seen "
        f"(95\N{NO-BREAK SPACE}% interval {between(report.accuracy_interval)})"
    )


def percent(share: float) -> str:
    """A share as "93.5 %", with a space that does not break."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def between(interval: Interval) -> str:
    """An interval of a share as "91.1 to 95.3 %"."""
    return f"{100 * interval.low:.1f} to {percent(interval.high)}"


def _tiles(report: Report) -> list[Tile]:
    tiles = [
        Tile(
            percent(report.accuracy), "right", f"likely between {between(report.accuracy_interval)}"
        ),
        Tile(
            f"{report.photos - report.correct:,}",
            "mistakes",
            f"among {report.photos:,} photos kept aside for this test",
        ),
    ]
    found = [score for score in report.classes if score.recall is not None]
    weakest = min(found, key=lambda score: score.recall)
    tiles.append(
        Tile(
            percent(weakest.recall),
            f"of {_short(weakest.label)}",
            "the class it finds least often",
        )
    )
    if len(report.labels) > 2:
        tiles.append(
            Tile(
                percent(report.top2_accuracy), "in two guesses", "the truth is its first or second"
            )
        )
    even = np.log(len(report.labels))
    tiles += [
        Tile(
            f"{report.macro_f1:.2f}",
            "macro F1",
            "every class counts the same, both kinds of error count; 1 is perfect",
        ),
        Tile(
            f"{abs(report.nll):.2f}",
            "surprise (NLL)",
            f"0: sure and right; {even:.2f}: guessing; more: sure and wrong",
        ),
    ]
    return tiles


def _confusion(report: Report) -> Section:
    shown = report.confused[:6]
    names = [f"{_short(pair.truth)} taken for {_short(pair.predicted)}" for pair in shown]
    often = ", ".join(f"{name} {pair.count:,}" for name, pair in zip(names, shown, strict=True))
    lead = (
        "Each row is what the photos show, each column what the model said. Blue is right, orange "
        "is wrong; the deeper the colour, the larger the share of its row."
    )
    alt = (
        f"Confusion matrix of {len(report.labels)} classes. "
        f"{'Most frequent mix-ups: ' + often if often else 'Nothing is mixed up'}."
    )
    parts = [Picture(figures.confusion(np.array(report.confusion), report.labels), alt)]
    if shown:
        rows = tuple((name, f"{pair.count:,}") for name, pair in zip(names, shown, strict=True))
        parts.append(Table(("Most frequent mix-ups", "Photos"), rows))
    return Section("mix-ups", "What it mixes up", lead, tuple(parts))


def _mistakes(report: Report, photo: Callable[[str], np.ndarray]) -> Section:
    shown = report.mistakes[:SHOWN_MISTAKES]
    wrong = report.photos - report.correct
    if not shown:
        lead = "It made none on these photos. That does not mean that it makes none."
        return Section("mistakes", "Its mistakes", lead, ())
    lead = "The wrong answers it was surest of come first."
    if len(shown) < wrong:
        lead += f" Shown are {len(shown)} of {wrong:,}; predictions.csv lists every one."
    photos = []
    for mistake in shown:
        try:
            pixels = photo(mistake.path)
        except (FlowersError, OSError):
            pixels = None
        lines = (
            f"said {_short(mistake.predicted)}, {percent(mistake.probability)}",
            f"it is {_short(mistake.truth)}",
        )
        alt = f"{_short(mistake.truth)}, taken for {_short(mistake.predicted)}"
        photos.append(Photo(pixels, alt, lines, mistake.path, wrong=True))
    return Section("mistakes", "Its surest mistakes", lead, (Photos(tuple(photos)),))


def _learning(history: pd.DataFrame) -> Section:
    best = history["val_accuracy"].max()
    lead = (
        "An epoch is one pass over the training photos. The blue line is measured on photos held "
        "out of training; where it stops rising, more training teaches nothing that lasts. "
        "Orange may lie below blue: training photos are distorted on purpose to make them harder."
    )
    alt = (
        f"Accuracy and loss over {len(history)} epochs. The best accuracy on photos held out of "
        f"training is {percent(best)}."
    )
    caption = "Loss is the error that training reduces; lower is better."
    picture = Picture(figures.learning_curves(history), alt, caption)
    return Section("learning", "How it learned", lead, (picture,))


def _classes(report: Report) -> Section:
    def cell(value: float | None, interval: Interval | None) -> str | tuple[str, str]:
        if value is None or interval is None:
            return "none"
        return percent(value), between(interval)

    rows, scores = [], report.classes
    for score in scores:
        found = cell(score.recall, score.recall_interval)
        right = cell(score.precision, score.precision_interval)
        f1 = "none" if score.f1 is None else f"{score.f1:.2f}"
        if score.f1_interval is not None:
            f1 = (f1, f"{score.f1_interval.low:.2f} to {score.f1_interval.high:.2f}")
        rows.append(((_short(score.label), f"{score.photos:,} photos"), found, right, f1))
    lead = (
        "Found (recall): of the photos of a class, how many it named. Trusted (precision): when "
        "it named the class, how often it was right. F1 is high only when both are. The small "
        "figures are 95 % intervals: with few photos they are wide."
    )
    table = Table(("Class", "Found", "Trusted", "F1"), tuple(rows))
    return Section("classes", "Class by class", lead, (_found(scores), table))


def _found(scores: Sequence[ClassScore]) -> Picture:
    """The share of each class that was found; of many classes, those found least often."""
    caption = ""
    if len(scores) > SHOWN_CLASSES:
        known = [score for score in scores if score.recall is not None]
        scores = sorted(known, key=lambda score: score.recall)[:SHOWN_CLASSES]
        caption = f"The {len(scores)} classes it finds least often."
    intervals = [score.recall_interval for score in scores]
    figure = figures.per_class(
        [score.label for score in scores],
        [score.recall for score in scores],
        [interval and interval.low for interval in intervals],
        [interval and interval.high for interval in intervals],
    )
    alt = "Share found of each class: " + ", ".join(
        f"{_short(score.label)} {'no photos' if score.recall is None else percent(score.recall)}"
        for score in scores
    )
    return Picture(figure, alt, caption)


def _measured(report: Report, settings: Mapping[str, object]) -> Section:
    facts = []
    for name, value in settings.items():
        if name == "command":
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {part}" for key, part in value.items())
        elif isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        facts.append((str(name), str(value)))
    lead = (
        "The figures come from photos that were set aside before training and looked at once, at "
        "the end. The intervals say how far chance alone could move them: Wilson's for shares, "
        "1,000 bootstrap draws for F1."
    )
    part = Facts(tuple(facts), str(settings.get("command", "")))
    return Section("measured", "How it was measured", lead, (part,))


def _unknown(report: Report, unknown: Sequence[str]) -> Section:
    few = [_short(score.label) for score in report.classes if score.photos < 30]
    names = ", ".join(few[:8]) + (" and more" if few[8:] else "")
    lines = list(unknown)
    if few:
        lines.append(
            f"How well it knows {names}: with fewer than 30 test photos of a class, its figures "
            "are rough."
        )
    lead = "A test answers only what it asks. It did not ask:"
    return Section("unknown", "What is not known", lead, (Words(tuple(lines), points=True),))


def _short(label: str) -> str:
    """A class's name, at most as long as fits beside a number on a phone."""
    return figures.printable(label, 24)


def _environment() -> jinja2.Environment:
    """Everything is escaped: names of files and classes come from anywhere."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"svg": _svg, "jpeg": _jpeg, "printable": figures.printable}
    return environment


def _svg(figure: Figure) -> str:
    """A figure as a data address. As an image, its parts cannot clash with the page's.

    Text stays text, in the reader's fonts, which may know letters that ours do not.
    """
    buffer = io.StringIO()
    look = {"svg.fonttype": "none", "svg.hashsalt": "flowers"}
    with matplotlib.rc_context(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _address("image/svg+xml", buffer.getvalue().encode("utf-8"))


def _jpeg(pixels: np.ndarray) -> str:
    """A photo as the data address of a small JPEG."""
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return _address("image/jpeg", buffer.getvalue())


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
