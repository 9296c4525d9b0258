"""Heat maps against automatic differentiation, their scores on planted evidence, drawings."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.text import Text

from flowers.errors import InputError
from flowers.judge import explain, explain_sections, figures_explain, page, report
from flowers.judge.explain import Explanation, Gain
from flowers.judge.intervals import Interval
from flowers.judge.similar import fit
from flowers.model import classifier as classifiers

LABELS = ("daisy", "rose", "tulip")
SETTINGS = {
    "no dense layer": {"size": 32, "backbone": "miniature", "head": ()},
    "miniature": {"size": 32, "backbone": "miniature", "head": (16, 8)},
    "resnet50": {"size": 64, "head": (32, 16, 8)},
}


def build(name: str) -> keras.Model:
    """A classifier with random weights and a head that gives maps around 1."""
    model = classifiers.build(3, **SETTINGS[name]).model
    random = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            shapes = [weight.shape for weight in layer.get_weights()]
            layer.set_weights([random.normal(0, 0.8, shape) for shape in shapes])
    last = model.get_layer("probabilities")
    kernel, bias = last.get_weights()
    largest = grad_cam(model, photos(name), np.array([0, 1, 2, 0, 1])).max()
    last.set_weights([kernel / largest, bias])
    return model


def photos(name: str, count: int = 5) -> np.ndarray:
    side = SETTINGS[name]["size"]
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def grad_cam(model: keras.Model, pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Grad-CAM as in its paper, by automatic differentiation of the logits."""
    before, last = model.get_layer("pool").input, model.get_layer("probabilities")
    features = keras.Model(model.input, before)(pixels, training=False)
    head = keras.Model(before, last.input)
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = head(features, training=False) @ last.kernel + last.bias
        score = tf.gather(logits, classes, batch_dims=1)
    alpha = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2))
    return tf.nn.relu(tf.einsum("bhwk,bk->bhw", features, alpha)).numpy()


@pytest.fixture(scope="module", params=SETTINGS)
def case(request):
    return build(request.param), photos(request.param)


@pytest.fixture(scope="module")
def miniature():
    return build("miniature")


# --- heat maps -------------------------------------------------------------------------------


def test_equals_grad_cam_by_automatic_differentiation(case):
    model, pixels = case
    probabilities, heats = explain.heat_model(model).predict_on_batch(pixels)
    np.testing.assert_allclose(probabilities, model.predict_on_batch(pixels), atol=1e-6)
    wanted = grad_cam(model, pixels, probabilities.argmax(1))
    assert 0.1 < wanted.max() < 100
    np.testing.assert_allclose(heats, wanted, atol=1e-4)


def test_equals_grad_cam_of_any_class_asked_for(case):
    model, pixels = case
    asked = np.array([0, 1, 2, 0, 1])
    found = explain.explain_all(model, pixels, asked)
    wanted = grad_cam(model, pixels, asked)
    assert wanted.max() > 0.1
    np.testing.assert_allclose([one.heat for one in found], wanted, atol=1e-4)
    probabilities = model.predict_on_batch(pixels)
    assert [one.label for one in found] == asked.tolist()
    np.testing.assert_allclose(
        [one.probability for one in found], probabilities[np.arange(5), asked], atol=1e-6
    )


def test_a_folded_temperature_only_scales_the_map():
    model, pixels = build("miniature"), photos("miniature")
    before = explain.explain_all(model, pixels)
    last = model.get_layer("probabilities")
    last.set_weights([weight / 2.5 for weight in last.get_weights()])
    after = explain.explain_all(model, pixels)
    assert [one.label for one in after] == [one.label for one in before]
    for cool, hot in zip(after, before, strict=True):
        np.testing.assert_allclose(cool.heat, hot.heat / 2.5, atol=1e-5)
    heats = [one.heat for one in after]
    labels = np.array([one.label for one in after])
    np.testing.assert_allclose(heats, grad_cam(model, pixels, labels), atol=1e-4)


