"""The report's sections on how far an answer can be trusted, from the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from flowers.judge import figures_trust
from flowers.judge.calibration import Bin, Calibration, Sureness
from flowers.judge.figures import printable
from flowers.judge.page import between, percent
from flowers.judge.parts import Picture, Section, Table, Words
from flowers.judge.refusal import Refusal
from flowers.judge.sets import SetsReport


def sections(
    calibration: Calibration | None = None,
    sets: SetsReport | None = None,
    refusal: Refusal | None = None,
) -> tuple[Section, ...]:
    """The sections of what was measured, in the order to be read.

    Args:
        calibration: how well probabilities agree with what is so.
        sets: how often the lists of names hold the truth.
        refusal: how many photos of other things are refused.
    """
    found = [
        calibration and how_sure(calibration),
        sets and one_or_the_other(sets),
        refusal and none_of_these(refusal),
    ]
    return tuple(section for section in found if section)


def how_sure(calibration: Calibration) -> Section:
    """The reliability diagram and what is left of the error."""
    before, after = calibration.before, calibration.after
    lead = (
        "A model that says 90 % should be right nine times in ten. The closer a line runs to the "
        "dotted one, the better its percentages can be believed; below it, the model is too sure. "
        "Calibration turned one knob, the temperature, until they fitted photos it had not "
        "learned from. That changes how sure it is, never what it says."
    )
    alt = (
        "Reliability diagram: how often the model was right against how sure it was. As trained, "
        f"its percentages are off by {_points(before.ece)} on average; calibrated, by "
        f"{_points(after.ece)}."
    )
    caption = (
        "Pale bars: where the share could lie by chance (95 %). Bins of fewer than "
        f"{figures_trust.FEW} photos are left out; the larger a mark, the more photos it rests on."
    )
    table = Table(
        ("", "As trained", "Calibrated"),
        (
            ("Off by, on average (ECE)", _ece(before), _ece(after)),
            ("Surprise (NLL)", *(_with_interval(s.nll, s.nll_interval) for s in (before, after))),
            ("Brier", *(_with_interval(s.brier, s.brier_interval) for s in (before, after))),
            ("How sure, on average", percent(before.confidence), percent(after.confidence)),
            ("How often right", percent(before.accuracy), percent(after.accuracy)),
        ),
    )
    words = Words(
        (
            _verdict(calibration),
            "ECE, the expected calibration error, is the mean distance between how sure the model "
            f"was and how often it was right, in {len(after.bins)} groups of photos. NLL is 0 for "
            "a model that is sure and right and grows without end for one that is sure and wrong. "
            "Brier is the squared error of the probabilities, from 0 to 2. Lower is better in "
            "all three. The small figures are 95 % bootstrap intervals.",
        )
    )
    picture = Picture(diagram(calibration), alt, caption)
    return Section("sure", "How sure is it?", lead, (picture, words, table))


def diagram(calibration: Calibration) -> Figure:
    """How sure the model was against how often it was right, as trained and calibrated."""
    before, after = calibration.before, calibration.after
    intervals = [part.accuracy_interval for part in after.bins]
    return figures_trust.reliability(
        [part.low for part in after.bins] + [after.bins[-1].high],
        _columns(before.bins),
        _columns(after.bins),
        [(found.low, found.high) if found else None for found in intervals],
    )


def one_or_the_other(sets: SetsReport) -> Section:
    """How long the lists of names are, and how often they hold the truth."""
    common = [part for part in sets.common if len(part.names) > 1]
    title = _title(common[0].names) if common else "One name or several"
    single = sets.sizes[0]
    lead = (
        "When one name is not enough, it gives several: a prediction set holds as many names as "
        f"it takes for the truth to be among them in {_whole(sets.asked)} of photos. How many "
        "that is was learned from photos kept apart; the method is called conformal prediction."
    )
    figure = figures_trust.set_sizes(sets.sizes, sets.held_by_size)
    alt = (
        f"{single:,} of {sets.photos:,} photos get one name. The truth is among the names for "
        f"{sets.held:,} photos."
    )
    words = Words(
        (
            f"The truth was among the names for {percent(sets.coverage)} of {sets.photos:,} test "
            f"photos (likely between {between(sets.coverage_interval)}; asked for were "
            f"{_whole(sets.asked)}). {_mean_size(sets)}",
            "The promise holds on average over all photos, not for each class by itself, and for "
            "photos like those it was learned from.",
        )
    )
    parts: list = [Picture(figure, alt), words]
    if common:
        rows = tuple((_either(part.names), f"{part.photos:,}", f"{part.held:,}") for part in common)
        parts.append(Table(("It said", "Photos", "Truth among them"), rows))
    return Section("sets", title, lead, tuple(parts))


def none_of_these(refusal: Refusal) -> Section:
    """Novelty of photos of the classes and, when measured, of other things."""
    lead = (
        "Every photo gets a probability for each class, even a photo of a car, so a probability "
        "cannot say that a photo shows none of them. Novelty can: it measures how far a photo "
        "lies from all training photos in what the network sees. Beyond the line, the answer is "
        "“none of these”."
    )
    figure = figures_trust.novelty(
        refusal.edges, refusal.flower_counts, refusal.other_counts, refusal.threshold
    )
    alt = (
        f"Histogram of novelty. {percent(refusal.kept)} of the photos of the classes lie below "
        f"the line at {refusal.threshold:.2f}"
    )
    kept = (
        f"{percent(refusal.kept)} of {refusal.flowers:,} test photos of the classes are taken for "
        f"what they are (likely between {between(refusal.kept_interval)}); the others are refused "
        "wrongly. The line was drawn on other photos of the classes."
    )
    if not refusal.others:
        lines = (
            kept,
            "How many photos of other things are refused was not measured: name a folder of such "
            "photos to find out.",
        )
        return Section("none", "None of these", lead, (Picture(figure, alt + "."), Words(lines)))
    alt += f", {percent(refusal.accepted)} of the photos of other things do too."
    lines = (
        f"{percent(1 - refusal.accepted)} of {refusal.others:,} photos of other things are "
        f"refused; {percent(refusal.accepted)} slip through (likely between "
        f"{between(refusal.accepted_interval)}).",
        kept,
        f"Of one photo of each kind, the other thing has the higher novelty in "
        f"{percent(refusal.auroc)} of cases ({between(refusal.auroc_interval)}). That is the "
        "AUROC: 50\N{NO-BREAK SPACE}% would be guessing.",
        "No photo of another thing was used to learn what is usual. How many are refused depends "
        "on what they show: what looks like a class is hardest.",
    )
    caption = "The last bar on the right also holds everything beyond it."
    return Section("none", "None of these", lead, (Picture(figure, alt, caption), Words(lines)))


def _verdict(calibration: Calibration) -> str:
    before, after = calibration.before, calibration.after
    gap = before.confidence - before.accuracy
    was = "too sure of itself" if gap > 0 else "less sure than it could be"
    return (
        f"As trained, the model was {was}: its percentages were off by {_points(before.ece)} on "
        f"average. Calibrated, they are off by {_points(after.ece)}. Even perfect percentages "
        f"would seem off by {_points(after.ece_of_chance)} on {calibration.photos:,} photos, by "
        f"chance alone. The temperature is {calibration.temperature:.2f}: above 1 makes a model "
        "less sure, below 1 surer."
    )


def _columns(bins: Sequence[Bin]) -> figures_trust.Bins:
    return (
        [part.photos for part in bins],
        [np.nan if part.confidence is None else part.confidence for part in bins],
        [np.nan if part.accuracy is None else part.accuracy for part in bins],
    )


def _ece(sureness: Sureness) -> tuple[str, str]:
    interval = sureness.ece_interval
    return _points(sureness.ece), f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _with_interval(value: float, interval) -> tuple[str, str]:
    return f"{value:.3f}", f"{interval.low:.3f} to {interval.high:.3f}"


def _whole(share: float) -> str:
    return f"{100 * share:g}\N{NO-BREAK SPACE}%"


def _mean_size(sets: SetsReport) -> str:
    if sets.mean_size == 1:
        return "One name was always enough: it is right more often than was asked for."
    several = sets.photos - sets.sizes[0]
    return f"{several:,} photos get more than one name; on average there are {sets.mean_size:.2f}."


def _title(names: Sequence[str]) -> str:
    text = _either(names)
    return text[:1].upper() + text[1:]


def _either(names: Sequence[str]) -> str:
    short = [printable(name, 24) for name in names]
    return " or ".join(filter(None, [", ".join(short[:-1]), *short[-1:]]))
