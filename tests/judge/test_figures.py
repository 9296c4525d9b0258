"""The drawings: what stands on them, and that they leave nothing behind."""

import io
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from flowers.judge import figures

LABELS = ["daisy", "dandelion", "rose"]
MATRIX = np.array([[30, 0, 2], [1, 40, 0], [0, 7, 20]])
HOSTILE = ["$\\frac{$", "<script>alert(1)</script>", "two\nlines\x00\u202etxt.exe", "a" * 300]


def history(epochs=(3, 2)) -> pd.DataFrame:
    phases = ["head"] * epochs[0] + ["last stage"] * epochs[1]
    count = len(phases)
    return pd.DataFrame(
        {
            "phase": phases,
            "epoch": [*range(1, epochs[0] + 1), *range(1, epochs[1] + 1)],
            "loss": np.linspace(1.2, 0.3, count),
            "accuracy": np.linspace(0.5, 0.95, count),
            "val_loss": np.linspace(1.1, 0.4, count),
            "val_accuracy": np.linspace(0.55, 0.93, count),
            "rate": 1e-3,
        }
    )


def every_figure(labels) -> list[Figure]:
    random = np.random.default_rng(0)
    classes = len(labels)
    photos = random.integers(0, 256, (classes, 16, 16, 3), dtype=np.uint8)
    values = [0.5] * classes
    return [
        figures.gallery(photos, labels),
        figures.mistakes(photos, labels),
        figures.confusion(random.integers(0, 9, (classes, classes)), labels),
        figures.per_class(labels, values, [0.4] * classes, [0.6] * classes),
        figures.learning_curves(history().replace("head", labels[0])),
        figures.class_counts(labels, {labels[0]: [3] * classes, "test": [1] * classes}),
    ]


def svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg")
    return buffer.getvalue()


def texts(figure: Figure) -> list[str]:
    """What a reader of the figure sees written, in the order of drawing."""
    root = ElementTree.fromstring(svg(figure))
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_drawing_opens_no_window_and_changes_no_setting():
    before = dict(matplotlib.rcParams)
    for figure in every_figure(LABELS):
        figure.savefig(io.BytesIO(), format="png")
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_hostile_names_are_drawn_as_plain_text():
    for figure in every_figure(HOSTILE):
        figure.savefig(io.BytesIO(), format="png")  # a formula that does not parse would raise
        written = texts(figure)  # parsing fails where XML has no such character
        assert not any("\u202e" in text for text in written)
        assert max(map(len, written)) <= 42
    assert "$\\frac{$" in texts(figures.per_class(HOSTILE, [1] * 4, [1] * 4, [1] * 4))


def test_figures_for_a_few_classes_are_legible_on_a_phone():
    phone = 350 / 96  # inches
    for figure in every_figure(LABELS):
        figure.draw_without_rendering()
        shrunk = min(1, phone / figure.get_figwidth())
        sizes = [text.get_fontsize() for text in figure.findobj(matplotlib.text.Text)]
        assert min(sizes) * shrunk >= 6.5  # points: 8.7 px


def test_right_and_wrong_differ_in_lightness_too():
    def luminance(colour):
        return float(np.dot(to_rgb(colour), [0.2126, 0.7152, 0.0722]))

    assert luminance(figures.ORANGE) - luminance(figures.BLUE) > 0.15


def test_confusion_writes_every_count_and_both_directions():
    written = texts(figures.confusion(MATRIX, LABELS))
    assert sorted(t for t in written if t.isdigit()) == sorted(["30", "2", "1", "40", "7", "20"])
    assert written.count("·") == 3
    assert "the photo shows" in written
    assert "the model said" in written
    assert all(written.count(label) == 2 for label in LABELS)


def test_confusion_colours_right_and_wrong_apart():
    figure = figures.confusion(MATRIX, LABELS)
    right, wrong = figure.axes[0].collections
    figure.draw_without_rendering()
    red, _, blue, _ = right.get_facecolors()[0]  # the first cell is right
    assert blue > red
    worst = wrong.get_facecolors()[7]  # row 2, column 1: 7 roses called dandelion
    assert worst[:3] == pytest.approx(to_rgb(figures.ORANGE), abs=0.01)


def test_confusion_of_many_classes_drops_the_counts_and_stays_bounded():
    figure = figures.confusion(np.eye(101, dtype=int), [f"class {n}" for n in range(101)])
    assert max(figure.get_size_inches()) <= 10
    assert not any(text.isdigit() for text in texts(figure))
    assert len(svg(figure)) < 500_000


def test_confusion_survives_a_class_without_photos():
    figure = figures.confusion(np.array([[0, 0], [0, 5]]), ["absent", "rose"])
    assert "5" in texts(figure)


def test_per_class_says_where_there_are_no_photos():
    figure = figures.per_class(LABELS, [0.9, None, 0.5], [0.8, None, 0.4], [0.95, None, 0.6])
    written = texts(figure)
    assert "no photos" in written
    assert "90\N{NO-BREAK SPACE}%" in written
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [0.9, 0, 0.5]
    (lines,) = figure.axes[0].collections
    assert [segment[:, 0].tolist() for segment in lines.get_segments()] == [[0.8, 0.95], [0.4, 0.6]]


def test_learning_curves_run_through_all_phases():
    table = history((4, 3))
    figure = figures.learning_curves(table)
    upper, lower = figure.axes
    held_out = upper.lines[1]
    assert held_out.get_xdata().tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert np.allclose(held_out.get_ydata(), table["val_accuracy"])
    assert np.allclose(lower.lines[0].get_ydata(), table["loss"])
    assert {"head", "last stage", "training photos", "photos held out"} <= set(texts(figure))


def test_learning_curves_of_one_epoch_and_with_gaps():
    table = history((1, 0))
    table["val_loss"] = None
    assert "epoch" in texts(figures.learning_curves(table))


def test_class_counts_stack_up_to_the_total():
    figure = figures.class_counts(LABELS, {"train": [700, 10, 5], "test": [300, 1, 5]})
    written = texts(figure)
    assert {"1,000", "11", "10", "train", "test"} <= set(written)


@pytest.mark.parametrize("draw", [figures.gallery, figures.mistakes])
def test_a_gallery_takes_any_number_of_photos_of_any_size(draw):
    sizes = [(20, 30), (8, 8), (40, 10), (16, 16), (16, 16)]
    photos = [np.full((*size, 3), 90, np.uint8) for size in sizes]
    figure = draw(photos, [f"photo {n}\nof five" for n in range(5)])
    assert sum(bool(axes.images) for axes in figure.axes) == 5
    assert any("photo 4" in text for text in texts(figure))
    assert draw([], []).axes
    with pytest.raises(ValueError, match="5 photos, 1 captions"):
        draw(photos, ["one"])


def test_printable_keeps_letters_and_shortens_in_the_middle():
    assert figures.printable("Löwenzahn 蒲公英") == "Löwenzahn 蒲公英"
    assert figures.printable("a\u202eb\x00c\ud800") == "a\ufffdb\ufffdc\ufffd"
    short = figures.printable("abcdefghij" * 30, 11)
    assert short == "abcde…fghij"
