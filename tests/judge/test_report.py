"""The numbers: held against scikit-learn, scipy and cases counted by hand."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sklearn.metrics

from flowers import files
from flowers.errors import InputError
from flowers.judge.intervals import Interval, bootstrap, wilson
from flowers.judge.report import (
    KEPT_MISTAKES,
    Report,
    confusion_matrix,
    evaluate,
    f1_scores,
    predictions_table,
)

LABELS = ("daisy", "dandelion", "rose", "sunflower", "tulip")


def guesses(photos=400, classes=5, seed=0, skill=1.5):
    """A made-up classifier that is right more often than not: truth [N], probabilities [N, C]."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, photos)
    logits = random.normal(size=(photos, classes))
    logits[np.arange(photos), truth] += skill
    odds = np.exp(logits)
    return truth, odds / odds.sum(axis=1, keepdims=True)


def certain(predicted, classes):
    """Probabilities [N, C] of a model that is 90 % sure of each prediction."""
    probabilities = np.full((len(predicted), classes), 0.1 / (classes - 1))
    probabilities[np.arange(len(predicted)), predicted] = 0.9
    return probabilities


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (515, 551), (1, 3), (40, 80)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_equals_scipy(successes, trials, confidence):
    theirs = scipy.stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    ours = wilson(successes, trials, confidence)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= ours.low <= successes / trials <= ours.high <= 1


def test_wilson_covers_a_share_near_one_about_as_often_as_it_says():
    trials, share = 50, 0.95
    intervals = [wilson(successes, trials) for successes in range(trials + 1)]
    chances = scipy.stats.binom.pmf(np.arange(trials + 1), trials, share)
    covered = sum(
        chance
        for chance, interval in zip(chances, intervals, strict=True)
        if interval.low <= share <= interval.high
    )
    assert 0.92 < covered < 0.98


def test_wilson_without_trials_knows_nothing():
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize("arguments", [(5, 4), (-1, 4), (1, 4, 1.0), (1, 4, 0.0)])
def test_wilson_refuses_what_cannot_be_counted(arguments):
    with pytest.raises(InputError, match="successes"):
        wilson(*arguments)


def test_bootstrap_of_a_mean_agrees_with_theory_and_repeats_itself():
    values = np.random.default_rng(1).normal(size=500)
    interval = bootstrap(np.mean, values, seed=3)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert interval == bootstrap(np.mean, values, seed=3)
    assert interval != bootstrap(np.mean, values, seed=4)


def test_bootstrap_redraws_all_arrays_alike():
    values = np.arange(50.0)
    apart = bootstrap(lambda a, b: np.abs(a - b).max(), values, values + 1, seed=0, repeats=20)
    assert apart == Interval(1.0, 1.0)


def test_bootstrap_leaves_out_draws_without_a_number_and_refuses_when_most_are():
    rare = np.array([1.0] + [0.0] * 29)  # on average in 64 % of the draws

    def only_with_the_rare_one(values):
        return values.sum() if values.any() else np.nan

    interval = bootstrap(only_with_the_rare_one, rare, seed=0)
    assert interval.low >= 1
    with pytest.raises(InputError, match="0 of 1000"):
        bootstrap(lambda values: np.nan, rare, seed=0)


def test_bootstrap_refuses_arrays_that_do_not_belong_together():
    with pytest.raises(InputError, match=r"\[3, 4\]"):
        bootstrap(np.mean, np.zeros(3), np.zeros(4), seed=0)
    with pytest.raises(InputError, match="at least 1"):
        bootstrap(np.mean, np.zeros(0), seed=0)


