"""Two sections of the report: what the model looks at, and which photos it finds similar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import keras
import numpy as np

from flowers.errors import FlowersError
from flowers.judge import explain, figures, figures_explain
from flowers.judge.explain import Explanation
from flowers.judge.faithfulness import Faithful, Gain
from flowers.judge.page import percent
from flowers.judge.parts import Photo, Photos, Picture, Section, Table, Words
from flowers.judge.similar import Similar


def choose(
    truth: np.ndarray, probabilities: np.ndarray, right: int = 7, wrong: int = 6
) -> np.ndarray:
    """Which photos to show: right answers of ordinary sureness, then the surest mistakes.

    Of each class in turn the right answer whose probability is the median is taken, so that none
    is picked for its looks.

    Args:
        truth: int [N], the classes.
        probabilities: float [N, C].
        right: how many right answers, fewer where there are fewer; `looks_at` draws the first
            one large.
        wrong: how many mistakes.

    Returns:
        int [n], n at most right + wrong: rows of `truth`.
    """
    predicted, surest = probabilities.argmax(1), probabilities.max(1)
    correct = predicted == truth
    queues = []
    for label in np.unique(truth[correct]):
        rows = np.flatnonzero(correct & (truth == label))
        order = rows[np.argsort(surest[rows], kind="stable")]
        middle = len(order) // 2
        far = np.argsort(np.abs(np.arange(len(order)) - middle), kind="stable")
        queues.append(order[far][:right])
    turns = [queue[turn] for turn in range(right) for queue in queues if turn < len(queue)]
    mistakes = np.flatnonzero(~correct)
    mistakes = mistakes[np.argsort(-surest[mistakes], kind="stable")][:wrong]
    return np.array([*turns[:right], *mistakes], dtype=int)


def looks_at(
    model: keras.Model,
    photos: np.ndarray,
    truth: np.ndarray,
    labels: Sequence[str],
    paths: Sequence[str],
    measured: Faithful | None = None,
) -> Section:
    """The section "What it looks at": overlays of some photos, and whether they can be believed.

    Args:
        model: the classifier.
        photos: uint8 [N, S, S, 3], a dozen or so, as `choose` chose them.
        truth: int [N], their classes.
        labels: names of the classes.
        paths: N texts that name the photos.
        measured: what `faithfulness.faithful` gave on many photos.

    Raises:
        InputError: see `explain.heat_model`.
    """
    said = explain.explain_all(model, photos)
    wrong = np.array([found.label for found in said]) != truth
    parts: list[Picture | Photos | Table | Words] = []
    if not wrong.all():
        parts.append(_example(photos, said, int(np.flatnonzero(~wrong)[0]), labels))
    if measured is not None:
        parts.append(_evidence(measured))
    rows = np.flatnonzero(~wrong)[1:]  # the first is the example
    if len(rows):
        pairs = (_right(photos[n], said[n], labels, paths[n]) for n in rows)
        parts.append(Photos(tuple(chain.from_iterable(pairs))))
    mistakes = np.flatnonzero(wrong)
    if len(mistakes):
        due = explain.explain_all(model, photos[mistakes], truth[mistakes])
        pairs = (
            _wrong(photos[n], said[n], other, labels, paths[n])
            for n, other in zip(mistakes, due, strict=True)
        )
        parts.append(Photos(tuple(chain.from_iterable(pairs))))
    lead = (
        "A heat map colours the places that speak for an answer (Grad-CAM): yellow most, violet a "
        "little, grey nothing; the photo itself is shown in grey, so that all colour is heat. "
        "Colours compare places within one photo, not two photos. "
    )
    if len(mistakes):
        lead += "Of a mistake there are two maps: one for what the model said, one for the truth."
    parts.append(Words(_believe(measured, said[0].heat.shape)))
    return Section("looks-at", "What it looks at", lead.strip(), tuple(parts))


def alike(
    similar: Similar,
    features: np.ndarray,
    photos: np.ndarray,
    names: Sequence[str],
    training_labels: Sequence[str],
    photo: Callable[[str], np.ndarray],
    *,
    agreement: float | None = None,
    k: int = 5,
) -> Section:
    """The section "Photos it finds similar": some photos, each with its nearest training photos.

    Args:
        similar: the training photos.
        features: float [Q, D], pooled features of the photos to show.
        photos: uint8 [Q, S, S, 3].
        names: Q class names, what the photos show.
        training_labels: class names of the training photos, in the order of `similar.paths`.
        photo: reads the training photo of a path: uint8 [H, W, 3]. One that it cannot read leaves
            an empty frame.
        agreement: what `similar.agreement` gave on many photos, 0 to 1.
        k: how many similar photos of each.
    """
    indices, similarities = similar.query(features, k)
    parts: list[Photos | Words] = []
    for pixels, name, found, alikeness in zip(photos, names, indices, similarities, strict=True):
        row = [
            Photo(pixels, f"the photo asked about: {_short(name)}", ("this photo", _short(name)))
        ]
        for number, value in zip(found, alikeness, strict=True):
            path, label = similar.paths[number], training_labels[number]
            try:
                there = photo(path)
            except (FlowersError, OSError):
                there = None
            lines = (_short(label), f"similarity {value:.2f}")
            row.append(Photo(there, f"similar: {_short(label)}", lines, wrong=label != name))
        parts.append(Photos(tuple(row)))
    lead = (
        "Each group begins with a photo it had not seen, followed by the photos it learned from "
        "whose inner description, the features, is most alike: 1 is the same, 0 unrelated. "
        "Orange names are of another class."
    )
    if agreement is not None:
        lead += (
            f" Over all test photos, {percent(agreement)} of the {k} most similar show the same "
            "class."
        )
    return Section("similar", "Photos it finds similar", lead, tuple(parts))


def _example(
    photos: np.ndarray, said: Sequence[Explanation], number: int, labels: Sequence[str]
) -> Picture:
    found = said[number]
    name = _short(labels[found.label])
    figure = figures_explain.explanation(photos[number], found.heat, name, found.probability)
    alt = f"A photo of {name}, and the same photo with a heat map. {_place(found.heat)}."
    return Picture(figure, alt, "How to read the maps.")


def _right(
    photo: np.ndarray, found: Explanation, labels: Sequence[str], path: str
) -> tuple[Photo, Photo]:
    """The photo, and what speaks for the right answer."""
    name = _short(labels[found.label])
    said = f"said with {percent(found.probability)}"
    return (
        Photo(photo, f"a photo of {name}", (f"it is {name}",), path),
        _map(photo, found, labels, said),
    )


def _wrong(
    photo: np.ndarray, said: Explanation, due: Explanation, labels: Sequence[str], path: str
) -> tuple[Photo, Photo]:
    """What speaks for the wrong answer, and what for the right one."""
    mistaken = _map(photo, said, labels, f"said with {percent(said.probability)}")
    truth = _map(photo, due, labels, f"the truth, given {percent(due.probability)}")
    return replace(mistaken, name=path, wrong=True), replace(truth, name=path)


def _map(photo: np.ndarray, found: Explanation, labels: Sequence[str], line: str) -> Photo:
    name = _short(labels[found.label])
    alt = f"Heat map for {name}. {_place(found.heat)}."
    return Photo(figures_explain.overlay(photo, found.heat), alt, (f"speaks for {name}", line))


def _evidence(measured: Faithful) -> Picture:
    deletion, insertion = measured.deletion, measured.insertion
    without, by_chance = percent(deletion.maps_area), percent(deletion.chance_area)
    alt = (
        "Mean probability of the answer. Turning the hottest places grey first leaves "
        f"{without} on average, those of the map moved elsewhere {by_chance}. Bringing them back "
        f"first gives {percent(insertion.maps_area)}, moved {percent(insertion.chance_area)}."
    )
    caption = f"{measured.photos} test photos. Above, lower is better; below, higher is better."
    return Picture(figures_explain.faithfulness(measured), alt, caption)


def _believe(measured: Faithful | None, side: Sequence[int]) -> tuple[str, ...]:
    """What the maps are worth, in words that follow the figures wherever they go."""
    warning = (
        "A map says where the evidence lies, not what it is, and it is as coarse as the model's "
        f"last layer: {side[0]} by {side[1]} places."
    )
    if measured is None:
        return (warning,)
    lines = []
    for curves, what in (
        (measured.deletion, "Turning the hottest places grey first costs"),
        (measured.insertion, "Bringing the hottest places back first gains"),
    ):
        chance = _compared(curves.over_chance, "with the map moved elsewhere by chance")
        blob = _compared(curves.over_blob, "from the middle outwards")
        lines.append(f"{what} {chance}, and {blob}.")
    return (*lines, warning)


def _compared(gain: Gain, other: str) -> str:
    """How much probability more or less than in another order, as far as chance lets one say."""
    low, high = 100 * gain.interval.low, 100 * gain.interval.high
    interval = f"(95 % interval of the difference {low:.1f} to {high:.1f})"
    if low <= 0 <= high:
        return f"about as much probability as {other} {interval}"
    more = "more" if gain.mean > 0 else "less"
    return f"{100 * abs(gain.mean):.1f} points {more} probability than {other} {interval}"


def _place(heat: np.ndarray) -> str:
    """Where the hottest place is, in words."""
    if not heat.max() > 0:
        return "No place speaks for it"
    down, across = np.unravel_index(heat.argmax(), heat.shape)
    row = ("upper", "", "lower")[min(3 * int(down) // heat.shape[0], 2)]
    column = ("left", "", "right")[min(3 * int(across) // heat.shape[1], 2)]
    return f"The hottest place is {' '.join(filter(None, (row, column))) or 'in the middle'}"


def _short(label: str) -> str:
    """A class's name, at most as long as fits below a photo."""
    return figures.printable(label, 24)
