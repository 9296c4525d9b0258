"""Robustness: each corruption worsens as it says, the measure counts right, the page shows it."""

import io
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from flowers.judge import figures_robustness, robustness, robustness_sections
from flowers.judge.intervals import wilson
from flowers.judge.parts import Photos, Picture, Table

BY_NAME = {one.name: one for one in robustness.CORRUPTIONS}


def scene(side=64, seed=0):
    """A photo with coarse and fine structure, neither black nor white."""
    random = np.random.default_rng(seed)
    layers = [
        Image.fromarray(random.integers(40, 216, (cells, cells, 3)).astype(np.uint8)).resize(
            (side, side), Image.Resampling.BICUBIC
        )
        for cells in (5, 24)
    ]
    return np.asarray(Image.blend(*layers, 0.4))


def far(one, other):
    """Mean difference in grey levels."""
    return np.abs(one.astype(float) - other.astype(float)).mean()


@pytest.mark.parametrize("name", BY_NAME)
def test_a_photo_gets_worse_with_strength(name):
    photo = scene(96)
    kept = photo.copy()
    distances = []
    for strength in range(1, 6):
        worse = robustness.corrupt(photo[None], BY_NAME[name], strength, np.array([5]))
        assert worse.shape == (1, 96, 96, 3) and worse.dtype == np.uint8
        distances.append(far(worse[0], photo))
    assert distances[0] > 0 and distances[-1] > 2
    if name not in ("rotation", "brightness"):  # these turn one way or the other
        assert distances == sorted(distances)
    np.testing.assert_array_equal(photo, kept)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_corruption_depends_on_seed_and_strength_alone(name):
    batch = np.stack([scene(seed=n) for n in range(3)])
    together = robustness.corrupt(batch, BY_NAME[name], 3, np.array([1, 2, 3]))
    alone = robustness.corrupt(batch[1:2], BY_NAME[name], 3, np.array([2]))
    np.testing.assert_array_equal(together[1:2], alone)


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("shape", [(2, 2, 3), (16, 16, 3), (33, 57, 3)])
def test_photos_of_any_shape_keep_it(name, shape):
    photo = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for strength in (1, 5):
        worse = robustness.corrupt(photo[None], BY_NAME[name], strength, np.array([0]))
        assert worse.shape == (1, *shape)


def test_each_does_what_its_name_says():
    random = np.random.default_rng(0)
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert abs(robustness.noise(grey, 0.1, random).std() - 25.5) < 1
    light = {round(robustness.expose(grey, 1, random).mean()) for _ in range(20)}
    assert light == {round(128 * 2 ** (1 / 2.2)), round(128 / 2 ** (1 / 2.2))}
    edge = np.zeros((224, 224, 3), np.uint8)
    edge[:, 112:] = 255
    column = robustness.blur(edge, 4, random)[112, :, 0].astype(float)
    assert abs(np.interp(255 * 0.8413, column, np.arange(224)) - 111.5 - 4) < 0.7  # one deviation
    coarse = robustness.shrink(scene(), 1 / 8, random)
    assert np.abs(np.diff(coarse.astype(float), axis=1)).mean() < 5


def test_a_turn_is_a_turn_and_its_corners_are_filled():
    photo = scene()
    turned = robustness.rotate(photo, 90, np.random.default_rng(0))
    ways = [far(turned[4:-4, 4:-4], np.rot90(photo, k)[4:-4, 4:-4]) for k in (1, 3)]
    assert min(ways) < 12 < max(ways)
    white = np.full((64, 64, 3), 255, np.uint8)
    assert robustness.rotate(white, 45, np.random.default_rng(0)).min() == 255


# --- measuring --------------------------------------------------------------------------------


def fine_structure(batch):
    """A model that knows class 1 by its fine structure: blur, JPEG and smallness take it away."""
    roughness = np.abs(np.diff(batch.astype(float), axis=2)).mean(axis=(1, 2, 3))
    share = 1 / (1 + np.exp(-(roughness - 7)))
    return np.column_stack([1 - share, share])


@pytest.fixture(scope="module")
def measured():
    photos = np.stack([scene(seed=n) for n in range(40)])
    return robustness.measure(fine_structure, photos, np.ones(40, int), most=35)


