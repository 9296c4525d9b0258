"""Test-time augmentation: the same views for every photo, averaged, with its gain and cost."""

import json

import numpy as np
import pytest

from flowers.judge import augmented


def photos(count=40, side=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def left_half(batch):
    """Says "left" with the share of light in the left half: a mirror image turns it round."""
    light = batch.reshape(len(batch), batch.shape[1], 2, -1).astype(float).sum(axis=(1, 3))
    return light / light.sum(axis=1, keepdims=True)


def test_one_view_is_the_model_itself():
    batch = photos()
    np.testing.assert_array_equal(augmented.predict(left_half, batch, 1), left_half(batch))


def test_a_photo_and_its_mirror_image_get_one_answer():
    answers = augmented.predict(left_half, photos(), 2)
    np.testing.assert_allclose(answers, 0.5)  # left in one view is right in the other


@pytest.mark.parametrize("logarithms", [False, True])
def test_an_answer_depends_on_nothing_but_the_photo(logarithms):
    batch = photos()
    together = augmented.predict(left_half, batch, 5, logarithms=logarithms)
    alone = augmented.predict(left_half, batch[7:8], 5, logarithms=logarithms)
    np.testing.assert_array_equal(together[7:8], alone)
    np.testing.assert_allclose(together.sum(1), 1)
    assert not np.allclose(together, augmented.predict(left_half, batch, 4, logarithms=logarithms))


def test_views_are_different_looks_at_the_same_photo():
    batch = np.repeat(np.repeat(photos(3, 8), 8, axis=1), 8, axis=2)
    views = [augmented.view(batch, number) for number in range(4)]
    np.testing.assert_array_equal(views[1][:, :, ::-1], batch)
    for one in range(4):
        assert views[one].shape == batch.shape and views[one].dtype == np.uint8
        for other in range(one):
            assert (views[one] != views[other]).mean() > 0.5


def test_logarithms_average_the_odds():
    def model(batch):
        return np.array([[0.9, 0.1]]) if batch[0, 0, 0, 0] else np.array([[0.5, 0.5]])

    photo = np.zeros((1, 8, 8, 3), np.uint8)
    photo[:, :, 0] = 255
    odds = np.exp(np.log(9) / 2)
    answer = augmented.predict(model, photo, 2, logarithms=True)
    np.testing.assert_allclose(answer[0, 0], odds / (1 + odds))
    np.testing.assert_allclose(augmented.predict(model, photo, 2)[0, 0], 0.7)


def test_a_zero_in_one_view_does_not_silence_the_others():
    def model(batch):
        return np.array([[1.0, 0.0]]) if batch[0, 0, 0, 0] else np.array([[0.0, 1.0]])

    photo = np.zeros((1, 8, 8, 3), np.uint8)
    photo[:, :, 0] = 255
    np.testing.assert_allclose(augmented.predict(model, photo, 2, logarithms=True), 0.5)


def test_the_gain_counts_what_a_paired_test_needs():
    """A model that is right only of photos with a light left edge; the mirror brings the others."""
    batch = np.zeros((70, 8, 8, 3), np.uint8)
    batch[:40, :, 0] = 255
    batch[40:60, :, -1] = 255

    def model(seen):
        sure = seen[:, 0, 0, 0] > 0
        return np.column_stack([np.where(sure, 0.99, 0.45), np.where(sure, 0.01, 0.55)])

    truth = np.zeros(70, int)
    measured = augmented.gain(model, batch, truth, views=2)
    assert (measured.accuracy, measured.averaged_accuracy) == (40 / 70, 60 / 70)
    assert (measured.repaired, measured.spoiled) == (20, 0)
    assert measured.accuracy_interval.high < measured.averaged_interval.high
    np.testing.assert_array_equal(measured.plain, model(batch))
    np.testing.assert_array_equal(measured.averaged, augmented.predict(model, batch, 2))
    assert measured.cost > 1
    facts = json.loads(json.dumps(measured.as_dict()))
    assert facts["photos"] == 70 and facts["repaired"] == 20 and facts["cost"] > 0


def test_the_gain_is_measured_on_the_rows_asked_for():
    batch, rows = photos(50), np.array([3, 4, 40])
    truth = left_half(batch[rows]).argmax(1)
    measured = augmented.gain(left_half, batch, truth, views=3, rows=rows)
    np.testing.assert_array_equal(measured.plain, left_half(batch[rows]))
    assert measured.accuracy == 1


def test_wrong_calls_say_what_was_expected():
    with pytest.raises(ValueError, match="at least one view"):
        augmented.predict(left_half, photos(), 0)
    for arguments in ((photos(3), [0, 1], 4), (photos(2), [0, 1], 1), (photos(0), [], 4)):
        with pytest.raises(ValueError, match="one truth a photo"):
            augmented.gain(left_half, *arguments)
