"""Two models on the same photos: the exact test, the interval, the words, the matching of rows."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from flowers.errors import InputError
from flowers.judge.comparison import Comparison, compare_tables, mcnemar


def answers(both_right, only_a, only_b, both_wrong):
    """Truth and two lists of answers with these counts."""
    right_a = np.repeat([1, 1, 0, 0], [both_right, only_a, only_b, both_wrong])
    right_b = np.repeat([1, 0, 1, 0], [both_right, only_a, only_b, both_wrong])
    return np.ones(len(right_a), int), right_a, right_b


def table(labels, predicted, paths=None):
    paths = [f"{number}.jpg" for number in range(len(labels))] if paths is None else paths
    return pd.DataFrame({"path": paths, "label": labels, "predicted": predicted})


@pytest.mark.parametrize("counts", [(500, 10, 25, 20), (5, 0, 6, 0), (90, 4, 4, 2)])
def test_counts_and_p_value(counts):
    found = mcnemar(*answers(*counts))
    assert (found.both_right, found.only_a, found.only_b, found.both_wrong) == counts
    low = min(counts[1:3])
    # twice the smaller tail of a fair coin
    tail = 2 * scipy.stats.binom.cdf(low, sum(counts[1:3]), 0.5)
    assert found.p == pytest.approx(min(1.0, tail))
    assert found.difference == pytest.approx((counts[2] - counts[1]) / sum(counts))
    assert found.accuracy_b - found.accuracy_a == pytest.approx(found.difference)
    assert found.difference_interval.low <= found.difference <= found.difference_interval.high


def test_the_interval_is_paired():
    # the models agree on nearly all photos: far narrower than two intervals of 0.5 shares would be
    interval = mcnemar(*answers(300, 2, 8, 300)).difference_interval
    assert interval.high - interval.low < 0.03
    assert interval == mcnemar(*answers(300, 2, 8, 300)).difference_interval


def test_the_test_is_symmetric():
    truth, first, second = answers(500, 10, 25, 20)
    one, other = mcnemar(truth, first, second), mcnemar(truth, second, first)
    assert one.p == other.p and one.difference == -other.difference


def test_sentences():
    names = ("ResNet50", "EfficientNet")
    assert mcnemar(*answers(500, 10, 40, 20), names).sentence == (
        "EfficientNet is better than ResNet50 by 5.3 points: of the 50 photos on which only one "
        "is right, it wins 40 to 10, which chance alone does in fewer than 1 of 1,000 cases."
    )
    undecided = mcnemar(*answers(50, 5, 3, 2)).sentence
    assert undecided.startswith("No difference is shown: the first model leads by 3.3 points")
    assert "it wins 5 to 3, which chance alone does in 73 of 100 cases" in undecided
    equal = mcnemar(*answers(50, 3, 3, 2), names).sentence
    assert equal == "Both models are right equally often, but not on the same photos (3 each)."
    same = mcnemar(*answers(5, 0, 0, 2), names)
    assert same.p == 1 and same.sentence == "Both models are right and wrong on the same 7 photos."


def test_comparison_goes_through_json():
    found = mcnemar(*answers(50, 5, 3, 2))
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert Comparison.from_dict(values) == found
    assert values["sentence"] == found.sentence
    with pytest.raises(InputError, match="part is missing"):
        Comparison.from_dict({"names": ["a", "b"]})


def test_tables_are_matched_by_path_not_by_row():
    labels, first = ["rose", "tulip", "rose"], ["rose", "rose", "rose"]
    other = table(labels, ["tulip", "tulip", "rose"]).iloc[[2, 0, 1]]
    found = compare_tables(table(labels, first), other)
    assert (found.both_right, found.only_a, found.only_b, found.both_wrong) == (1, 1, 1, 0)


def test_photos_that_differ_are_named():
    one = table(["rose", "tulip"], ["rose", "rose"])
    other = table(["rose", "tulip"], ["rose", "rose"], ["0.jpg", "9.jpg"])
    with pytest.raises(InputError, match=r"2 photos that stand in only one of them.* 1\.jpg"):
        compare_tables(one, other)


def test_labels_that_differ_are_named():
    one, other = table(["rose", "tulip"], ["rose"] * 2), table(["rose", "rose"], ["rose"] * 2)
    with pytest.raises(InputError, match=r"1 photos with two, the first 1\.jpg: tulip and rose"):
        compare_tables(one, other)


def test_a_photo_twice_or_a_missing_column_is_refused():
    good = table(["rose", "tulip"], ["rose", "rose"])
    with pytest.raises(InputError, match=r"stand there again, the first 0\.jpg"):
        compare_tables(good, table(["rose", "rose"], ["rose"] * 2, ["0.jpg", "0.jpg"]))
    with pytest.raises(InputError, match="no predicted"):
        compare_tables(good.drop(columns="predicted"), good)


def test_answers_of_different_length_are_refused():
    with pytest.raises(InputError, match="same photos"):
        mcnemar(np.zeros(3, int), np.zeros(3, int), np.zeros(2, int))
    with pytest.raises(InputError, match="at least one"):
        mcnemar(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int))