def test_the_graph_reloads_in_safe_mode_without_our_code(tmp_path, miniature):
    pixels = photos("miniature")
    heat = explain.heat_model(miniature)
    heat.save(tmp_path / "heat.keras")
    again = keras.saving.load_model(tmp_path / "heat.keras", safe_mode=True)
    for ours, theirs in zip(
        heat.predict_on_batch(pixels), again.predict_on_batch(pixels), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    config = json.loads(zipfile.ZipFile(tmp_path / "heat.keras").read("config.json"))
    assert "__numpy__" not in json.dumps(config)  # no kernel stands in it as text


def test_explains_one_photo_as_it_explains_many(miniature):
    pixels = photos("miniature", explain.BATCH + 3)
    many = explain.explain_all(miniature, pixels)
    assert len(many) == len(pixels)
    for number in (0, explain.BATCH + 2):
        one = explain.explain(miniature, pixels[number])
        assert one.label == many[number].label
        assert one.probability == pytest.approx(many[number].probability, abs=1e-5)
        np.testing.assert_allclose(one.heat, many[number].heat, atol=1e-4)
    assert explain.explain(miniature, pixels[0], 2).label == 2


def test_building_it_changes_nothing_in_the_model(miniature):
    before = [weight.copy() for weight in miniature.get_weights()]
    trainable = len(miniature.trainable_weights)
    explain.heat_model(miniature)
    for old, new in zip(before, miniature.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(miniature.trainable_weights) == trainable


def test_refuses_what_it_cannot_explain(miniature):
    with pytest.raises(InputError, match=r"shape \(32, 32, 3\)"):
        explain.explain(miniature, np.zeros((16, 16, 3), np.uint8))
    for number in (-1, 3):
        with pytest.raises(InputError, match="from 0 to 2"):
            explain.explain(miniature, photos("miniature")[0], number)
    inputs = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(inputs)
    bent = keras.layers.Dense(4, activation="tanh")(pooled)
    for x in (keras.layers.Flatten()(inputs), bent):
        strange = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
        with pytest.raises(InputError, match="dense layers with ReLU and a softmax"):
            explain.heat_model(strange)


# --- deletion and insertion ------------------------------------------------------------------


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
    return explain.faithful(predict, pixels, explanations, **settings)


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
    assert sum(seen) == first.passes == 5 * (2 + 6 * 3)
    assert max(seen) <= explain.BATCH
    assert score(heats, pixels, steps=4) == first
    assert score(heats, pixels, steps=4, seed=1) != first


def test_scores_need_photos_and_steps():
    pixels, heats = planted(4)
    for wrong in (
        {"heats": heats[:1], "pixels": pixels[:1]},
        {"heats": heats[:3], "pixels": pixels},
        {"heats": heats, "pixels": pixels, "steps": 17},
        {"heats": heats, "pixels": pixels, "steps": 1},
    ):
        with pytest.raises(InputError, match="2 to 16 steps"):
            score(**wrong)


# --- drawings --------------------------------------------------------------------------------


def colourfulness(pixels: np.ndarray) -> np.ndarray:
    return np.ptp(pixels.astype(int), axis=-1)


def test_an_overlay_is_grey_where_nothing_speaks_and_coloured_where_something_does():
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    heat = np.zeros((4, 6), np.float32)
    heat[3, 0] = 0.02  # however small: a map is scaled to its own hottest place
    shown = figures_explain.overlay(photo, heat)
    assert shown.shape == photo.shape
    assert shown.dtype == np.uint8
    assert colourfulness(shown)[:20, 30:].max() == 0
    assert colourfulness(shown)[35, 5] > 60
    np.testing.assert_array_equal(shown, figures_explain.overlay(photo, 50 * heat))


def test_an_overlay_without_heat_or_strength_is_the_grey_photo():
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    cold = figures_explain.overlay(photo, np.zeros((2, 2)))
    assert colourfulness(cold).max() == 0
    assert cold.std() > 10
    faint = figures_explain.overlay(photo, np.ones((2, 2)), strength=0)
    np.testing.assert_array_equal(cold, faint)


def test_figures_say_what_the_colours_mean_and_take_hostile_names():
    photo = np.zeros((30, 20, 3), np.uint8)
    pixels, heats = planted(4)
    drawn = [
        figures_explain.explanation(photo, np.eye(3), "$\\frac{$\u202e", 0.875),
        figures_explain.neighbours(photo, [photo] * 4, ["this photo", *["$rose\n0.91"] * 4]),
        figures_explain.faithfulness(score(heats, pixels, steps=4)),
    ]
    for figure in drawn:
        figure.savefig(io.BytesIO(), format="png")
    said = [text.get_text() for text in drawn[0].findobj(Text)]
    assert {"nothing", "most in this photo"} <= set(said)
    assert any("88\N{NO-BREAK SPACE}%" in text for text in said)
    assert sum(bool(axes.images) for axes in drawn[1].axes) == 5
    lines = drawn[2].axes[0].lines
    assert [line.get_label() for line in lines] == ["heat map", "middle first", "random order"]
    with pytest.raises(ValueError, match="2 photos, 1 captions"):
        figures_explain.neighbours(photo, [photo], ["one"])


# --- sections of the report ------------------------------------------------------------------


def test_chooses_ordinary_right_answers_of_every_class_and_the_surest_mistakes():
    truth = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    sure = np.array([0.5, 0.7, 0.9, 0.6, 0.7, 0.99, 0.4, 0.8, 0.95, 0.9])
    said = np.array([0, 0, 0, 1, 1, 1, 2, 0, 0, 2])
    probabilities = np.full((10, 3), 0.0)
    probabilities[np.arange(10), said] = sure
    assert explain_sections.choose(truth, probabilities, 3, 1).tolist() == [1, 4, 9, 8]
    assert explain_sections.choose(truth, probabilities, 20, 20).tolist()[-2:] == [8, 7]
    assert len(set(explain_sections.choose(truth, probabilities, 20, 20))) == 10
    assert explain_sections.choose(truth[:3], probabilities[:3], 2, 5).tolist() == [1, 0]


def page_with(sections) -> str:
    truth = np.arange(30) % 3
    probabilities = np.random.default_rng(0).dirichlet([1, 1, 1], 30)
    measured = report.evaluate(truth, probabilities, LABELS, [str(n) for n in range(30)])
    blank = np.zeros((8, 8, 3), np.uint8)
    return page.page(measured, None, {}, lambda path: blank, sections=sections)


def test_the_sections_stand_on_the_page(miniature):
    pixels = photos("miniature", 6)
    said = miniature.predict_on_batch(pixels).argmax(1)
    truth = np.where(np.arange(6) < 4, said, (said + 1) % 3)  # two mistakes
    planted_photos, heats = planted()
    looks = explain_sections.looks_at(
        miniature,
        pixels,
        truth,
        LABELS,
        [f"{n}.jpg" for n in range(6)],
        score(heats, planted_photos, steps=4),
    )
    kinds = [part.kind for part in looks.parts]
    assert kinds == ["picture", "picture", "photos", "photos", "words"]
    right, mistakes = (part.photos for part in looks.parts if part.kind == "photos")
    assert [photo.name for photo in right[::2]] == ["1.jpg", "2.jpg", "3.jpg"]
    np.testing.assert_array_equal(right[0].pixels, pixels[1])
    assert right[1].lines[0] == f"speaks for {LABELS[said[1]]}"
    assert [photo.name for photo in mistakes] == ["4.jpg", "4.jpg", "5.jpg", "5.jpg"]
    assert [photo.wrong for photo in mistakes] == [True, False] * 2
    assert mistakes[0].lines[0] == f"speaks for {LABELS[said[4]]}"
    assert mistakes[1].lines[0] == f"speaks for {LABELS[truth[4]]}"
    assert "points more probability than in a random order" in looks.parts[-1].lines[0]

    features = np.random.default_rng(2).normal(size=(20, 6))
    training = [LABELS[n % 3] for n in range(20)]
    found = fit(features, [f"{n}.jpg" for n in range(20)])

    def read(path):
        if path == "7.jpg":
            raise InputError("a photo", "none", "Look elsewhere.")
        return pixels[0]

    names = [LABELS[7 % 3], "rose"]
    similar = explain_sections.alike(
        found, features[[7, 1]] + 0.01, pixels[:2], names, training, read, agreement=0.91, k=3
    )
    assert [len(part.photos) for part in similar.parts] == [4, 4]
    assert similar.parts[0].photos[1].pixels is None  # the photo that cannot be read
    assert "91.0\N{NO-BREAK SPACE}%" in similar.lead
    for row, name in zip(similar.parts, names, strict=True):
        assert [photo.wrong for photo in row.photos[1:]] == [
            photo.lines[0] != name for photo in row.photos[1:]
        ]
    html = page_with([looks, similar])
    assert 'id="looks-at"' in html
    assert 'id="similar"' in html


def test_claims_no_more_than_the_interval_allows():
    same = explain_sections._compared(Gain(0.02, Interval(-0.01, 0.05)), "by chance")
    assert same.startswith("about as much probability as by chance (95 % interval")
    worse = explain_sections._compared(Gain(-0.1, Interval(-0.15, -0.05)), "by chance")
    assert worse.startswith("10.0 points less probability than by chance")


def test_looks_at_only_mistakes_and_at_none(miniature):
    pixels = photos("miniature", 2)
    said = miniature.predict_on_batch(pixels).argmax(1)
    wrong = explain_sections.looks_at(miniature, pixels, (said + 1) % 3, LABELS, ["a", "b"])
    assert [part.kind for part in wrong.parts] == ["photos", "words"]
    right = explain_sections.looks_at(miniature, pixels[:1], said[:1], LABELS, ["a"])
    assert [part.kind for part in right.parts] == ["picture", "words"]
    assert "mistake" not in right.lead
