"""Whether heat maps point at what matters: scores on planted evidence."""

import json

import numpy as np
import pytest

from flowers.errors import InputError
from flowers.judge import faithfulness
from flowers.judge.explain import Explanation


def planted(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Dark photos with a bright checked cell off the middle; the true heat [N, 4, 4] of each."""
    random = np.random.default_rng(3)
    pixels = random.integers(0, 40, (count, 32, 32, 3)).astype(np.uint8)
    heats = np.zeros((count, 4, 4), np.float32)
    checks = 255 * (np.indices((8, 8)).sum(0) % 2).astype(np.uint8)
    for number, place in enumerate(random.choice([0, 3, 12, 15], count)):
        row, column = divmod(int(place), 4)
        heats[number, row, column] = 1
        pixels[number, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = checks[..., None]
    return pixels, heats


def sees_checks(batch: np.ndarray) -> np.ndarray:
    """A model that is sure of class 1 as far as there are bright pixels."""
    share = np.clip((batch > 200).mean((1, 2, 3)) * 32, 0, 1)
    return np.stack([1 - share, share], axis=1)


def score(heats: np.ndarray, pixels: np.ndarray, predict=sees_checks, **settings):
    explanations = [Explanation(1, 1.0, heat) for heat in heats]
    return faithfulness.faithful(predict, pixels, explanations, **settings)


def test_maps_of_the_true_place_beat_the_middle_and_chance():
    pixels, heats = planted()
    found = score(heats, pixels, steps=8)
    for curves in (found.deletion, found.insertion):
        assert curves.over_blob.interval.low > 0
        assert curves.over_chance.interval.low > 0
    assert found.deletion.maps_area < 0.2 < 0.8 < found.insertion.maps_area
    assert found.deletion.maps[0] == found.insertion.maps[-1] == pytest.approx(1, abs=0.01)
    assert found.deletion.maps[-1] == found.insertion.maps[0] == 0
    json.dumps(found.as_dict(), allow_nan=False)


def test_maps_of_the_wrong_place_are_told_apart_from_good_ones():
    pixels, heats = planted()
    found = score(1 - heats, pixels, steps=8)
    assert found.deletion.over_chance.interval.high < 0
    assert found.insertion.over_chance.interval.high < 0


def test_maps_that_know_nothing_do_as_chance_does():
    pixels, heats = planted(60)
    flat = score(np.zeros_like(heats), pixels, steps=8)
    for gain in (flat.deletion.over_chance, flat.insertion.over_chance):
        assert gain.interval.low < 0 < gain.interval.high


def test_scores_cost_what_they_say_and_repeat():
    pixels, heats = planted(5)
    seen = []

    def counting(batch):
        seen.append(len(batch))
        assert batch.dtype == np.uint8
        return sees_checks(batch)

    first = score(heats, pixels, counting, steps=4)
    assert sum(seen) == first.passes == 5 * (3 + 6 * 3)
    assert max(seen) <= faithfulness.BATCH
    assert score(heats, pixels, steps=4) == first
    assert score(heats, pixels, steps=4, seed=1) != first


def test_scores_need_photos_and_steps():
    pixels, heats = planted(4)
    for wrong in (
        {"heats": heats[:1], "pixels": pixels[:1]},
        {"heats": heats[:3], "pixels": pixels},
        {"heats": heats, "pixels": pixels, "steps": 101},
        {"heats": heats, "pixels": pixels, "steps": 1},
    ):
        with pytest.raises(InputError, match="2 to 100 steps"):
            score(**wrong)
