"""One predictor: the same photo through every file and every way in gives the same answer."""

import csv
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from flowers.cli import shipping
from flowers.data import photos
from flowers.errors import InputError, PhotoError
from flowers.ship import card as cards
from flowers.ship.predictor import Prediction, Predictor
from flowers.web.app import create_app
from shipped import FILES


def pictures(shipped):
    return sorted(shipped.photos.rglob("*.jpg"))[::5]


@pytest.fixture(scope="module")
def lite(shipped):
    return Predictor.load(shipped.folder / "flowers.tflite")


def assert_same(answer: Prediction, other: Prediction, tolerance: float = 1e-3) -> None:
    assert (answer.label, answer.known) == (other.label, other.known)
    assert answer.scores == pytest.approx(other.scores, abs=tolerance)
    np.testing.assert_allclose(answer.heat, other.heat, atol=0.1 * max(other.heat.max(), 1e-6))
    both = answer.features, other.features
    lengths = [np.linalg.norm(each) for each in both]
    assert both[0] @ both[1] > 0.99 * lengths[0] * lengths[1] > 0
    assert not {"features", "heat"} & set(answer.as_dict())


@pytest.mark.parametrize("name", FILES)
def test_every_file_says_the_same(shipped, lite, name):
    opened = Predictor.load(shipped.folder / name)
    tolerance = 0.05 if "int8" in name else 1e-3
    for path in pictures(shipped)[:3]:
        answer = opened.predict(path)
        assert_same(answer, lite.predict(path), tolerance)
        assert answer.novelty is not None and answer.heat.shape == (4, 4)


def test_path_bytes_array_and_many_are_one(shipped, lite):
    paths = pictures(shipped)
    expected = [lite.predict(path) for path in paths]
    for path, answer in zip(paths, expected, strict=True):
        assert_same(lite.predict(str(path)), answer, 1e-6)
        assert_same(lite.predict(path.read_bytes()), answer, 1e-6)
        assert_same(lite.predict(photos.read(path, 32)), answer, 1e-6)
    for (path, answer), before in zip(lite.predict_many(paths), expected, strict=True):
        assert path in paths
        assert_same(answer, before, 1e-6)


def test_several_looks_at_a_photo_are_averaged(shipped, lite):
    twice = Predictor.load(shipped.folder / "flowers.tflite", views=2)
    for path in pictures(shipped)[:3]:
        photo = photos.read(path, 32)
        looks = [lite.predict(photo), lite.predict(np.ascontiguousarray(photo[:, ::-1]))]
        found = twice.predict(path)
        for label, score in found.scores.items():
            assert score == pytest.approx(np.mean([look.scores[label] for look in looks]), abs=1e-6)
        assert found.novelty == looks[0].novelty  # of the photo as it is


def ways(shipped, run_flowers, folder):
    """path -> scores, by each way in."""
    model = shipped.folder / "flowers.tflite"
    paths = pictures(shipped)
    python = Predictor.load(model)
    yield "python", {str(path): python.predict(path).scores for path in paths}
    table = folder / "out.csv"
    done = run_flowers("predict", *paths, "--model", model, "--json", "--csv", table)
    assert done.code == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    yield "json", {row["path"]: row["scores"] for row in rows}
    with table.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    labels = python.card.labels
    yield "csv", {row["path"]: {name: float(row[name]) for name in labels} for row in read}
    browser = create_app(Predictor.load(model)).test_client()
    # the page's script sends the same form and shows what comes back
    sent = [(io.BytesIO(path.read_bytes()), path.name) for path in paths]
    reply = browser.post("/api/predict", data={"photo": sent})
    assert reply.status_code == 200, reply.text
    answers = reply.get_json()["predictions"]
    yield "rest", {str(path): row["scores"] for path, row in zip(paths, answers, strict=True)}


def test_the_same_photos_through_every_way_in(shipped, run_flowers, tmp_path):
    found = dict(ways(shipped, run_flowers, tmp_path))
    expected = found.pop("python")
    assert set(found) == {"json", "csv", "rest"}
    for way, answers in found.items():
        assert set(answers) == set(expected), way
        for path, scores in answers.items():
            assert scores == pytest.approx(expected[path], abs=1e-6), way