def test_evaluate_equals_scikit_learn():
    truth, probabilities = guesses()
    report = evaluate(truth, probabilities, LABELS)
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        truth, predicted
    )
    assert report.accuracy == pytest.approx(sklearn.metrics.accuracy_score(truth, predicted))
    assert report.macro_f1 == pytest.approx(f1.mean())
    assert report.nll == pytest.approx(sklearn.metrics.log_loss(truth, probabilities))
    assert report.top2_accuracy == pytest.approx(
        sklearn.metrics.top_k_accuracy_score(truth, probabilities, k=2)
    )
    assert np.array_equal(report.confusion, sklearn.metrics.confusion_matrix(truth, predicted))
    assert [score.precision for score in report.classes] == pytest.approx(precision)
    assert [score.recall for score in report.classes] == pytest.approx(recall)
    assert [score.f1 for score in report.classes] == pytest.approx(f1)
    assert [score.photos for score in report.classes] == support.tolist()
    assert report.accuracy_interval == wilson(report.correct, 400)
    assert report.classes[0].recall_interval == wilson(
        report.classes[0].correct, report.classes[0].photos
    )


def test_the_interval_of_macro_f1_is_the_bootstrap_of_macro_f1():
    truth, probabilities = guesses(photos=120, classes=3)
    report = evaluate(truth, probabilities, LABELS[:3], seed=5)

    def macro(drawn_truth, drawn_predicted):
        return np.nanmean(f1_scores(confusion_matrix(drawn_truth, drawn_predicted, 3)))

    theirs = bootstrap(macro, truth, probabilities.argmax(axis=1), seed=5, repeats=1000)
    ours = report.macro_f1_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert all(s.f1_interval.low <= s.f1 <= s.f1_interval.high for s in report.classes)


def test_a_class_that_does_not_occur_has_no_figures_and_does_not_lower_the_mean():
    truth = np.array([0, 0, 1, 1])
    report = evaluate(truth, certain(np.array([0, 0, 1, 0]), 3), ("a", "b", "absent"))
    absent = report.classes[2]
    assert (absent.photos, absent.predicted) == (0, 0)
    assert (absent.precision, absent.recall, absent.f1, absent.f1_interval) == (None,) * 4
    assert report.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)


def test_a_class_that_is_never_predicted_has_recall_zero_and_no_precision():
    report = evaluate(np.array([0, 1]), certain(np.array([0, 0]), 2), ("a", "b"))
    assert report.classes[1].precision is None
    assert report.classes[1].recall == 0
    assert report.classes[1].f1 == 0


