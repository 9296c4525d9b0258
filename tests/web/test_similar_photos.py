"""Training photos beside an answer: the right ones, small, and nothing else of them."""

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flowers.data import photos
from flowers.errors import InputError
from flowers.judge.similar import fit
from flowers.ship import card as cards
from flowers.ship import formats, graph, neighbours
from flowers.ship.predictor import Predictor
from flowers.web import wsgi
from flowers.web.app import create_app
from flowers.web.limits import PageLimits
from flowers.web.similar_photos import SimilarPhotos

LIMITS = PageLimits().photo


@pytest.fixture(scope="module")
def opened(exported):
    return Predictor.load(exported)


@pytest.fixture(scope="module")
def learned(exported):
    """(search, labels) of the training photos."""
    return neighbours.load(exported.with_suffix(""), "0" * 64)


@pytest.fixture
def copy(exported, tmp_path) -> Path:
    """The model file in a copy of its folder."""
    shutil.copytree(exported.parent, tmp_path / "models")
    return tmp_path / "models" / exported.name


def test_a_training_photo_is_most_like_itself_and_shown_small(
    exported, opened, learned, small_folder
):
    find = SimilarPhotos.of(exported, opened)
    search, labels = learned
    for path, label in list(zip(search.paths, labels, strict=True))[::6]:
        said = opened.predict(small_folder / path)
        first, *others = find(said)
        assert first.label == label and first.similarity > 0.99 and len(others) == 4
        likeness = [each.similarity for each in (first, *others)]
        assert likeness == sorted(likeness, reverse=True)
        with Image.open(io.BytesIO(first.jpeg)) as shown, Image.open(small_folder / path) as whole:
            assert shown.size == whole.size  # 60 to 90 px: none is made larger
            apart = np.abs(np.asarray(shown, float) - np.asarray(whole.convert("RGB"), float))
        assert apart.mean() < 4


def test_a_picture_has_the_photos_own_shape_and_nothing_else_of_its_file(learned, opened, tmp_path):
    search, labels = learned
    place = tmp_path / search.paths[0]
    place.parent.mkdir()
    tags = Image.Exif()
    tags[0x010E] = "grandmother's garden"
    tags[0x0112] = 6  # it lies on its side
    Image.new("RGB", (600, 300), (200, 30, 30)).save(place, exif=tags)
    one = fit(search.rows[:2], search.paths[:2])
    find = SimilarPhotos((one, labels[:2]), tmp_path, LIMITS)
    features = search.rows[0]
    (found,) = find(replace(opened.predict(place), features=features))
    with Image.open(io.BytesIO(found.jpeg)) as shown:
        assert shown.size == (64, 128) and shown.format == "JPEG" and not shown.getexif()
    assert b"garden" not in found.jpeg and len(found.jpeg) < 5000


def test_photos_that_are_gone_or_damaged_are_left_out(opened, learned, small_folder, tmp_path):
    root = tmp_path / "photos"
    shutil.copytree(small_folder, root)
    search, _ = learned
    said = opened.predict(small_folder / search.paths[4])
    rows, _ = search.query(said.features[None], 5)
    gone, damaged, *kept = (search.paths[row] for row in rows[0])
    (root / gone).unlink()
    (root / damaged).write_text("no photo")
    found = SimilarPhotos(learned, root, LIMITS)(said)
    assert [each.label for each in found] == [Path(path).parent.name for path in kept]


def test_a_path_that_leaves_the_folder_is_never_opened(learned, opened, small_folder, tmp_path):
    search, labels = learned
    root = tmp_path / "photos"
    root.mkdir()
    shutil.copy(small_folder / search.paths[0], tmp_path / "secret.jpg")
    outside = ("../secret.jpg", str(tmp_path / "secret.jpg")) * len(search.paths)
    leaving = replace(search, paths=outside[: len(search.paths)])
    said = opened.predict(tmp_path / "secret.jpg")
    assert SimilarPhotos((leaving, labels), root, LIMITS)(said) == []


def test_what_is_like_none_of_the_classes_has_no_similar_photos(exported, opened, small_folder):
    find = SimilarPhotos.of(exported, opened)
    said = opened.predict(next(small_folder.rglob("*.jpg")))
    assert len(find(said)) == 5
    assert find(replace(said, known=False)) == [] and find(replace(said, features=None)) == []


