"""Calibration: the temperature is found, folded, and told in numbers that mean what they say."""

import json
import os

import numpy as np
import pytest
import scipy.optimize

from flowers.errors import InputError
from flowers.judge import calibration
from flowers.judge.calibration import Calibration, expected_calibration_error

LABELS = ("daisy", "dandelion", "rose", "sunflower", "tulip")


def honest(photos=4000, seed=0, spread=2.5):
    """Truth [N] drawn from the very probabilities [N, C] that are returned: calibrated."""
    random = np.random.default_rng(seed)
    odds = np.exp(random.normal(scale=spread, size=(photos, len(LABELS))))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    sums = probabilities.cumsum(axis=1)
    return (random.random((photos, 1)) * sums[:, -1:] > sums).sum(axis=1), probabilities


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_undoes_the_temperature_that_spoilt_the_probabilities(temperature):
    truth, probabilities = honest()
    spoilt = calibration.apply(probabilities, 1 / temperature)
    found = calibration.fit(truth, spoilt, LABELS)
    assert found == pytest.approx(temperature, rel=0.08)
    np.testing.assert_allclose(calibration.apply(spoilt, temperature), probabilities, atol=1e-12)


def test_fit_finds_the_least_nll():
    truth, probabilities = honest(300, seed=1)
    probabilities = calibration.apply(probabilities, 0.4)
    found = calibration.fit(truth, probabilities, LABELS)

    def nll(temperature):
        logarithms = np.log(calibration.apply(probabilities, temperature))
        of_truth = logarithms[np.arange(300), truth]
        doubt = 1 / 302  # shared by the classes that are not the truth
        others = (logarithms.sum(axis=1) - of_truth) / (len(LABELS) - 1)
        return -((1 - doubt) * of_truth + doubt * others).mean()

    grid = np.geomspace(0.1, 10, 2001)
    best = scipy.optimize.minimize_scalar(nll, bracket=(1.5, 2.5)).x
    assert found == pytest.approx(best, rel=1e-3)
    assert nll(found) <= min(map(nll, grid)) + 1e-8


def test_a_temperature_moves_no_photo_to_another_class():
    _, probabilities = honest(500)
    for temperature in (0.1, 0.7, 5.0):
        scaled = calibration.apply(probabilities, temperature)
        assert (scaled.argmax(axis=1) == probabilities.argmax(axis=1)).all()
        np.testing.assert_allclose(scaled.sum(axis=1), 1, atol=1e-12)


def test_probabilities_that_are_exactly_zero_stay_finite():
    certain = np.eye(5)[np.tile(np.arange(5), 8)].astype(np.float32)
    truth = np.tile(np.arange(5), 8)
    truth[0] = 3
    temperature = calibration.fit(truth, certain, LABELS)
    measured = calibration.measure(truth, certain, temperature)
    assert temperature > 1
    assert np.isfinite([measured.before.nll, measured.after.nll]).all()
    assert measured.after.nll < measured.before.nll


def test_ece_by_hand():
    # two photos at 0.9, one of them right; two at 0.6, both right
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    truth = np.array([0, 1, 0, 1])
    assert expected_calibration_error(truth, probabilities) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    # in one bin the two errors cancel: 0.75 sure, 0.75 right
    assert expected_calibration_error(truth, probabilities, bins=1) == pytest.approx(0, abs=1e-12)


def test_bins_hold_every_photo_once_and_their_upper_end():
    probabilities = np.array([[1.0, 0.0], [0.8, 0.2], [0.5, 0.5], [0.81, 0.19]])
    table = calibration.reliability(np.zeros(4, int), probabilities, bins=5)
    assert [part.photos for part in table] == [0, 0, 1, 1, 2]
    assert (table[3].confidence, table[3].accuracy) == (0.8, 1.0)
    assert table[0].accuracy is None and table[0].accuracy_interval is None
    whole = calibration.reliability(*honest(777))
    assert sum(part.photos for part in whole) == 777


