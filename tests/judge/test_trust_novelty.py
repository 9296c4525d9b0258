"""Novelty: what was never seen scores high, and the score is the formula it says it is."""

import io

import numpy as np
import pytest

from flowers.errors import InputError
from flowers.judge import novelty
from flowers.judge.novelty import Novelty, Recipe

RECIPES = (Recipe("low", 1.5, 8), Recipe("high", 0.5, 3))


def photos(count, seed, classes=3, shift=0.0):
    """Features of two levels, low [N, 8] and high [N, 12], in clusters; and their classes [N]."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).gamma(2.0, size=(classes, 20))
    truth = np.arange(count) % classes
    noise = random.normal(scale=0.15, size=(count, 20))
    noise[:, 5] *= 0.05  # a direction that hardly varies
    features = np.abs(centres[truth] + noise)
    features[:, 5] += shift
    return {"low": features[:, :8], "high": features[:, 8:]}, truth


def fitted(**changes) -> Novelty:
    training, truth = photos(240, 1)
    validation, _ = photos(100, 2)
    return novelty.fit(training, truth, validation, **{"recipes": RECIPES} | changes)


def test_what_is_unusual_scores_high_and_flowers_pass():
    model = fitted()
    flowers, _ = photos(400, 3)
    strangers, _ = photos(50, 4, shift=0.6)  # in the direction that hardly varies
    assert model.known(flowers).mean() == pytest.approx(0.95, abs=0.04)
    assert not model.known(strangers).any()
    assert np.median(model.score(flowers)) == pytest.approx(1, abs=0.15)
    assert model.threshold > 1


def test_the_score_is_the_distance_it_says():
    training, truth = photos(240, 1)
    model = fitted(recipes=(Recipe("low", 2.0, 8, shrinkage=0.1),))
    features, _ = photos(30, 5)

    def scaled(values):
        return values**2 / np.linalg.norm(values**2, axis=1, keepdims=True)

    rows = scaled(training["low"])
    means = np.stack([rows[truth == index].mean(axis=0) for index in range(3)])
    spread = np.cov((rows - means[truth]).T, bias=True)
    spread += np.eye(8) * 0.1 * np.trace(spread) / 8
    apart = scaled(features["low"])[:, None] - means
    by_hand = np.einsum("ncd,de,nce->nc", apart, np.linalg.inv(spread), apart).min(axis=1)
    length = np.linalg.norm(features["low"], axis=1)
    by_hand = by_hand / np.clip(length, model.contrast.low, model.contrast.high) ** (
        model.contrast.slope
    )
    scores = model.score(features)
    np.testing.assert_allclose(scores / scores[0], by_hand / by_hand[0], rtol=1e-4)


def test_directions_beyond_the_width_count_by_their_length():
    features, _ = photos(60, 5)
    level = fitted(recipes=(Recipe("high", 1.0, 4),)).levels["high"]
    assert level.projection.shape == (12, 4)
    scaled = novelty.scale(features["high"], 1.0) - level.mean
    directions = level.projection * np.sqrt(level.variance)  # orthonormal
    np.testing.assert_allclose(directions.T @ directions, np.eye(4), atol=1e-5)
    expected = []
    for centre in level.centres:
        inside = (scaled - centre) @ directions
        beyond = scaled - centre - inside @ directions.T
        expected.append((inside**2 / level.variance).sum(1) + level.rest * (beyond**2).sum(1))
    np.testing.assert_allclose(
        level.distance(features["high"]), np.min(expected, axis=0), rtol=1e-4
    )


def test_a_photo_is_judged_by_itself_and_a_blank_one_is_refused():
    model = fitted()
    features, _ = photos(20, 6)
    alone = {name: values[3:4] for name, values in features.items()}
    np.testing.assert_allclose(model.score(alone), model.score(features)[3:4], rtol=1e-9)
    blank = {name: np.zeros_like(values) for name, values in features.items()}
    assert np.isfinite(model.score(blank)).all() and not model.known(blank).any()


def test_strength_beyond_that_of_flowers_changes_nothing_more():
    model = fitted()
    features, _ = photos(20, 6)
    strong, stronger = (
        model.score({name: factor * values for name, values in features.items()})
        for factor in (50, 100)
    )
    np.testing.assert_allclose(strong, stronger, rtol=1e-9)


def test_strong_features_may_lie_farther_out():
    """Flowers whose noise grows with their strength: the score forgets the strength."""
    random = np.random.default_rng(0)

    def flowers(count):
        strength = random.uniform(1, 4, (count, 1))
        noise = random.normal(scale=0.02, size=(count, 8)) * strength**1.5
        return {"low": strength * np.abs(1 + noise)}, np.zeros(count, int)

    training, truth = flowers(400)
    model = novelty.fit(training, truth, flowers(400)[0], 0.95, (Recipe("low", 1.0, 8),))
    assert 2 < model.contrast.slope < 4  # the squared distance grows with the third power
    fresh, _ = flowers(400)
    length, score = np.linalg.norm(fresh["low"], axis=1), model.score(fresh)
    assert abs(np.corrcoef(np.log(length), np.log(score))[0, 1]) < 0.2


def test_plain_operations_in_float32_give_the_same_score():
    """What an exported graph will do: products, squares, powers, clips, least and sum."""
    model = fitted()
    features, _ = photos(50, 6)
    total = np.zeros(50, np.float32)
    for name, level in model.levels.items():
        x = np.maximum(features[name].astype(np.float32), 0) ** np.float32(level.power)
        x = x / np.sqrt((x**2).sum(1, keepdims=True)) - level.mean  # [N, D]
        z = (x @ level.projection)[:, None] - level.centres @ level.projection  # [N, C, K]
        length = ((x[:, None] - level.centres) ** 2).sum(2)  # [N, C]
        beyond = np.maximum(length - z**2 @ level.variance, 0)
        distance = ((z**2).sum(2) + np.float32(level.rest) * beyond).min(1)
        total += np.float32(level.weight) * distance
        assert distance.dtype == np.float32
    strength = np.sqrt((features[model.contrast.level].astype(np.float32) ** 2).sum(1))
    strength = np.clip(strength, model.contrast.low, model.contrast.high)
    np.testing.assert_allclose(
        total / strength**model.contrast.slope, model.score(features), rtol=1e-3
    )


def test_the_threshold_is_the_score_that_the_rank_names():
    training, truth = photos(240, 1)
    validation, _ = photos(99, 2)
    model = novelty.fit(training, truth, validation, 0.9, RECIPES)
    rank = novelty.tolerance_rank(99, 0.9)
    assert rank == 95  # a quantile would be the 90th: that keeps 90 % in every second draw only
    assert (model.score(validation) <= model.threshold * (1 + 1e-12)).sum() == rank


@pytest.mark.parametrize("held_out", [59, 100, 549])
def test_the_threshold_keeps_the_share_in_95_of_100_draws(held_out):
    """Scores uniform between 0 and 1, so that a threshold t keeps the share t of all flowers."""
    draws = np.sort(np.random.default_rng(5).random((20_000, held_out)), axis=1)
    rank = novelty.tolerance_rank(held_out, 0.95)
    assert (draws[:, rank - 1] >= 0.95).mean() >= 0.945  # 0.95 and three standard errors
    assert (draws[:, rank - 2] >= 0.95).mean() < 0.955  # and no rank higher than it must be


def test_too_few_photos_to_be_sure_give_the_last_rank():
    assert novelty.tolerance_rank(58, 0.95) == 58
    assert novelty.tolerance_rank(20, 0.95) == 20


def test_arrays_go_through_a_file_without_pickle():
    model = fitted()
    buffer = io.BytesIO()
    np.savez(buffer, **model.as_arrays())
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as arrays:
        again = Novelty.from_arrays(arrays)
    features, _ = photos(20, 7)
    np.testing.assert_array_equal(again.score(features), model.score(features))
    assert (again.threshold, again.kept) == (model.threshold, model.kept)
    assert again.contrast == model.contrast


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("low.mean", None),
        ("low.mean", np.zeros(3)),
        ("high.projection", np.zeros(12)),
        ("high.projection", np.full((12, 3), np.nan)),
        ("threshold", np.nan),
        ("threshold", np.array("high")),
        ("contrast.slope", np.inf),
        ("contrast.level", np.array("other")),
        ("levels", np.array([], dtype=str)),
        ("levels", np.array(["other"])),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, value):
    arrays = fitted().as_arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    with pytest.raises(InputError, match="novelty score"):
        Novelty.from_arrays(arrays)


def test_too_few_validation_photos_are_refused():
    training, truth = photos(60, 1)
    few, _ = photos(19, 2)
    with pytest.raises(InputError, match="at least 20 validation photos"):
        novelty.fit(training, truth, few, recipes=RECIPES)
    with pytest.raises(InputError, match="at least 99 validation photos"):
        novelty.fit(training, truth, photos(98, 2)[0], 0.99, RECIPES)


def test_features_that_do_not_fit_are_refused():
    training, truth = photos(60, 1)
    validation, _ = photos(40, 2)
    with pytest.raises(InputError, match="none of high"):
        novelty.fit({"low": training["low"]}, truth, validation, recipes=RECIPES)
    with pytest.raises(InputError, match="one a training photo"):
        novelty.fit(training, truth[:5], validation, recipes=RECIPES)
    with pytest.raises(InputError, match="same photos in every level"):
        novelty.fit(training | {"low": training["low"][:9]}, truth, validation, recipes=RECIPES)
    broken = training["low"].copy()
    broken[3, 2] = np.nan
    with pytest.raises(InputError, match="NaN or infinity in low"):
        novelty.fit(training | {"low": broken}, truth, validation, recipes=RECIPES)
    with pytest.raises(InputError, match="8 features of low"):
        fitted().score({"low": np.ones((2, 7)), "high": np.ones((2, 12))})
    with pytest.raises(InputError, match="between 0 and 1"):
        novelty.fit(training, truth, validation, 1.0, RECIPES)
