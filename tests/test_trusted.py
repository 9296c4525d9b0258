"""A model that knows how sure it is, through the whole job: trained, saved, asked, audited."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flowers import answers, auditing, evaluation, files, pipeline
from flowers.config import Config, Phase
from flowers.data import labels as label_files
from flowers.errors import InputError
from flowers.judge import calibration
from flowers.judge.assessment import Effort
from flowers.ship import bundle
from flowers.ship import card as cards

CONFIG = Config.tiny(
    phases=(
        Phase("head", thaw="head", epochs=4, rate=0.03, batch=8),
        Phase("last stage", thaw="stage", epochs=2, rate=0.003, batch=8, patience=6),
    )
)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """A folder of photos that show no shape: coloured noise."""
    folder = tmp_path_factory.mktemp("strangers")
    random = np.random.default_rng(3)
    for number in range(12):
        noise = random.integers(0, 256, (50, 60, 3)).astype(np.uint8)
        Image.fromarray(noise).save(
            folder / f"noise {number} \N{LATIN SMALL LETTER E WITH ACUTE}.png"
        )
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture(scope="module")
def job(larger_folder, strangers, tmp_path_factory):
    """The main job on shapes, the lines it said, and its folder."""
    folder = tmp_path_factory.mktemp("trusted")
    lines = []
    outcome = pipeline.run(
        str(larger_folder),
        CONFIG,
        data=folder / "data",
        model=folder / "models" / "shapes.keras",
        others=strangers,
        export=False,
        say=lines.append,
    )
    return outcome, lines, folder


def test_the_saved_model_itself_is_calibrated(job):
    outcome, _, _ = job
    card = cards.load(outcome.model)
    assert card.temperature != 1 and card.sets.coverage == 0.95
    measured = outcome.assessment.trust.calibration
    table = pd.read_csv(outcome.folder / "predictions.csv")
    shares = table[[f"p_{label}" for label in card.labels]].to_numpy()
    truth = np.array([card.labels.index(label) for label in table["label"]])
    assert calibration.expected_calibration_error(truth, shares) == pytest.approx(
        measured.after.ece
    )
    uncalibrated = calibration.apply(shares, 1 / card.temperature)
    found = calibration.expected_calibration_error(truth, uncalibrated)
    assert found == pytest.approx(measured.before.ece)


def test_it_says_which_names_and_whether_it_knows_the_thing(job, larger_folder, strangers):
    outcome, _, _ = job
    card = cards.load(outcome.model)
    table = pd.read_csv(outcome.folder / "predictions.csv")
    for names, label in zip(table["set"], table["predicted"], strict=True):
        assert names.split("|")[0] == label and set(names.split("|")) <= set(card.labels)
    assert (table["known"] == (table["novelty"] <= card.threshold)).all()
    assert table["known"].mean() > 0.7
    refusal = outcome.assessment.trust.refusal
    assert refusal.others == 12 and refusal.others_accepted <= 3 and refusal.auroc > 0.9


def test_plain_keras_opens_it_and_the_novelty_score_is_inside(job):
    outcome, _, _ = job
    model = keras.saving.load_model(outcome.model, compile=False, safe_mode=True)
    assert model.output_shape == (None, 3)
    assert bundle.load_novelty(outcome.model).threshold == cards.load(outcome.model).threshold


def test_the_report_tells_it_in_words(job):
    outcome, _, _ = job
    html = (outcome.folder / "report.html").read_text("utf-8")
    for heading in ("How sure is it?", "None of these", "What it looks at", "finds similar"):
        assert heading in html
    values = json.loads((outcome.folder / "report.json").read_text())
    assert values["trust"]["refusal"]["others"] == 12
    assert 0 <= values["similar_agreement"] <= 1
    assert values["robustness"] is None  # `flowers evaluate` measures what takes minutes
    text = outcome.as_text()
    assert "ECE" in text and "hold the truth" in text and "of 12 other things accepted" in text


def test_evaluate_adds_what_takes_minutes(job, larger_folder):
    outcome, _, folder = job
    again = evaluation.evaluate(
        outcome.model,
        str(larger_folder),
        data=folder / "data",
        effort=Effort(worse=6, maps=6),
        say=lambda _: 0,
    )
    assert again.report.correct == outcome.report.correct
    assert again.assessment.robustness.photos == 6
    assert again.assessment.gain.views == 4 and again.assessment.faithful.photos == 6
    text = again.as_text()
    assert "6 photos made worse" in text and "with 4 looks a photo" in text and "blob" in text
    before = outcome.assessment.trust.calibration
    assert again.assessment.trust.calibration.after.ece == pytest.approx(before.after.ece, abs=1e-6)
    html = (again.folder / "report.html").read_text("utf-8")
    for heading in ("poor photos", "Does looking twice help?", "finds similar"):
        assert heading in html


def test_a_photo_is_explained_and_has_similar_ones(job, larger_folder, tmp_path):
    outcome, _, _ = job
    model = answers.Model.load(outcome.model)
    seen = pd.read_csv(outcome.folder / "catalogue.csv", keep_default_na=False)
    path = seen["path"][seen["split"] == "train"].iloc[0]
    target = tmp_path / "why.png"
    found = answers.write_why(model, larger_folder / path, target, "square")
    assert found.label == 1 and found.heat.min() >= 0
    with Image.open(target) as picture:
        assert picture.format == "PNG" and picture.width > 400
    first, *others = answers.similar(model, larger_folder / path, 4)
    assert first.path == path and first.similarity > 0.99 and len(others) == 3
    with pytest.raises(InputError, match="hexagon"):
        answers.why(model, larger_folder / path, "hexagon")
    (outcome.folder / "similar.npz").rename(tmp_path / "away.npz")
    try:
        with pytest.raises(InputError, match="train again"):
            answers.similar(model, larger_folder / path)
    finally:
        (tmp_path / "away.npz").rename(outcome.folder / "similar.npz")


def test_photos_of_the_classes_are_no_strangers(job, larger_folder, tmp_path):
    outcome, _, folder = job
    with pytest.raises(InputError, match="photos of the classes themselves"):
        evaluation.evaluate(
            outcome.model,
            str(larger_folder),
            data=folder / "data",
            others=larger_folder / "circle",
            say=lambda _: 0,
        )


def test_an_audit_finds_planted_mistakes_and_training_uses_the_decisions(
    larger_folder, tmp_path, job
):
    _, _, folder = job
    out = tmp_path / "labels.csv"
    found = auditing.run(
        str(larger_folder), CONFIG, data=folder / "data", out=out, plant=True, say=lambda _: 0
    )
    assert found.planted.found_share >= 0.5 and found.planted.accused_share <= 0.05
    assert "<img" in found.gallery.read_text("utf-8") or not found.audit.issues
    before = sorted((larger_folder / "circle").iterdir())
    victim = "circle/" + before[0].name
    table = pd.DataFrame(
        [[victim, "circle", "square", 0.01, "relabel"]], columns=list(label_files.COLUMNS)
    )
    label_files.save(out, table)
    lines = []
    prepared = pipeline.prepare(
        str(larger_folder), CONFIG, data=tmp_path, labels=out, say=lines.append
    )
    used = prepared.catalogue.table.set_index("path")["label"]
    assert used[victim] == "square" and "1 photos relabelled" in "\n".join(lines)
    assert sorted((larger_folder / "circle").iterdir()) == before
    again = auditing.run(str(larger_folder), CONFIG, data=folder / "data", out=out, say=lambda _: 0)
    kept = label_files.read(again.table).set_index("path")
    assert kept.loc[victim, "action"] == "relabel"


def test_the_commands_compare_explain_similar_and_audit(job, larger_folder, run_here, tmp_path):
    outcome, _, _ = job
    first = outcome.folder / "predictions.csv"
    second = tmp_path / "second.csv"
    table = pd.read_csv(first)
    table.loc[:4, "predicted"] = "square"
    table.to_csv(second, index=False)
    compared = run_here("compare", outcome.model, second)
    assert compared.code == 0 and "McNemar" in compared.stdout
    assert run_here("compare", outcome.model, tmp_path / "none.csv").code == 2
    photo = next((larger_folder / "triangle").iterdir())
    explained = run_here("explain", photo, "--model", outcome.model, "--class", "circle")
    assert explained.code == 0 and (tmp_path / f"{photo.stem}-why.png").is_file()
    alike = run_here("similar", photo, "--model", outcome.model, "--count", 2)
    assert alike.code == 0 and len(alike.stdout.splitlines()) == 2
    assert run_here("audit", larger_folder, "--out", "labels.txt").code == 2
    assert files.read_json(outcome.model.with_suffix(".json"))["temperature"] > 0