def test_measure_before_and_after():
    truth, probabilities = honest(600, seed=3)
    spoilt = calibration.apply(probabilities, 2.0)
    measured = calibration.measure(truth, spoilt, 0.5)
    before, after = measured.before, measured.after
    assert before.ece > 0.05 > after.ece
    assert before.ece_interval.low > 0.02  # it is off, and the interval says so
    assert after.ece_interval.low < 0.01  # what is left may be chance
    assert after.ece == pytest.approx(after.ece_of_chance, abs=0.02)
    assert after.nll < before.nll and after.brier < before.brier
    assert after.nll_interval.low < after.nll < after.nll_interval.high
    assert before.accuracy == after.accuracy == (probabilities.argmax(axis=1) == truth).mean()
    squares = (spoilt - np.eye(5)[truth]) ** 2
    assert before.brier == pytest.approx(squares.sum() / 600)


def test_the_interval_of_a_calibrated_models_ece_reaches_almost_to_zero():
    low = []
    for seed in range(8):
        truth, probabilities = honest(500, seed=seed)
        low.append(calibration.measure(truth, probabilities, 1.0, seed).after.ece_interval.low)
    assert np.median(low) < 0.005


def test_the_same_seed_gives_the_same_numbers():
    truth, probabilities = honest(200)
    first, again = (calibration.measure(truth, probabilities, 1.2, 5) for _ in range(2))
    assert first == again


def test_calibration_goes_through_json():
    measured = calibration.measure(*honest(200), 1.3)
    text = json.dumps(measured.as_dict(), allow_nan=False)
    assert Calibration.from_dict(json.loads(text)) == measured
    with pytest.raises(InputError, match="temperature"):
        Calibration.from_dict({"photos": 3})


def test_fold_calibrates_the_model_itself():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(4, activation="relu")(inputs)
    outputs = keras.layers.Dense(5, activation="softmax", name="probabilities")(x)
    model = keras.Model(inputs, outputs)
    model.get_layer("probabilities").bias.assign(np.linspace(-1, 1, 5))
    photos = np.random.default_rng(0).normal(size=(40, 6)).astype("float32") * 3
    before = model.predict_on_batch(photos)
    calibration.fold(model, 0.6)
    after = model.predict_on_batch(photos)
    np.testing.assert_allclose(after, calibration.apply(before, 0.6), atol=1e-6)
    assert np.abs(after - before).max() > 0.05


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_no_temperature_is_zero_or_infinite(temperature):
    with pytest.raises(ValueError, match="above 0"):
        calibration.apply(np.array([[0.5, 0.5]]), temperature)
    with pytest.raises(ValueError, match="above 0"):
        calibration.fold(None, temperature)


def test_too_few_photos_are_refused_in_words():
    truth, probabilities = honest(19)
    with pytest.raises(InputError, match="at least 20 validation photos") as caught:
        calibration.fit(truth, probabilities, LABELS)
    assert caught.value.received == "19" and caught.value.exit_code == 2


def test_a_class_without_validation_photos_is_named():
    truth, probabilities = honest(100)
    kept = (truth != 2) & (truth != 4)
    with pytest.raises(InputError, match="none of rose, tulip"):
        calibration.fit(truth[kept], probabilities[kept], LABELS)


@pytest.mark.parametrize(
    ("truth", "probabilities", "expected"),
    [
        ([0, 1], [[0.5, 0.5]], "one row of probabilities"),
        ([], np.zeros((0, 2)), "at least one photo"),
        ([0.5], [[0.5, 0.5]], "label index"),
        ([2], [[0.5, 0.5]], "from 0 to 1"),
        ([0], [[3.0, 1.0]], "sum to 1"),
        ([0], [[np.nan, 1.0]], "sum to 1"),
    ],
)
def test_what_does_not_fit_is_refused(truth, probabilities, expected):
    with pytest.raises(InputError, match=expected):
        calibration.measure(np.array(truth), np.array(probabilities), 1.0)


def test_a_model_that_was_right_on_every_photo_is_not_called_certain():
    truth = np.arange(30) % 3
    probabilities = np.full((30, 3), 0.1)
    probabilities[np.arange(30), truth] = 0.8
    found = calibration.fit(truth, probabilities, LABELS[:3])
    surest = calibration.apply(probabilities, found).max()
    assert 0.9 < surest < 0.99  # 30 of 30 shows no more than that
