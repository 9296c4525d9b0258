"""Exports: every format gives the model's answers, and what does not is not written."""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest

from flowers import files
from flowers.data import photos
from flowers.errors import InputError
from flowers.ship import card as cards
from flowers.ship import export, formats, proof, runtimes, trial
from flowers.ship.proof import ROUNDED, SAME
from shipped import FILES


def test_every_format_is_written_with_its_proof(shipped):
    names = {path.name for path in shipped.folder.iterdir() if path.suffix != ".lock"}
    assert names == {
        *FILES,
        *("flowers.openvino.bin", "flowers.json", "flowers", "MODEL_CARD.md"),
    }
    assert not shipped.exported.refused
    card = cards.load(shipped.model)
    assert set(card.files) == set(FILES)
    for name, row in card.files.items():
        assert row["sha256"] == cards.fingerprint(shipped.folder / name)
        assert row["photos"] == 6 and row["start"] > 0 and row["latency"] > 0 and row["rate"] > 0
    for row in shipped.exported.rows:
        rounded = row.format == "litert-int8"
        assert row.difference <= (0.05 if rounded else 1e-4)
        assert row.agreement == 1 and row.known == 1
        assert row.heat > (0.95 if rounded else 0.9999)
        assert row.features > (0.95 if rounded else 0.9999)
        assert row.novelty < (0.2 if rounded else 2e-3)
        assert (row.plain is not None) == rounded


def test_the_table_names_every_format_and_figure(shipped):
    text = shipped.exported.as_text()
    for words in ("same answer", "litert-int8", "no VNNI", "openvino", "photos/s", "one photo"):
        assert words in text
    assert "features" in text


def test_every_runner_gives_the_same_for_one_and_for_many(shipped):
    card = cards.load(shipped.model)
    paths = sorted(shipped.photos.rglob("*.jpg"))[::6]
    pixels = np.stack([photos.read(path, 32) for path in paths])
    expected = runtimes.open_model(shipped.model, card)(pixels)
    for name in FILES[1:]:
        run = runtimes.open_model(shipped.folder / name, card)
        many, one = run(pixels), run(pixels[2:3].astype(np.float32))
        tolerance = 0.05 if "int8" in name else 1e-4
        for part, values in expected.items():
            assert many[part].shape == values.shape and many[part].dtype == np.float32
            np.testing.assert_allclose(one[part][0], many[part][2], atol=1e-4, rtol=1e-3)
        np.testing.assert_allclose(
            many["probabilities"], expected["probabilities"], atol=tolerance, err_msg=name
        )


def test_int8_keeps_everything_after_the_pooling_in_float(shipped):
    from ai_edge_litert import schema_py_generated as schema

    content = (shipped.folder / "flowers.int8.tflite").read_bytes()
    graph = schema.ModelT.InitFromPackedBuf(content, 0)
    codes = [
        graph.operatorCodes[step.opcodeIndex].builtinCode for step in graph.subgraphs[0].operators
    ]
    rounded = schema.TensorType.INT8
    kinds: dict[int, set[int]] = {}
    for code, step in zip(codes, graph.subgraphs[0].operators, strict=True):
        read = {graph.subgraphs[0].tensors[tensor].type for tensor in step.inputs if tensor >= 0}
        kinds[code] = kinds.get(code, set()) | read
    assert rounded in kinds.pop(schema.BuiltinOperator.CONV_2D)
    assert schema.BuiltinOperator.FULLY_CONNECTED in kinds
    assert not any(rounded in read for read in kinds.values())
    assert (shipped.folder / "flowers.int8.tflite").stat().st_size < (
        shipped.folder / "flowers.tflite"
    ).stat().st_size


def test_the_files_open_as_their_formats_own_tools_expect(shipped):
    assert keras.saving.load_model(shipped.model, safe_mode=True).output_shape == (None, 3)
    import onnxruntime

    session = onnxruntime.InferenceSession(shipped.folder / "flowers.onnx")
    assert [entry.name for entry in session.get_inputs()] == ["photo"]
    assert {entry.name for entry in session.get_outputs()} == set(runtimes.NAMES)


def test_the_model_card_says_what_it_is_for_and_where_it_fails(shipped):
    text = (shipped.folder / "MODEL_CARD.md").read_text("utf-8")
    for words in ("What it is for", "How it was measured", "Where it fails", "circle", "SHA-256"):
        assert words in text
    for name in FILES:
        assert name in text
    assert "| accuracy | 1.000 | 0.600 to 1.000 |" in text


