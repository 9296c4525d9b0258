"""Refusing: flowers kept, other things accepted, and a set of others that is what it says."""

import json

import numpy as np
import pytest
import sklearn.metrics

from flowers.errors import InputError
from flowers.judge import refusal
from flowers.judge.refusal import Refusal, require_strangers

LABELS = ("daisy", "rose", "tulip")


def test_auroc_equals_scikit_learn():
    random = np.random.default_rng(0)
    scores, strange = random.integers(0, 20, 300), random.random(300) < 0.3
    expected = sklearn.metrics.roc_auc_score(strange, scores)
    assert refusal.auroc(scores, strange) == pytest.approx(expected)
    assert np.isnan(refusal.auroc(scores, np.zeros(300, bool)))


def test_measure_by_hand():
    flowers, others = np.array([0.5, 1.0, 1.5, 2.5]), np.array([1.2, 2.0, 3.0, 9.0])
    report = refusal.measure(flowers, 2.0, others)
    assert (report.flowers, report.flowers_kept, report.kept) == (4, 3, 0.75)
    assert (report.others, report.others_accepted, report.accepted) == (4, 2, 0.5)
    # pairs in which the stranger scores higher: 2 + 3 + 4 + 4 of 16
    assert report.auroc == pytest.approx(13 / 16)
    assert report.auroc_interval.low <= 13 / 16 <= report.auroc_interval.high
    assert sum(report.flower_counts) == sum(report.other_counts) == 4
    assert len(report.edges) == len(report.flower_counts) + 1
    below_zero = refusal.measure(-flowers, -2.0, others - 5)
    assert sum(below_zero.flower_counts) == sum(below_zero.other_counts) == 4
    same = refusal.measure(flowers, 2.0, flowers)
    assert same.auroc == 0.5  # equal scores count half


def test_without_strangers_only_flowers_are_counted():
    report = refusal.measure(np.array([0.5, 3.0]), 2.0)
    assert report.kept == 0.5 and report.others == 0
    assert report.auroc is None and report.accepted is None and report.other_counts == ()


def test_the_report_goes_through_json():
    random = np.random.default_rng(0)
    for others in (None, random.gamma(9, size=60)):
        report = refusal.measure(random.gamma(3, size=80), 6.0, others)
        text = json.dumps(report.as_dict(), allow_nan=False)
        assert Refusal.from_dict(json.loads(text)) == report
    with pytest.raises(InputError, match="part is missing"):
        Refusal.from_dict({"flowers": 3})


def test_a_set_of_strangers_that_contains_flowers_is_refused():
    others = {"cat.jpg": "a1", "cars/red.jpg": "b2"}
    require_strangers(others, {"c3", "d4"}, LABELS)
    with pytest.raises(InputError, match=r"1 of 2 are photos of the classes.*cars/red\.jpg"):
        require_strangers(others, {"b2", "d4"}, LABELS)
    with pytest.raises(InputError, match="folder that is called like a class"):
        require_strangers(others | {"Rose/1.jpg": "e5"}, {"c3"}, LABELS)
    with pytest.raises(InputError, match="none of the classes"):
        require_strangers({}, {"c3"}, LABELS)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="at least one photo"):
        refusal.measure(np.array([]), 1.0)
    with pytest.raises(InputError, match="NaN or infinite"):
        refusal.measure(np.array([1.0]), 1.0, np.array([np.nan]))