def test_the_table_says_sets_and_none_of_these_in_words(shipped, lite, run_flowers):
    path = pictures(shipped)[0]
    done = run_flowers("predict", path, "--model", shipped.folder / "flowers.tflite")
    answer = lite.predict(path)
    assert done.stdout == shipping.line(f"{path}:", answer) + "\n"
    assert f": {answer.as_text()}  (" in done.stdout
    two = Prediction("rose", 0.6, {"rose": 0.6, "tulip": 0.4}, ("rose", "tulip"), known=True)
    assert shipping.line("a.jpg:", two) == "a.jpg: rose or tulip  (rose 60.0%, tulip 40.0%)"
    strange = Prediction("rose", 0.6, {"rose": 0.6}, ("rose",), novelty=3.0, known=False)
    assert strange.as_text() == "none of these"


def test_an_exported_file_needs_neither_tensorflow_nor_keras(shipped):
    code = (
        "import sys\nfrom flowers.ship.predictor import Predictor\n"
        "Predictor.load(sys.argv[1]).predict(sys.argv[2])\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    for name in ("flowers.tflite", "flowers.int8.tflite", "flowers.onnx"):
        command = [sys.executable, "-c", code, shipped.folder / name, pictures(shipped)[0]]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        heavy = {"tensorflow", "keras", "pandas", "sklearn", "matplotlib", "scipy"}
        assert not heavy & set(done.stdout.split()), name


def test_what_is_no_photo_is_refused_and_the_others_answered(lite, shipped, tmp_path):
    text = tmp_path / "note.jpg"
    text.write_text("no photo")
    path = pictures(shipped)[0]
    (_, refused), (_, answer) = lite.predict_many([text, path])
    assert isinstance(refused, PhotoError) and answer.label == lite.predict(path).label
    with pytest.raises(PhotoError):
        lite.predict(b"no photo")
    with pytest.raises(InputError, match="uint8"):
        lite.predict(np.zeros((32, 32), np.uint8))
    with pytest.raises(InputError, match="float64"):
        lite.predict(np.zeros((32, 32, 3)))


def test_pixels_of_another_size_are_squeezed_as_a_file_is(lite, shipped):
    path = pictures(shipped)[1]
    assert_same(lite.predict(photos.read(path)), lite.predict(path), 0.05)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_before_it_is_opened(shipped, tmp_path, name):
    folder = tmp_path / "models"
    shutil.copytree(shipped.folder, folder)
    changed = folder / name
    if changed.is_dir():
        changed = next(changed.rglob("*.pb"))
    elif name.endswith(".xml"):
        changed = folder / "flowers.openvino.bin"
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    with pytest.raises(InputError, match="changed or damaged"):
        Predictor.load(folder / name)


def test_a_foreign_file_is_refused_before_it_is_opened(shipped, tmp_path):
    shutil.copy(shipped.folder / "flowers.json", tmp_path)
    for name in ("flowers.pkl", "flowers.h5", "flowers.pt", "flowers.pb"):
        (tmp_path / name).write_bytes(b"\x80\x04 a pickle or anything")
        with pytest.raises(InputError, match="does not know"):
            Predictor.load(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        Predictor.load(tmp_path / "flowers.onnx")


def test_a_file_that_its_card_lists_but_no_runtime_reads_is_refused(shipped, tmp_path):
    values = json.loads((shipped.folder / "flowers.json").read_text("utf-8"))
    for name in ("flowers.tflite", "flowers.onnx", "flowers.openvino.xml"):
        broken = tmp_path / name
        broken.write_bytes((shipped.folder / name).read_bytes()[:500])
        values["files"][name] = {"sha256": cards.fingerprint(broken)}
        (tmp_path / "flowers.json").write_text(json.dumps(values), "utf-8")
        with pytest.raises(InputError, match=r"flowers\.(tflite|onnx|openvino\.xml)"):
            Predictor.load(broken)


def test_a_model_of_other_shapes_than_its_cards_is_refused(shipped, tmp_path):
    values = json.loads((shipped.folder / "flowers.json").read_text("utf-8"))
    values["labels"] = ["a", "b"]
    (tmp_path / "flowers.json").write_text(json.dumps(values), "utf-8")
    for name in ("flowers.tflite", "flowers.onnx", "flowers.keras"):
        shutil.copy(shipped.folder / name, tmp_path)
        with pytest.raises(InputError, match="model and its card"):
            Predictor.load(tmp_path / name)