def test_every_corruption_is_scored_at_every_strength(measured):
    assert measured.photos == 35
    assert (measured.clean.accuracy, measured.clean.strength) == (1, 0)
    assert measured.corruptions == tuple(BY_NAME)
    for name in BY_NAME:
        scores = measured.of(name)
        assert [score.strength for score in scores] == [1, 2, 3, 4, 5]
        for score in scores:
            assert score.accuracy == score.correct / 35
            assert score.interval == wilson(score.correct, 35)
    assert [measured.of(name)[4].accuracy for name in ("blur", "small size")] == [0, 0]
    assert measured.of("noise")[4].accuracy == 1
    accuracies = [score.accuracy for score in measured.scores]
    assert measured.mean == pytest.approx(np.mean(accuracies))
    assert measured.mean_interval.low <= measured.mean <= measured.mean_interval.high
    assert measured.of("JPEG")[3].amount == "quality 10"


def test_the_result_is_ready_for_json(measured):
    values = json.loads(json.dumps(measured.as_dict(), allow_nan=False))
    assert len(values["scores"]) == 30
    assert values["scores"][0] | {"interval": None} == {
        "corruption": "blur",
        "strength": 1,
        "amount": "1 px of 224",
        "correct": measured.scores[0].correct,
        "accuracy": measured.scores[0].accuracy,
        "interval": None,
    }


def test_the_sample_is_seeded_and_taken_from_the_rows_given():
    photos = np.stack([scene(seed=n) for n in range(12)])
    rows = np.array([1, 3, 5, 7, 9, 11])
    seen = []

    def model(batch):
        seen.append(batch)
        return np.tile([0.0, 1.0], (len(batch), 1))

    blur = [BY_NAME["blur"]]
    results = [
        robustness.measure(
            model, photos, np.ones(6, int), rows=rows, most=4, seed=seed, corruptions=blur
        )
        for seed in (1, 1, 2)
    ]
    clean = [seen[number] for number in (0, 6, 12)]
    np.testing.assert_array_equal(clean[0], clean[1])
    assert not np.array_equal(clean[0], clean[2])
    assert results[0] == results[1] and results[0].photos == 4
    allowed = {photos[row].tobytes() for row in rows}
    assert all(photo.tobytes() in allowed for batch in clean for photo in batch)


def test_wrong_calls_say_what_was_expected():
    for photos, truth, most in ((3, [0, 1], 9), (0, [], 9), (2, [0, 1], 0)):
        batch = np.zeros((photos, 8, 8, 3), np.uint8)
        with pytest.raises(ValueError, match="each with its truth"):
            robustness.measure(fine_structure, batch, np.array(truth, int), most=most)


# --- showing ----------------------------------------------------------------------------------


def test_the_figure_has_a_drawing_for_each_corruption(measured):
    figure = figures_robustness.curves(measured)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    assert ElementTree.fromstring(buffer.getvalue()).tag.endswith("svg")
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in drawn] == list(BY_NAME)
    for axes in drawn:
        line = axes.lines[-1]
        scores = measured.of(axes.get_title(loc="left"))
        assert list(line.get_ydata()) == [score.accuracy for score in scores]
    assert figure.get_size_inches()[0] == pytest.approx(4.8)


def test_an_odd_number_of_corruptions_leaves_no_empty_box():
    photos = np.stack([scene(seed=n) for n in range(4)])
    result = robustness.measure(
        fine_structure, photos, np.ones(4, int), corruptions=robustness.CORRUPTIONS[:3]
    )
    figure = figures_robustness.curves(result)
    assert [axes.axison for axes in figure.axes] == [True, True, True, False]


def test_the_section_shows_curves_photos_and_numbers(measured):
    section = robustness_sections.section(measured, scene())
    picture, gallery, table = section.parts
    assert isinstance(picture, Picture) and "small size 0.0" in picture.alt
    assert isinstance(gallery, Photos) and len(gallery.photos) == 7
    assert len({photo.pixels.tobytes() for photo in gallery.photos}) == 7
    assert isinstance(table, Table) and [row[0] for row in table.rows] == list(BY_NAME)
    assert all(len(row) == len(table.columns) == 7 for row in table.rows)
    assert "35 test photos" in section.lead
    assert len(robustness_sections.section(measured).parts) == 2