def test_they_are_part_of_the_answer(exported, opened, small_folder):
    app = create_app(opened, similar=SimilarPhotos.of(exported, opened))
    content = next(small_folder.rglob("*.jpg")).read_bytes()
    reply = app.test_client().post("/api/predict", data=content, content_type="image/jpeg")
    similar = reply.json["predictions"][0]["similar"]
    fields = app.test_client().get("/openapi.json").json["components"]["schemas"]["Answers"]
    fields = fields["properties"]["predictions"]["items"]["properties"]["similar"]["items"]
    assert len(similar) == 5 and {name for each in similar for name in each} == set(
        fields["required"]
    )
    assert all(each["photo"].startswith("data:image/jpeg;base64,/9j/") for each in similar)
    assert all(each["label"] in fields["properties"]["label"]["enum"] for each in similar)


def without(copy: Path, part: str) -> None:
    (copy.with_suffix("") / part).unlink()


def moved(copy: Path, part: str) -> None:
    """Changes what a catalogue says of where its photos are."""
    place = copy.with_suffix("") / "catalogue.csv"
    rows = list(csv.DictReader(place.read_text().splitlines()))
    with place.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"folder": part} for row in rows)


def other_features(copy: Path, part: str) -> None:
    random = np.random.default_rng(0).random((9, 7))
    paths = [f"{number}.jpg" for number in range(9)]
    neighbours.save(copy.with_suffix(""), "0" * 64, fit(random, paths), ("circle",) * 9)


def spoiled(copy: Path, part: str) -> None:
    (copy.with_suffix("") / part).write_bytes(b"PK\x03\x04 no archive")


@pytest.mark.parametrize(
    ("spoil", "part", "words"),
    [
        (without, "similar.npz", "no such file"),
        (without, "catalogue.csv", "No such file"),
        (spoiled, "catalogue.csv", "a file of another kind"),
        (spoiled, "similar.npz", "train again"),
        (moved, "/nowhere/at/all", "no such folder"),
        (other_features, "", "gives the 7 features"),
    ],
)
def test_what_is_missing_is_said(copy, opened, spoil, part, words):
    spoil(copy, part)
    with pytest.raises(InputError, match=words):
        SimilarPhotos.of(copy, opened)


def test_features_of_another_model_are_not_taken_for_its_own(copy, opened, learned):
    neighbours.save(copy.with_suffix(""), "1" * 64, *learned)
    with pytest.raises(InputError, match="another model saw"):
        SimilarPhotos.of(copy, opened)


def test_labels_and_photos_must_be_as_many(copy, opened, learned):
    search, labels = learned
    neighbours.save(copy.with_suffix(""), "0" * 64, search, labels[1:])
    with pytest.raises(InputError, match=f"{len(labels) - 1} labels of {len(labels)} photos"):
        SimilarPhotos.of(copy, opened)


def test_a_file_of_an_older_export_answers_as_before_and_says_what_to_do(copy, small_folder):
    import keras

    from flowers.model import classifier

    built = graph.build(classifier.build(3, size=32, backbone="miniature", head=(16, 8)).model)
    older = {name: part for name, part in built.output.items() if name != "features"}
    work = copy.parent / "work"
    work.mkdir()
    converter = formats.Converter(keras.Model(built.input, older), [], work)
    converter.write(formats.find("litert"), copy)
    card = cards.load(copy, verify=False)
    replace(card, files={copy.name: {"sha256": cards.fingerprint(copy)}}).save(copy)
    predictor = Predictor.load(copy)
    said = predictor.predict(next(small_folder.rglob("*.jpg")))
    assert said.features is None and said.heat.shape == (4, 4)
    with pytest.raises(InputError, match=r"gives none\. Export it again"):
        SimilarPhotos.of(copy, predictor)


@pytest.mark.parametrize(("value", "count"), [(None, 0), ("0", 0), ("1", 5)])
def test_a_host_shows_them_only_when_told_to(exported, small_folder, monkeypatch, value, count):
    monkeypatch.setenv("FLOWERS_MODEL", str(exported))
    monkeypatch.delenv("FLOWERS_SIMILAR", raising=False)
    if value is not None:
        monkeypatch.setenv("FLOWERS_SIMILAR", value)
    content = next(small_folder.rglob("*.jpg")).read_bytes()
    client = wsgi.create().test_client()
    reply = client.post("/api/predict", data=content, content_type="image/jpeg")
    assert len(reply.json["predictions"][0]["similar"]) == count


def test_a_thumbnail_is_upright_and_no_larger_than_the_photo():
    buffer = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.new("RGB", (90, 60), (10, 200, 10)).save(buffer, "JPEG", exif=tags)
    assert photos.thumbnail(buffer.getvalue(), 128).shape == (90, 60, 3)
    assert photos.thumbnail(buffer.getvalue(), 30).shape == (30, 20, 3)
