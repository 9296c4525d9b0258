"""The sections and their drawings: what they say is what was measured, and they can be read."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot

from flowers.judge import calibration, figures_trust, refusal, sets
from flowers.judge.page import page
from flowers.judge.parts import Picture, Table, Words
from flowers.judge.report import evaluate
from flowers.judge.sets import PredictionSets
from flowers.judge.trust_sections import how_sure, none_of_these, one_or_the_other, sections

LABELS = ("daisy", "rose", "tulip")


def model(photos=300, seed=0):
    """A made-up classifier that is too unsure of itself: truth [N], probabilities [N, 3]."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, photos)
    logits = random.normal(size=(photos, 3))
    logits[np.arange(photos), truth] += 2
    odds = np.exp(logits)
    return truth, odds / odds.sum(axis=1, keepdims=True)


def measured(others=True):
    truth, probabilities = model()
    temperature = calibration.fit(truth, probabilities, LABELS)
    fitted = sets.fit(truth, probabilities, LABELS)
    random = np.random.default_rng(1)
    strangers = random.gamma(30, size=80) / 10 if others else None
    return (
        calibration.measure(truth, probabilities, temperature),
        sets.measure(fitted, truth, probabilities, LABELS),
        refusal.measure(random.gamma(10, size=200) / 10, 1.6, strangers),
    )


def words(section) -> str:
    """All that a section says, in one line."""
    texts = [section.title, section.lead]
    for part in section.parts:
        if isinstance(part, Words):
            texts += part.lines
        elif isinstance(part, Picture):
            texts += [part.alt, part.caption]
        elif isinstance(part, Table):
            texts += [str(part.columns), *map(str, part.rows)]
    return " ".join(texts).replace("\N{NO-BREAK SPACE}", " ")


def test_pictures_come_first_and_every_picture_is_told_in_words():
    found = sections(*measured())
    assert [section.anchor for section in found] == ["sure", "sets", "none"]
    for section in found:
        assert isinstance(section.parts[0], Picture)
        assert len(section.parts[0].alt) > 40
        assert section.lead.endswith(".")


def test_what_was_not_measured_has_no_section():
    calibrated, _, refused = measured()
    assert [section.anchor for section in sections(calibrated)] == ["sure"]
    assert [section.anchor for section in sections(refusal=refused)] == ["none"]
    assert sections() == ()


def test_how_sure_gives_both_errors_and_explains_them():
    calibrated, _, _ = measured()
    text = words(how_sure(calibrated))
    for sureness in (calibrated.before, calibrated.after):
        assert f"{100 * sureness.ece:.1f} points" in text
        assert f"{sureness.nll:.3f}" in text and f"{sureness.brier:.3f}" in text
    assert "ECE, the expected calibration error, is" in text
    assert "less sure than it could be" in text
    assert f"The temperature is {calibrated.temperature:.2f}" in text


def test_a_model_that_was_too_sure_is_called_so():
    truth, probabilities = model()
    spoilt = calibration.apply(probabilities, 0.2)
    text = words(how_sure(calibration.measure(truth, spoilt, 4.0)))
    assert "the model was too sure of itself" in text


def test_sets_are_named_after_the_most_frequent_pair():
    fitted = PredictionSets(0.9, threshold=0.65, penalty=0.0, free=1)
    probabilities = np.array([[0.98, 0.01, 0.01], [0.1, 0.5, 0.4], [0.05, 0.35, 0.6]])
    section = one_or_the_other(sets.measure(fitted, np.array([0, 2, 0]), probabilities, LABELS))
    assert section.title == "Rose or tulip"
    text = words(section)
    assert "66.7 % of 3 test photos" in text and "asked for were 90 %" in text
    assert "('rose or tulip', '2', '1')" in text
    assert "2 photos get more than one name; on average there are 1.67" in text


def test_sets_of_one_name_need_no_table():
    fitted = PredictionSets(0.9, threshold=0.0, penalty=0.0, free=1)
    section = one_or_the_other(sets.measure(fitted, *model(), LABELS))
    assert section.title == "One name or several"
    assert not any(isinstance(part, Table) for part in section.parts)
    assert "One name was always enough" in words(section)


def test_none_of_these_counts_flowers_and_other_things():
    refused = measured()[2]
    text = words(none_of_these(refused))
    assert f"{100 * refused.kept:.1f} % of 200 test photos" in text
    assert f"{100 * (1 - refused.accepted):.1f} % of 80 photos of other things are refused" in text
    assert f"{100 * refused.auroc:.1f} % of cases" in text
    assert "probability cannot say" in text


def test_without_other_things_nothing_is_claimed_about_them():
    text = words(none_of_these(measured(others=False)[2]))
    assert "was not measured" in text
    assert "AUROC" not in text and "None" not in text.replace("None of these", "")


def test_the_sections_fit_on_the_page():
    truth, probabilities = model()

    def photo(path):
        raise OSError(path)

    html = page(
        evaluate(truth, probabilities, LABELS), None, {}, photo, sections=sections(*measured())
    )
    for title in ("How sure is it?", "None of these"):
        assert html.count(f">{title}<") >= 1
    assert html.count('src="data:image/svg+xml') >= 5


def every_figure():
    calibrated, named, refused = measured()
    found = [section.parts[0].figure for section in sections(calibrated, named, refused)]
    return [*found, sections(refusal=measured(others=False)[2])[0].parts[0].figure]


def test_drawing_opens_no_window_and_changes_no_setting():
    before = dict(matplotlib.rcParams)
    for figure in every_figure():
        figure.savefig(io.BytesIO(), format="png")
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_figures_are_legible_on_a_phone():
    phone = 350 / 96  # inches
    for figure in every_figure():
        figure.draw_without_rendering()
        shrunk = min(1, phone / figure.get_figwidth())
        sizes = [text.get_fontsize() for text in figure.findobj(matplotlib.text.Text)]
        assert min(sizes) * shrunk >= 6.5


def test_reliability_leaves_out_what_rests_on_few_photos():
    bins = ([3, 50, 100], [0.2, 0.5, 0.9], [0.0, 0.6, 0.95])
    figure = figures_trust.reliability(
        [0, 1 / 3, 2 / 3, 1], bins, bins, [(0, 0.6), (0.4, 0.7), (0.9, 0.98)]
    )
    upper = figure.axes[0]
    marks = [part for part in upper.collections if hasattr(part, "get_sizes")]
    drawn = [mark.get_offsets().tolist() for mark in marks if len(mark.get_offsets())]
    assert drawn == [[[0.5, 0.6], [0.9, 0.95]]] * 2
    areas = marks[-1].get_sizes()
    assert areas[1] > areas[0]  # 100 photos weigh more than 50


def test_novelty_draws_shares_so_that_unequal_sets_compare():
    figure = figures_trust.novelty([0, 1, 2, 3], [50, 50, 0], [0, 1, 3], 1.6)
    heights = [patch.get_data().values.tolist() for patch in figure.axes[0].patches]
    assert [0.5, 0.5, 0.0] in heights and [0.0, 0.25, 0.75] in heights
    (line,) = [part for part in figure.axes[0].lines if list(part.get_xdata()) == [1.6, 1.6]]
    assert line.get_visible()


@pytest.mark.parametrize(("sizes", "rows"), [((10, 0, 0), 1), ((5, 3, 1), 3)])
def test_set_sizes_draws_as_many_rows_as_there_are_sizes(sizes, rows):
    figure = figures_trust.set_sizes(sizes, sizes)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(labels) == rows and labels[0] == "1 name"
