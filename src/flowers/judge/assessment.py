"""Everything that is measured of a finished model, as numbers and as sections of the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from flowers.errors import InputError
from flowers.judge import (
    augmented,
    augmented_section,
    explain,
    explain_sections,
    robustness,
    robustness_sections,
    seen,
    similar,
    trust,
    trust_sections,
)
from flowers.judge import report as reports
from flowers.judge.faithfulness import Faithful, faithful
from flowers.judge.page import UNKNOWN, between, percent
from flowers.judge.parts import Section, Tile
from flowers.judge.report import Report
from flowers.judge.robustness import Robustness
from flowers.judge.similar import Similar
from flowers.judge.trust import Trust, Trustworthiness
from flowers.model.classifier import Classifier
from flowers.train import features

SHOWN = 5  # photos whose most similar training photos are shown

Read = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Effort:
    """How many test photos go into the parts that take minutes; 0 leaves a part out."""

    worse: int = robustness.PHOTOS  # made worse in 30 ways: 31 forward passes each
    maps: int = 40  # heat maps put to the test: 57 forward passes each
    views: int = augmented.VIEWS  # of each test photo, averaged; below 2 leaves it out


NONE = Effort(worse=0, maps=0, views=0)


@dataclass(frozen=True, eq=False)
class Exam:
    """The photos that a model is examined on, and what it learned from.

    pixels: uint8 [M, S, S, 3]; rows: int [N], which of them are test photos; truth: int [N];
    labels: the C names; paths: N names of the photos; others: uint8 [K, S, S, 3], photos of
    other things, or None; neighbours: the training photos, with the class of each, or None;
    read: reads a photo of a path, for pictures.
    """

    pixels: np.ndarray
    rows: np.ndarray
    truth: np.ndarray
    labels: tuple[str, ...]
    paths: tuple[str, ...]
    read: Read
    others: np.ndarray | None = None
    neighbours: tuple[Similar, tuple[str, ...]] | None = None


@dataclass(frozen=True, eq=False)
class Assessment:
    """What was measured. Parts are None where they were not asked for or have no meaning.

    probabilities: float32 [N, C], of the test photos; novelty: float [N] or None.
    """

    report: Report
    trust: Trustworthiness
    probabilities: np.ndarray
    novelty: np.ndarray | None = None
    agreement: float | None = None  # of the class of a photo and of those found similar to it
    faithful: Faithful | None = None
    robustness: Robustness | None = None
    gain: augmented.Gain | None = None
    sections: tuple[Section, ...] = field(default=())

    def as_dict(self) -> dict:
        """The numbers as dicts and lists: ready for JSON."""
        parts = {
            "faithful": self.faithful,
            "robustness": self.robustness,
            "test_time_augmentation": self.gain,
        }
        return {
            **self.report.as_dict(),
            "trust": self.trust.as_dict(),
            "similar_agreement": self.agreement,
            **{name: part.as_dict() if part else None for name, part in parts.items()},
        }

    def tiles(self) -> tuple[Tile, ...]:
        """What the strip at the top of the page shows besides accuracy."""
        found = []
        if self.trust.calibration:
            after = self.trust.calibration.after
            note = "the mean gap between how sure it is and how often it is right"
            found.append(Tile(f"{100 * after.ece:.1f}", "points off in its percentages", note))
        if self.trust.refusal and self.trust.refusal.accepted is not None:
            refusal = self.trust.refusal
            note = f"of {refusal.others:,} photos that show none of the classes"
            found.append(Tile(percent(1 - refusal.accepted), "of other things refused", note))
        return tuple(found)

    def unknown(self) -> tuple[str, ...]:
        """What the report does not say."""
        elsewhere, others, labels = UNKNOWN
        if self.trust.refusal:
            others = (
                "How it does with things that look like its classes, or are their relatives: "
                "another flower is likelier to be taken for one of the five than a car is."
                if len(self.report.labels) == 5
                else "How it does with things that look like its classes."
            )
            if self.trust.refusal.accepted is None:
                others = (
                    "How many photos of other things it refuses: there were none to try. "
                    "`--others FOLDER` measures it."
                )
        return elsewhere, others, labels


def examine(classifier: Classifier, trust_: Trust, exam: Exam, effort: Effort = NONE) -> Assessment:
    """Measures a calibrated classifier on test photos.

    Args:
        classifier: in float32.
        trust_: what was fitted for it on validation photos.
        exam: the photos.
        effort: what of that which takes minutes is measured as well.
    """
    test = seen.look(classifier, exam.pixels, exam.rows, "test photos")
    strangers = None
    if exam.others is not None:
        everyone = np.arange(len(exam.others))
        strangers = seen.look(classifier, exam.others, everyone, "photos of other things")
    report = reports.evaluate(exam.truth, test.probabilities, exam.labels, exam.paths)
    trusted = trust.measure(trust_, test, exam.truth, exam.labels, strangers)
    hard = _Hard.measure(classifier, exam, effort)
    agreement, alike = _similar(exam, test)
    sections = [
        *trust_sections.sections(trusted.calibration, trusted.sets, trusted.refusal),
        *_looks_at(classifier, exam, test, hard.faithful),
        *alike,
        *hard.sections(exam),
    ]
    return Assessment(
        report,
        trusted,
        test.probabilities,
        trust_.novelty.score(test.levels) if trust_.novelty else None,
        agreement,
        hard.faithful,
        hard.robustness,
        hard.gain,
        tuple(sections),
    )


@dataclass(frozen=True, eq=False)
class _Hard:
    """What takes minutes."""

    faithful: Faithful | None = None
    robustness: Robustness | None = None
    gain: augmented.Gain | None = None

    @classmethod
    def measure(cls, classifier: Classifier, exam: Exam, effort: Effort) -> _Hard:
        def predict(batch: np.ndarray) -> np.ndarray:
            return features.forward(classifier.model, batch)

        photos, truth, rows = exam.pixels, exam.truth, exam.rows
        worse = gain = None
        if effort.worse:
            worse = robustness.measure(predict, photos, truth, rows=rows, most=effort.worse)
        if effort.views > 1:
            gain = augmented.gain(predict, photos, truth, effort.views, rows=rows)
        return cls(_faithful(classifier, exam, predict, effort.maps), worse, gain)

    def sections(self, exam: Exam) -> list[Section]:
        found = []
        if self.robustness:
            example = exam.pixels[exam.rows[0]]
            found.append(robustness_sections.section(self.robustness, example))
        if self.gain:
            found.append(augmented_section.section(self.gain))
        return found


def _faithful(
    classifier: Classifier, exam: Exam, predict: Callable[[np.ndarray], np.ndarray], count: int
) -> Faithful | None:
    """None where it was not asked for, or the network has no heat maps fine enough for a test."""
    drawn = np.random.default_rng(0).permutation(exam.rows)[:count]
    if len(drawn) < 2:
        return None
    chosen = exam.pixels[np.sort(drawn)]
    try:
        return faithful(predict, chosen, explain.explain_all(classifier.model, chosen))
    except InputError:
        return None


def _looks_at(
    classifier: Classifier, exam: Exam, test: seen.Seen, faithful: Faithful | None
) -> list[Section]:
    chosen = explain_sections.choose(exam.truth, test.probabilities)
    if not len(chosen):
        return []
    try:
        return [
            explain_sections.looks_at(
                classifier.model,
                exam.pixels[exam.rows[chosen]],
                exam.truth[chosen],
                exam.labels,
                [exam.paths[row] for row in chosen],
                faithful,
            )
        ]
    except InputError:  # a head without a closed form has no heat map
        return []


def _similar(exam: Exam, test: seen.Seen) -> tuple[float | None, list[Section]]:
    if exam.neighbours is None or similar.LEVEL not in test.levels:
        return None, []
    search, training = exam.neighbours
    names = np.array([exam.labels.index(label) for label in training])
    features = test.levels[similar.LEVEL]
    agreement = similar.agreement(search, features, exam.truth, names)
    chosen = explain_sections.choose(exam.truth, test.probabilities, right=SHOWN - 1, wrong=1)
    section = explain_sections.alike(
        search,
        features[chosen],
        exam.pixels[exam.rows[chosen]],
        [exam.labels[exam.truth[row]] for row in chosen],
        training,
        exam.read,
        agreement=agreement,
    )
    return agreement, [section]


def lines(assessment: Assessment) -> list[str]:
    """What the screen says of trust, at most 80 characters a line."""
    found = []
    measured = assessment.trust
    if measured.calibration:
        before, after = measured.calibration.before, measured.calibration.after
        found.append(
            f"calibration    ECE {after.ece:.3f}, before {before.ece:.3f} "
            f"(temperature {measured.calibration.temperature:.2f})"
        )
    if measured.sets:
        found.append(
            f"sets           {measured.sets.coverage:.3f} hold the truth "
            f"(asked {measured.sets.asked:.2f}), mean size {measured.sets.mean_size:.2f}"
        )
    if measured.refusal:
        refusal = measured.refusal
        line = f"none of these  {1 - refusal.kept:.3f} of the test photos refused"
        if refusal.accepted is not None:
            line = (
                f"none of these  {refusal.accepted:.3f} of {refusal.others} other things accepted, "
                f"AUROC {refusal.auroc:.3f}"
            )
        found.append(line)
    if assessment.robustness:
        worse = assessment.robustness
        found.append(
            f"robustness     {worse.mean:.3f} on {worse.photos} photos made worse "
            f"({between(worse.mean_interval)})"
        )
    if assessment.gain:
        gain = assessment.gain
        found.append(
            f"several looks  {gain.averaged_accuracy:.3f} with {gain.views} looks a photo, "
            f"{gain.accuracy:.3f} with one, {gain.cost:.1f} times as long"
        )
    if assessment.faithful:
        parts = assessment.faithful.deletion, assessment.faithful.insertion
        gains = (value for part in parts for value in (part.over_blob, part.over_chance))
        middle, chance, middle_back, chance_back = (f"{gain.mean:+.3f}" for gain in gains)
        found.append(
            f"heat maps      greying {middle} against a blob in the middle, {chance} against "
            f"chance;\n               bringing back {middle_back} and {chance_back} "
            f"({assessment.faithful.photos} photos; above 0: they point at what matters)"
        )
    return found
