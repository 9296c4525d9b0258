"""Prediction sets: as often right as was asked for, never empty, the same every time."""

import json

import numpy as np
import pytest

from flowers.errors import InputError
from flowers.judge import sets
from flowers.judge.sets import PredictionSets, SetsReport, words

LABELS = ("daisy", "rose", "tulip")


def model(photos=400, seed=0, skill=1.5):
    """A made-up classifier that is right more often than not: truth [N], probabilities [N, 3]."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, photos)
    logits = random.normal(size=(photos, 3))
    logits[np.arange(photos), truth] += skill
    odds = np.exp(logits * skill)
    return truth, odds / odds.sum(axis=1, keepdims=True)


def test_scores_by_hand():
    probabilities = np.array([[0.2, 0.7, 0.1]])
    np.testing.assert_allclose(sets.scores(probabilities, 0, 1), [[0.7, 0.0, 0.9]])
    np.testing.assert_allclose(sets.scores(probabilities, 0.5, 1), [[1.2, 0.0, 1.9]])
    np.testing.assert_allclose(sets.scores(probabilities, 0.5, 2), [[0.7, 0.0, 1.4]])


@pytest.mark.parametrize(("penalty", "free"), [(0.0, 1), (0.05, 1), (0.1, 2)])
@pytest.mark.parametrize("coverage", [0.85, 0.95])
def test_coverage_is_what_was_asked_for_on_average(coverage, penalty, free):
    held = []
    for seed in range(60):
        truth, probabilities = model(300, seed)
        fitted = sets.fit(truth[:100], probabilities[:100], LABELS, coverage, penalty, free)
        report = sets.measure(fitted, truth[100:], probabilities[100:], LABELS)
        held.append(report.coverage)
    # 60 x 100 calibration photos: the mean is known within about a point
    assert coverage - 0.01 < np.mean(held) < coverage + 0.02


def test_the_threshold_is_the_finite_sample_quantile():
    truth, probabilities = model(99)
    fitted = sets.fit(truth, probabilities, LABELS, coverage=0.9)
    of_truth = np.sort(sets.scores(probabilities, 0, 1)[np.arange(99), truth])
    assert fitted.threshold == of_truth[89]  # the 90th of 99, as (99 + 1) x 0.9 = 90


def test_no_set_is_empty_and_the_likeliest_name_is_in_it():
    truth, probabilities = model()
    members = PredictionSets(0.5, -1.0, 0.0, 1).sets(probabilities)
    assert (members.sum(axis=1) == 1).all()
    assert members[np.arange(400), probabilities.argmax(axis=1)].all()
    assert members.dtype == bool and members.shape == (400, 3)
    fitted = sets.fit(truth, probabilities, LABELS)
    np.testing.assert_array_equal(fitted.sets(probabilities), fitted.sets(probabilities))
    # each photo is judged on its own
    np.testing.assert_array_equal(fitted.sets(probabilities)[7], fitted.sets(probabilities[7:8])[0])


def test_a_higher_coverage_only_adds_names():
    truth, probabilities = model()
    low, high = (sets.fit(truth, probabilities, LABELS, coverage=c) for c in (0.8, 0.95))
    fewer, more = low.sets(probabilities), high.sets(probabilities)
    assert (more | ~fewer).all() and more.sum() > fewer.sum()


def test_a_model_that_is_right_often_enough_gets_sets_of_one_name():
    truth, probabilities = model(skill=5)
    fitted = sets.fit(truth, probabilities, LABELS)
    assert sets.measure(fitted, truth, probabilities, LABELS).mean_size == 1


def test_a_penalty_makes_long_sets_rarer():
    truth, probabilities = model(skill=0.6)
    plain, penalised = (
        sets.fit(truth, probabilities, LABELS, coverage=0.9, penalty=penalty, free=2)
        for penalty in (0.0, 0.2)
    )
    threes = [fitted.sets(probabilities).all(axis=1).sum() for fitted in (plain, penalised)]
    assert threes[1] < threes[0]


def test_measure_by_hand():
    fitted = PredictionSets(0.9, threshold=0.65, penalty=0.0, free=1)
    probabilities = np.array(
        [[0.98, 0.01, 0.01], [0.1, 0.5, 0.4], [0.05, 0.35, 0.6], [0.6, 0.3, 0.1]]
    )
    report = sets.measure(fitted, np.array([0, 2, 1, 2]), probabilities, LABELS)
    assert (report.held, report.photos, report.coverage) == (3, 4, 0.75)
    assert report.sizes == (1, 3, 0) and report.held_by_size == (1, 2, 0)
    assert report.mean_size == 7 / 4
    assert report.by_class == (("daisy", 1.0), ("rose", 1.0), ("tulip", 0.5))
    first, second = report.common
    assert (first.names, first.photos, first.held) == (("rose", "tulip"), 2, 2)
    assert (second.names, second.photos, second.held) == (("daisy", "rose"), 1, 0)
    assert report.coverage_interval.low < 0.75 < report.coverage_interval.high


def test_a_class_that_no_test_photo_shows_has_no_coverage():
    fitted = PredictionSets(0.9, 0.5, 0.0, 1)
    report = sets.measure(fitted, np.array([0]), np.array([[0.9, 0.1, 0.0]]), LABELS)
    assert report.by_class == (("daisy", 1.0), ("rose", None), ("tulip", None))
    assert report.common == ()


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([True, False, False], "daisy"),
        ([False, True, True], "tulip or rose"),
        ([True, True, True], "tulip, rose or daisy"),
    ],
)
def test_words_put_the_likeliest_first(members, expected):
    assert words(LABELS, np.array(members), np.array([0.1, 0.3, 0.6])) == expected


def test_words_without_probabilities_keep_the_order_of_the_labels():
    assert words(LABELS, np.array([True, False, True])) == "daisy or tulip"


def test_both_results_go_through_json():
    truth, probabilities = model(skill=1)
    fitted = sets.fit(truth, probabilities, LABELS)
    assert PredictionSets.from_dict(json.loads(json.dumps(fitted.as_dict()))) == fitted
    report = sets.measure(fitted, truth, probabilities, LABELS)
    text = json.dumps(report.as_dict(), allow_nan=False)
    assert SetsReport.from_dict(json.loads(text)) == report
    for kind in (PredictionSets, SetsReport):
        with pytest.raises(InputError, match="part is missing"):
            kind.from_dict({"coverage": 0.95})


@pytest.mark.parametrize("coverage", [0.0, 1.0, 1.5, np.nan])
def test_a_coverage_that_is_no_share_is_refused(coverage):
    with pytest.raises(InputError, match="between 0 and 1"):
        sets.fit(*model(), LABELS, coverage=coverage)


def test_a_coverage_that_validation_cannot_show_is_refused():
    with pytest.raises(InputError, match="at least 99 validation photos") as caught:
        sets.fit(*model(98), LABELS, coverage=0.99)
    assert caught.value.exit_code == 2
    assert sets.fit(*model(99), LABELS, coverage=0.99).threshold <= 1


def test_too_few_photos_or_a_missing_class_are_refused():
    truth, probabilities = model()
    with pytest.raises(InputError, match="at least 20"):
        sets.fit(truth[:19], probabilities[:19], LABELS)
    with pytest.raises(InputError, match="none of rose"):
        sets.fit(truth[truth != 1], probabilities[truth != 1], LABELS)
