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
from flowers.judge.faithfulness import Curves, Faithful, Gain
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
    maps = grad_cam(model, photos(name), np.array([0, 1, 2, 0, 1]), explain.PATH)
    last.set_weights([kernel / np.abs(maps).max(), bias])
    return model


def photos(name: str, count: int = 5) -> np.ndarray:
    side = SETTINGS[name]["size"]
    return np.random.default_rng(1).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def grad_cam(
    model: keras.Model, pixels: np.ndarray, classes: np.ndarray, path=explain.AT_THE_PHOTO
) -> np.ndarray:
    """Grad-CAM without its ReLU, by automatic differentiation of the log-odds.

    path: shares of the features at which the gradient is taken, and then averaged.
    """
    before, last = model.get_layer("pool").input, model.get_layer("probabilities")
    features = keras.Model(model.input, before)(pixels, training=False)
    head = keras.Model(before, last.input)
    alpha = 0.0
    for share in path:
        reached = share * features
        with tf.GradientTape() as tape:
            tape.watch(reached)
            logits = head(reached, training=False) @ last.kernel + last.bias
            chosen = tf.one_hot(classes, logits.shape[-1])
            others = tf.reduce_logsumexp(logits - 1e9 * chosen, axis=-1)
            score = tf.reduce_sum(logits * chosen, axis=-1) - others
        alpha += tf.reduce_mean(tape.gradient(score, reached), axis=(1, 2)) / len(path)
    return tf.einsum("bhwk,bk->bhw", features, alpha).numpy()


def answers(model: keras.Model, pixels: np.ndarray):
    """What a model puts out, once: so without the seconds that compiling it takes."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(pixels, training=False))


@pytest.fixture(scope="module", params=SETTINGS)
def case(request):
    return build(request.param), photos(request.param)


@pytest.fixture(scope="module")
def miniature():
    return build("miniature")


# --- heat maps -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [explain.AT_THE_PHOTO, explain.PATH], ids=["point", "path"])
def test_equals_grad_cam_by_automatic_differentiation(case, path):
    model, pixels = case
    probabilities, maps = answers(explain.evidence_model(model, path), pixels)
    np.testing.assert_allclose(probabilities, answers(model, pixels), atol=1e-6)
    wanted = grad_cam(model, pixels, probabilities.argmax(1), path)
    assert 0.1 < wanted.max() < 100
    np.testing.assert_allclose(maps, wanted, atol=1e-4)
    if path == explain.PATH:
        _, heats = answers(explain.heat_model(model), pixels)
        np.testing.assert_allclose(heats, np.maximum(wanted, 0), atol=1e-4)


def test_equals_grad_cam_of_any_class_asked_for(case):
    model, pixels = case
    asked = np.array([0, 1, 2, 0, 1])
    found = explain.explain_all(model, pixels, asked)
    wanted = grad_cam(model, pixels, asked, explain.PATH)
    assert wanted.max() > 0.1
    np.testing.assert_allclose([one.evidence for one in found], wanted, atol=1e-4)
    assert all((one.heat == np.maximum(one.evidence, 0)).all() for one in found)
    probabilities = answers(model, pixels)
    assert [one.label for one in found] == asked.tolist()
    np.testing.assert_allclose(
        [one.probability for one in found], probabilities[np.arange(5), asked], atol=1e-6
    )


def test_a_map_adds_up_to_what_the_features_add_to_the_log_odds(case):
    model, pixels = case
    last = model.get_layer("probabilities")
    kernel, bias = last.get_weights()
    pool = model.get_layer("pool").output
    read = answers(keras.Model(model.input, last.input), pixels)
    nothing = np.zeros((len(pixels), pool.shape[-1]), np.float32)
    if last.input is not pool:
        nothing = answers(keras.Model(pool, last.input), nothing)
    for one, here, there in zip(explain.explain_all(model, pixels), read, nothing, strict=True):
        gained = log_odds(here @ kernel + bias, one.label) - log_odds(
            there @ kernel + bias, one.label
        )
        assert one.evidence.sum() == pytest.approx(gained, abs=0.05 + 0.05 * abs(gained))


def log_odds(logits: np.ndarray, label: int) -> float:
    others = np.delete(logits.astype(np.float64), label)
    return float(logits[label] - np.log(np.exp(others - others.max()).sum()) - others.max())


def test_a_map_follows_a_folded_temperature():
    model, pixels = build("miniature"), photos("miniature")
    before = explain.explain_all(model, pixels)
    last = model.get_layer("probabilities")
    last.set_weights([weight / 2.5 for weight in last.get_weights()])
    after = explain.explain_all(model, pixels)
    labels = np.array([one.label for one in after])
    assert [one.label for one in before] == labels.tolist()
    maps = [one.evidence for one in after]
    np.testing.assert_allclose(maps, grad_cam(model, pixels, labels, explain.PATH), atol=1e-4)
    assert np.abs(maps).max() < np.abs([one.evidence for one in before]).max()


def test_a_class_that_is_certain_still_has_a_map():
    model, pixels = build("miniature"), photos("miniature")
    last = model.get_layer("probabilities")
    kernel, bias = last.get_weights()
    last.set_weights([kernel, bias + np.array([500, 0, 0])])  # the others' share is exactly 0
    for one in explain.explain_all(model, pixels):
        assert one.label == 0 and one.probability == 1
        assert np.isfinite(one.evidence).all()


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


# --- drawings --------------------------------------------------------------------------------


def measured() -> Faithful:
    """What a test of heat maps might have given."""
    gain = Gain(0.1, Interval(0.05, 0.15))
    falling = Curves((1, 0.2, 0), (1, 0.6, 0), (1, 0.5, 0), 0.35, 0.55, 0.5, gain, gain)
    rising = Curves((0, 0.8, 1), (0, 0.4, 1), (0, 0.5, 1), 0.65, 0.45, 0.5, gain, gain)
    return Faithful(20, 180, (0, 0.5, 1), falling, rising)


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
    drawn = [
        figures_explain.explanation(photo, np.eye(3), "$\\frac{$\u202e", 0.875),
        figures_explain.neighbours(photo, [photo] * 4, ["this photo", *["$rose\n0.91"] * 4]),
        figures_explain.faithfulness(measured()),
    ]
    for figure in drawn:
        figure.savefig(io.BytesIO(), format="png")
    said = [text.get_text() for text in drawn[0].findobj(Text)]
    assert {"nothing", "most in this photo"} <= set(said)
    assert any("88\N{NO-BREAK SPACE}%" in text for text in said)
    assert sum(bool(axes.images) for axes in drawn[1].axes) == 5
    lines = drawn[2].axes[0].lines
    assert [line.get_label() for line in lines] == ["heat map", "middle first", "elsewhere"]
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
    looks = explain_sections.looks_at(
        miniature,
        pixels,
        truth,
        LABELS,
        [f"{n}.jpg" for n in range(6)],
        measured(),
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
    assert "points more probability than with the map moved elsewhere" in looks.parts[-1].lines[0]

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
