"""The photos whose labels look wrong, as one HTML page to look through beside labels.csv."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib import resources

import numpy as np

from flowers.errors import FlowersError
from flowers.judge import page as pages
from flowers.judge.audit import PLANTED, Audit, Issue, Planted
from flowers.judge.figures import printable
from flowers.judge.parts import Photo, Photos, Section, Table, Tile, Words

SHOWN = 240  # photos, the worst: about 5 MB of page; labels.csv lists every one
PAIRS = 10  # mix-ups in the table

TO_DO = (
    "Open labels.csv in a text editor or a spreadsheet. Each line is one of these photos, and its "
    "last column, action, is empty.",
    "Write relabel where the suggestion is right. If it is a third class, correct suggested_label.",
    "Write remove where the photo shows none of the classes, or several.",
    "Write keep where the label is right: the photo is then not asked about again.",
    "Leave the rest empty, and run: flowers train --labels labels.csv. Your photos stay where they "
    "are, as they are.",
)


def page(
    audit: Audit,
    photo: Callable[[str], np.ndarray],
    planted: Planted | None = None,
    *,
    title: str = "Are the labels right?",
) -> str:
    """The whole gallery as one HTML text that needs no other file, no script and no network.

    Args:
        audit: what was found.
        photo: reads the photo of a path: uint8 [H, W, 3]. One that it cannot read (a FlowersError
            or OSError) leaves an empty frame.
        planted: how the audit did on planted errors in these photos, where that was tested.
        title: of the page.
    """
    shown = audit.issues[:SHOWN]
    by_label = Counter(issue.label for issue in shown)
    galleries = [
        _gallery(label, [issue for issue in shown if issue.label == label], audit, photo)
        for label, _ in by_label.most_common()
    ]
    template = pages._environment().from_string(
        resources.files("flowers.judge").joinpath("report.html.jinja").read_text("utf-8")
    )
    html = template.render(
        title=title,
        claim=_claim(audit),
        interval="The surest mistakes come first. It is you who decides.",
        tiles=_tiles(audit, planted),
        sections=[_what_to_do(audit), *galleries, _how(planted)],
    )
    return html.encode("utf-8", "replace").decode("utf-8")  # names that are no Unicode become "?"


def _claim(audit: Audit) -> str:
    count = len(audit.issues)
    if not count:
        return f"No label of {audit.photos:,} photos stands out as wrong"
    return f"{count:,} label{'s' if count > 1 else ''} to look at again, of {audit.photos:,}"


def _tiles(audit: Audit, planted: Planted | None) -> list[Tile]:
    tiles = [
        Tile(
            pages.percent(audit.agreement),
            "agreement",
            "of the labels are what a classifier says that never saw the photo",
        ),
    ]
    if audit.issues:
        found = Counter(issue.label for issue in audit.issues)
        sizes = dict(zip(audit.labels, audit.counts, strict=True))
        label = max(found, key=lambda name: found[name] / sizes[name])
        tiles.append(
            Tile(
                pages.percent(found[label] / sizes[label]),
                f"of {printable(label, 24)}",
                "the class with most doubts",
            )
        )
        (one, other), count = _pairs(audit).most_common(1)[0]
        named = f"{printable(one, 24)}, looks like {printable(other, 24)}"
        tiles.append(Tile(f"{count:,}", named, "the most frequent doubt"))
    if planted:
        tiles.append(
            Tile(
                pages.percent(planted.found_share),
                "of planted errors found",
                "labels that were falsified on purpose, to test this audit",
            )
        )
    return tiles


def _pairs(audit: Audit) -> Counter[tuple[str, str]]:
    return Counter((issue.label, issue.suggested_label) for issue in audit.issues)


def _what_to_do(audit: Audit) -> Section:
    if not audit.issues:
        lead = "There is nothing to do. That does not prove that every label is right."
        return Section("what-to-do", "What to do", lead, ())
    rows = tuple(
        (f"{printable(one, 20)}, looks like {printable(other, 20)}", f"{count:,}")
        for (one, other), count in _pairs(audit).most_common(PAIRS)
    )
    lead = (
        "Some of these labels are wrong, others are right and the photo is unusual. Only a person "
        "can tell."
    )
    if len(audit.issues) > SHOWN:
        lead += f" Shown are the worst {SHOWN}; labels.csv lists all {len(audit.issues):,}."
    return Section(
        "what-to-do",
        "What to do",
        lead,
        (Words(TO_DO, points=True), Table(("Filed as", "Photos"), rows)),
    )


def _gallery(
    label: str, issues: list[Issue], audit: Audit, photo: Callable[[str], np.ndarray]
) -> Section:
    name = printable(label, 24)
    cards = []
    for issue in issues:
        try:
            pixels = photo(issue.path)
        except (FlowersError, OSError):
            pixels = None
        suggested = printable(issue.suggested_label, 24)
        lines = (
            f"looks like {suggested}, {_sure(issue.probability)}",
            f"filed as {name}, {_sure(issue.score)}",
        )
        alt = f"filed as {name}, looks like {suggested}"
        cards.append(Photo(pixels, alt, lines, issue.path, wrong=True))
    number = audit.labels.index(label)
    lead = f"{len(issues):,} of the {audit.counts[number]:,} photos that are filed as {name}."
    return Section(f"label-{number}", f"Filed as {name}", lead, (Photos(tuple(cards)),))


def _sure(probability: float) -> str:
    """A probability without more digits than such a classifier deserves."""
    if probability > 0.99:
        return "over 99\N{NO-BREAK SPACE}%"
    if probability < 0.01:
        return "under 1\N{NO-BREAK SPACE}%"
    return f"{100 * probability:.0f}\N{NO-BREAK SPACE}%"


def _how(planted: Planted | None) -> Section:
    lead = (
        "The photos are dealt into parts. A simple classifier learns from all parts but one and "
        "judges the photos of that one, so that no photo is judged by a classifier that was "
        "taught its label."
    )
    lines = [
        "The percentages are what that classifier gives to the two labels.",
        "How many labels are wrong is estimated by confident learning (Northcutt, Jiang and "
        "Chuang, 2021); the photos shown are as many, those whose label it finds least probable.",
    ]
    if planted:
        lines.append(
            f"As a test, {100 * PLANTED:.0f}\N{NO-BREAK SPACE}% of the labels were replaced by "
            f"others at random. The audit found {planted.found:,} of these {planted.flipped:,} "
            f"(95\N{NO-BREAK SPACE}% interval {pages.between(planted.found_interval)}) and doubted "
            f"{planted.accused:,} of the {planted.clean:,} labels left alone "
            f"({pages.between(planted.accused_interval)}), some of which are wrong."
        )
    return Section("how", "How they were found", lead, (Words(tuple(lines)),))