def test_mistakes_are_named_and_the_most_confident_comes_first():
    truth = np.array([0, 1, 1, 0])
    probabilities = np.array([[0.4, 0.6], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    report = evaluate(truth, probabilities, ("cat", "dog"), ["p", "q", "r", "s"])
    assert [(m.path, m.truth, m.predicted) for m in report.mistakes] == [
        ("q", "dog", "cat"),
        ("p", "cat", "dog"),
    ]
    assert [m.probability for m in report.mistakes] == pytest.approx([0.9, 0.6])


def test_only_the_surest_mistakes_are_kept():
    truth, probabilities = guesses(photos=300, skill=-2)
    report = evaluate(truth, probabilities, LABELS)
    sure = [mistake.probability for mistake in report.mistakes]
    wrong = probabilities.argmax(axis=1) != truth
    assert len(sure) == KEPT_MISTAKES < wrong.sum()
    assert sure == sorted(probabilities.max(axis=1)[wrong], reverse=True)[:KEPT_MISTAKES]


def test_confused_pairs_are_counted_most_frequent_first():
    truth = np.array([0, 0, 0, 1, 2, 2])
    predicted = np.array([1, 1, 2, 1, 0, 2])
    report = evaluate(truth, certain(predicted, 3), ("a", "b", "c"))
    pairs = [(pair.truth, pair.predicted, pair.count) for pair in report.confused]
    assert pairs == [("a", "b", 2), ("a", "c", 1), ("c", "a", 1)]


def test_a_perfect_model_has_no_mistakes_and_an_interval_that_doubts_it():
    truth = np.array([0, 1] * 20)
    report = evaluate(truth, np.eye(2)[truth], ("a", "b"))
    assert report.accuracy == report.top2_accuracy == report.macro_f1 == 1
    assert report.nll == 0
    assert (report.confused, report.mistakes) == ((), ())
    assert 0.9 < report.accuracy_interval.low < 0.95


def test_a_certain_mistake_costs_much_but_not_infinitely():
    report = evaluate(np.array([0, 1]), np.eye(2)[[1, 1]], ("a", "b"))
    assert 10 < report.nll < 20


def test_a_report_survives_json(tmp_path):
    truth, probabilities = guesses(photos=60)
    report = evaluate(truth, probabilities, (*LABELS[:4], "tulipán 郁金香"))
    path = files.write_json(tmp_path / "report.json", report.as_dict())
    assert Report.from_dict(files.read_json(path)) == report
    with_more = files.read_json(path) | {"calibration": {"ece": 0.02}}
    assert Report.from_dict(with_more) == report


@pytest.mark.parametrize("broken", [{}, {"labels": 3}, [], {"classes": [{"label": "rose"}]}])
def test_a_broken_report_says_what_to_do(broken):
    truth, probabilities = guesses(photos=30)
    values = evaluate(truth, probabilities, LABELS).as_dict() | broken if broken else broken
    with pytest.raises(InputError, match="flowers evaluate"):
        Report.from_dict(values)


def test_predictions_table_reads_back_from_csv(tmp_path):
    truth, probabilities = guesses(photos=20)
    labels = (*LABELS[:4], "path")  # a class may be called like a column
    paths = [f"rose/{number}.jpg" for number in range(20)]
    table = predictions_table(truth, probabilities, labels, paths)
    assert list(table.columns) == [
        "path",
        "label",
        "predicted",
        "probability",
        "correct",
        *(f"p_{label}" for label in labels),
    ]
    assert table["correct"].sum() == evaluate(truth, probabilities, labels).correct
    assert (table["label"] == [labels[i] for i in truth]).all()
    table.to_csv(tmp_path / "predictions.csv", index=False)
    again = pd.read_csv(tmp_path / "predictions.csv")
    assert again["correct"].equals(table["correct"])
    assert np.allclose(again.iloc[:, 5:], probabilities)


def changed(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


TRUTH, PROBABILITIES = guesses(photos=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TRUTH[:0], PROBABILITIES[:0], LABELS), "at least one"),
        ((TRUTH.astype(float), PROBABILITIES, LABELS), "label index"),
        ((TRUTH[:, None], PROBABILITIES, LABELS), r"shape \(10, 1\)"),
        ((np.int64(3), PROBABILITIES, LABELS), "label index"),
        ((TRUTH, PROBABILITIES[:9], LABELS), r"shape \(9, 5\)"),
        ((TRUTH, PROBABILITIES, LABELS[:4]), r"shape \(10, 5\)"),
        ((TRUTH, PROBABILITIES, LABELS, ["one"]), "1 paths"),
        ((TRUTH, PROBABILITIES, ("rose", *LABELS[1:4], "rose")), "different labels"),
        ((TRUTH * 0, PROBABILITIES[:, :1], ("rose",)), "two or more"),
        ((TRUTH, changed(PROBABILITIES, (4, 2), np.nan), LABELS), "the first 4"),
        ((TRUTH, changed(PROBABILITIES, (4, 2), np.inf), LABELS), "sum to 1"),
        ((TRUTH, PROBABILITIES * 1.01, LABELS), "10 photos"),
        ((TRUTH, PROBABILITIES * [[1, 1, 1, 1, 1]] + [[-2, 2, 0, 0, 0]], LABELS), "softmax"),
        ((changed(TRUTH, 0, 5), PROBABILITIES, LABELS), "0 to 4"),
        ((changed(TRUTH, 0, -1), PROBABILITIES, LABELS), "0 to 4"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, message):
    with pytest.raises(InputError, match=message):
        evaluate(*arguments)
    with pytest.raises(InputError, match=message):
        predictions_table(*arguments)


def test_half_precision_probabilities_are_accepted():
    truth, probabilities = guesses(photos=50)
    report = evaluate(truth, probabilities.astype(np.float16), LABELS)
    assert report.accuracy == evaluate(truth, probabilities, LABELS).accuracy