def test_what_disagrees_is_not_written_and_the_rest_is(shipped, tmp_path, monkeypatch):
    folder = tmp_path / "models"
    shutil.copytree(shipped.folder, folder)
    old = (folder / "flowers.tflite").read_bytes()
    outputs = dict(trial.run(shipped.model, shipped.model, _few(shipped, tmp_path)).outputs)

    def tried(model, card_of, photos, *, plain=False):
        """The Keras model's answers, wrong where a .tflite gives them."""
        wrong = {"probabilities": np.roll(outputs["probabilities"], 1, axis=1)}
        given = outputs | (wrong if model.suffix == ".tflite" else {})
        return trial.Trial(given, 1.0, 0.01, 100.0, 10**8)

    monkeypatch.setattr(export.trial, "run", tried)
    monkeypatch.setattr(
        formats.Converter, "write", lambda self, wanted, path: path.write_bytes(b"converted")
    )
    made = export.run(
        folder / "flowers.keras",
        ["litert", "onnx"],
        str(shipped.photos),
        data=tmp_path / "data",
        say=print,
    )
    assert [name for name, _ in made.refused] == ["litert"]
    assert "not written: litert: same answer" in made.as_text()
    assert (folder / "flowers.tflite").read_bytes() == old
    assert (folder / "flowers.onnx").read_bytes() == b"converted"


def _few(shipped, folder):
    """The test photos as the export saved them."""
    card = cards.load(shipped.model)
    split = export.photos_of(shipped.model, card, str(shipped.photos), folder / "data", print)
    np.save(folder / "photos.npy", split.test)
    return folder / "photos.npy"


def row(**changes) -> proof.Row:
    values = {"format": "x", "photos": 600, "agreement": 1.0, "difference": 0.0, "accuracy": 0.93}
    values |= {"novelty": 0.0, "known": 1.0, "heat": 1.0, "bytes": 1, "start": 0.1}
    return proof.Row(**values | {"latency": 0.01, "rate": 10.0, "memory": 1} | changes)


@pytest.mark.parametrize(
    ("gate", "changes", "words"),
    [
        (SAME, {"agreement": 0.99}, "same answer 99.00%"),
        (SAME, {"difference": 0.02}, "probabilities off by 0.0200"),
        (SAME, {"difference": float("nan")}, "probabilities off by nan"),
        (SAME, {"accuracy": 0.92}, "accuracy lower by 1.00 points"),
        (ROUNDED, {"difference": 0.06}, "probabilities off by 0.0600"),
        (ROUNDED, {"accuracy": 0.924}, "accuracy lower by 0.60 points"),
        (ROUNDED, {"plain": 0.90, "plain_difference": 0.0}, "without the newest instructions"),
        (ROUNDED, {"plain": 0.93, "plain_difference": 0.3}, "without the newest instructions"),
    ],
)
def test_a_gate_says_what_is_lacking(gate, changes, words):
    assert words in "; ".join(row(**changes).shortfalls(gate, 0.93))


def test_what_reaches_its_gate_passes():
    assert row(agreement=0.995, difference=0.01).shortfalls(SAME, 0.93) == []
    assert row(agreement=0.98, difference=0.05, accuracy=0.925).shortfalls(ROUNDED, 0.93) == []


def test_features_are_compared_as_similar_photos_are_found():
    """By their directions from the mean: what all photos share, and their lengths, say nothing."""
    random = np.random.default_rng(0)
    given = {
        "probabilities": np.full((6, 2), 0.5, np.float32),
        "heat": np.ones((6, 4, 4), np.float32),
        "features": random.random((6, 8), np.float32) + 100,
    }
    turned = given | {"features": given["features"][::-1]}
    older = {name: part for name, part in given.items() if name != "features"}
    rows = [
        proof.compare(
            "x", given, trial.Trial(outputs, 1.0, 0.01, 10.0, 1), np.zeros(6, int), None, 1
        )
        for outputs in (given, turned, older)
    ]
    assert rows[0].features == pytest.approx(1) and rows[1].features < 0.5
    assert rows[2].features is None and "-" in proof.as_text(rows[2:])


def test_answers_that_are_no_numbers_are_the_largest_difference():
    sound = {"probabilities": np.full((2, 2), 0.5, np.float32)}
    broken = {"probabilities": np.array([[0.5, np.nan], [0.5, 0.5]], np.float32)}
    assert proof.largest_difference(broken, sound) == 1


def test_other_photos_than_the_models_are_refused(shipped, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(shipped.photos, folder)
    next(folder.rglob("*.jpg")).unlink()
    card = cards.load(shipped.model)
    with pytest.raises(InputError, match="1 of 36 missing"):
        export.photos_of(shipped.model, card, str(folder), tmp_path / "data", print)


def test_an_unknown_format_and_another_file_are_refused(shipped):
    with pytest.raises(InputError, match="--format"):
        export.run(shipped.model, ["coreml"])
    with pytest.raises(InputError, match=r"ending in \.keras"):
        export.run(shipped.folder / "flowers.onnx", ["onnx"])


def test_a_model_without_a_score_has_no_verdict(trained, tmp_path):
    model, _ = trained
    card = replace(cards.load(model), threshold=None)
    bare = tmp_path / "bare.keras"
    keras.saving.load_model(model).save(bare)
    outputs = runtimes.open_model(bare, card)(np.zeros((1, 32, 32, 3), np.uint8))
    assert set(outputs) == {"probabilities", "heat", "features"}


def test_a_card_keeps_its_files_when_it_is_saved_again(shipped, tmp_path):
    card = cards.load(shipped.model)
    card.save(tmp_path / "flowers.keras")
    assert files.read_json(tmp_path / "flowers.json")["files"] == json.loads(
        json.dumps({name: dict(row) for name, row in card.files.items()})
    )
