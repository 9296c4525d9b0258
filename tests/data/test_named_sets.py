"""Hand signs, CIFAR-10 and Caltech-101: downloaded from this machine, taken by path, refused."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from faulty_server import Fault, serve
from flowers.data import caltech, catalogue, cifar, signs
from flowers.data.published import Published
from flowers.data.sources import Places, get
from flowers.errors import InputError, WorldError

RANDOM = np.random.default_rng(0)


def jpeg(side: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (side, side, 3)).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix != ".lock" and path.is_file()]


# --- hand signs ------------------------------------------------------------------------------

PEOPLE = 5


def sign_photos(people: int = PEOPLE, digits: int = 10) -> dict[str, bytes]:
    """As the school's archive has them: each person shows every digit, one photo after another."""
    return {
        f"set-master/Dataset/{digit}/IMG_{1118 + 10 * person + digit}.JPG": jpeg()
        for person in range(people)
        for digit in range(digits)
    } | {"set-master/README.md": b"read me", "set-master/Examples/example_0.JPG": jpeg()}


def test_hand_signs_are_downloaded_once_and_only_the_digits_0_to_5(tmp_path):
    with serve(zipped(sign_photos()), faults=[Fault(cut=900)]) as site:
        source = get("signs", tmp_path, places=Places(signs=Published(site.url, 10_000_000)))
    assert source.name == "signs" and "30 photos of 6 classes" in source.reason
    assert names(source.folder) == list("012345")
    offline = Places(signs=Published("http://127.0.0.1:9/", 10_000_000))
    again = get("signs", tmp_path, places=offline)  # from the disk
    assert again.folder == source.folder and "found in" in again.reason


@pytest.mark.parametrize(
    ("content", "limit", "received"),
    [
        (zipped({f"a/{digit}/IMG_{digit}.JPG": jpeg() for digit in (0, 1, 2, 5)}), 10**6, "3, 4"),
        (zipped(sign_photos())[:-300], 10**6, "damaged"),
        (zipped(sign_photos()), 5_000, "MB or more"),
        (b"<html>sign in</html>", 10**6, "a web page"),
    ],
)
def test_a_download_of_no_use_leaves_nothing(tmp_path, content, limit, received):
    with serve(content) as site, pytest.raises(WorldError, match=received):
        get("signs", tmp_path, places=Places(signs=Published(site.url, limit, attempts=1)))
    assert left_over(tmp_path) == []


def test_photos_of_one_person_stay_together(tmp_path):
    for name, content in sign_photos(people=20).items():
        path = tmp_path / "mine" / Path(name).relative_to("set-master")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    source = get(f"signs:{tmp_path / 'mine' / 'Dataset'}", tmp_path / "data")
    assert not (tmp_path / "data").exists(), "a folder is taken where it is"
    table = catalogue.of(source).usable
    assert len(table) == 120 and set(table["label"]) == set("012345")
    assert (table.groupby("origin")["split"].nunique() == 1).all()
    people = table.groupby("split")["origin"].nunique()
    assert people.to_dict() == {"train": 14, "validation": 3, "test": 3}
    everything = get(tmp_path / "mine" / "Dataset", tmp_path / "data")
    assert len(catalogue.of(everything).usable) == 200, "without the name: all ten, by look"


def test_people_are_told_apart_by_the_order_of_their_photos():
    paths = [
        *(f"{digit}/IMG_{1118 + digit}.jpg" for digit in range(6)),
        *(f"{digit}/IMG_{1128 + digit}.jpg" for digit in (1, 0, 2, 3, 5)),  # two swapped, one gone
        *(f"{digit}/IMG_{1200 + digit}.jpg" for digit in (3, 4)),  # belongs to whom it follows
        *(f"{digit}/IMG_{1210 + digit}.jpg" for digit in range(6)),
        "0/holiday.jpg",
    ]
    found = signs.people(paths)
    assert [len(set(found[part])) for part in (slice(0, 6), slice(6, 13), slice(13, 19))] == [1] * 3
    assert len(set(found[:-1])) == 3 and found[-1] == ""


def hdf5(folder: Path, part: str, photos: int = 18, side: int = 64, **changes: object) -> Path:
    """As the SIGNS files are; `changes` replaces arrays, None leaves one out."""
    arrays = {
        "list_classes": np.arange(6),
        f"{part}_set_x": RANDOM.integers(0, 256, (photos, side, side, 3)).astype(np.uint8),
        f"{part}_set_y": np.arange(photos) % 6,
    } | changes
    path = folder / f"{part}_signs.h5"
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            if value is not None:
                file[key] = value
    return path


@pytest.mark.parametrize("named", ["{}", "signs:{}", "signs:folder"])
def test_signs_in_hdf5_keep_their_test_photos(tmp_path, named):
    train, test = hdf5(tmp_path, "train", 36), hdf5(tmp_path, "test", 12)
    named = f"signs:{tmp_path}" if named == "signs:folder" else named.format(test)
    source = get(named, tmp_path / "data")
    table = catalogue.of(source).usable
    assert table["split"].value_counts().to_dict() == {"train": 30, "validation": 6, "test": 12}
    assert set(table["label"]) == set("012345")
    with h5py.File(train) as file:
        first = file["train_set_x"][7]
    assert np.array_equal(np.asarray(Image.open(source.folder / "train/1/07.png")), first)


@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({"train_set_x": None}, "no array train_set_x, but list_classes, train_set_y"),
        ({"list_classes": None}, "no array list_classes"),
        ({"side": 24}, "photos of 24 px, fewer than 32"),
        ({"train_set_x": np.zeros((18, 64, 48, 3), np.uint8)}, r"of shape \(18, 64, 48, 3\)"),
        ({"train_set_x": np.zeros((18, 64, 64), np.uint8)}, r"of shape \(18, 64, 64\)"),
        ({"train_set_x": np.zeros((18, 64, 64, 3))}, "float64"),
        ({"train_set_y": np.zeros(17, int)}, r"train_set_y of shape \(17,\) for 18 photos"),
        ({"train_set_y": np.full(18, 0.5)}, "train_set_y"),
        ({"train_set_y": np.full(18, 7)}, "labels"),
        ({"train_set_y": np.arange(18) % 5}, "no photo of 5"),
        ({"list_classes": np.arange(7)}, r"list_classes of shape \(7,\)"),
        ({"train_set_x": h5py.ExternalLink("/etc/passwd", "/x")}, "no array train_set_x"),
    ],
)
def test_hdf5_without_the_expected_keys_and_shapes_is_refused(tmp_path, changes, received):
    side = changes.pop("side", 64)
    train = hdf5(tmp_path, "train", side=side, **changes)
    hdf5(tmp_path, "test")
    changes |= {"side": side}
    with pytest.raises(InputError, match=received):
        get(f"signs:{train}", tmp_path / "data")
    assert left_over(tmp_path / "data") == []


def test_damaged_or_lonely_hdf5_is_refused(tmp_path):
    train = hdf5(tmp_path, "train")
    with pytest.raises(InputError, match=r"no HDF5 file test_signs\.h5"):
        get(train, tmp_path / "data")
    hdf5(tmp_path, "test")
    train.write_bytes(train.read_bytes()[:3000])
    with pytest.raises(InputError, match="damaged"):
        get(train, tmp_path / "data")


# --- CIFAR-10 --------------------------------------------------------------------------------


def cifar_batches(rows: int = 20, **replaced: bytes) -> bytes:
    """The publisher's archive with a few photos: pickled dictionaries."""

    def batch(start: int) -> bytes:
        data = RANDOM.integers(0, 256, (rows, 3072)).astype(np.uint8)
        labels = [(start + row) % 10 for row in range(rows)]
        return pickle.dumps({b"data": data, b"labels": labels}, protocol=3)

    meta = {b"label_names": [name.encode() for name in cifar.CLASSES]}
    members = {f"data_batch_{number}": batch(number) for number in range(1, 6)}
    members |= {"test_batch": batch(0), "batches.meta": pickle.dumps(meta, protocol=3)} | replaced
    return tarred({f"cifar-10-batches-py/{name}": data for name, data in members.items()})


def test_cifar10_is_downloaded_checked_and_split_as_published(tmp_path):
    archive = cifar_batches()
    place = Published("", 10**7, sha256=hashlib.sha256(archive).hexdigest())
    with serve(archive) as site:
        place = Published(site.url, place.size_limit, place.sha256)
        source = get("cifar10", tmp_path, places=Places(cifar10=place))
    assert "120 photos of 10 classes" in source.reason
    table = catalogue.of(source).usable
    assert (table["split"] == "test").sum() == 20 and len(table) == 120
    assert set(table["label"]) == set(cifar.CLASSES)
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        batch = packed.extractfile("cifar-10-batches-py/test_batch").read()
    row = pickle.loads(batch, encoding="bytes")[b"data"][3]
    png = np.asarray(Image.open(source.folder / "test" / cifar.CLASSES[3] / "03.png"))
    assert np.array_equal(png, row.reshape(3, 32, 32).transpose(1, 2, 0))


class Hostile:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("damage", ["code", "cut", "rows", "label", "no batches", "classes"])
def test_another_archive_under_that_name_is_refused(tmp_path, damage):
    canary = tmp_path / "canary"
    good = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}
    content = {
        "code": {"test_batch": pickle.dumps({b"data": Hostile(canary)})},
        "cut": {"test_batch": pickle.dumps(good)[:-40]},
        "rows": {"test_batch": pickle.dumps(good | {b"data": np.zeros((2, 99), np.uint8)}, 3)},
        "label": {"test_batch": pickle.dumps(good | {b"labels": [0, 10]}, 3)},
        "classes": {"batches.meta": pickle.dumps({b"label_names": [b"rose", b"tulip"]})},
    }
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(
        tarred({"x/test_batch": b"", "x/batches.meta": b""})
        if damage == "no batches"
        else cifar_batches(2, **content[damage])
    )
    with pytest.raises(InputError):
        get(f"cifar10:{archive}", tmp_path / "data")
    assert not canary.exists() and left_over(tmp_path / "data") == []


def cifar_folder(**counts: int) -> dict[str, bytes]:
    return {
        f"cifar10/{part}/{name}/{number:04}.jpg": jpeg()
        for part, default in (("train", 3), ("test", 1))
        for name in cifar.CLASSES
        for number in range(counts.get(f"{part}_{name}", default))
    }


def test_a_zip_of_class_folders_keeps_its_test_photos(tmp_path):
    archive = tmp_path / "cifar10.zip"
    archive.write_bytes(zipped(cifar_folder()))
    for named in (f"cifar10:{archive}", str(archive)):
        source = get(named, tmp_path / "data")
        table = catalogue.of(source).usable
        assert set(table["label"]) == set(cifar.CLASSES)
        assert all(path.startswith("test/") for path in table["path"][table["split"] == "test"])
        assert (table["split"] == "test").sum() == 10 and len(table) == 40


@pytest.mark.parametrize(
    ("counts", "received"),
    [
        ({"test_truck": 0}, "no truck in test"),
        ({"test_truck": 0, "train_truck": 0}, "no photos of truck"),
    ],
)
def test_cifar10_with_a_missing_class_is_refused(tmp_path, counts, received):
    archive = tmp_path / "cifar10.zip"
    archive.write_bytes(zipped(cifar_folder(**counts)))
    with pytest.raises(InputError, match=received):
        get(f"cifar10:{archive}", tmp_path / "data")


def test_class_folders_without_a_split_are_no_cifar10(tmp_path, small_folder):
    with pytest.raises(InputError, match="no folders train and test"):
        get(f"cifar10:{small_folder}", tmp_path)


# --- Caltech-101 -----------------------------------------------------------------------------


def caltech_photos() -> dict[str, bytes]:
    classes = (*caltech.CLASSES, "BACKGROUND_Google")
    noise = [RANDOM.bytes(40) for _ in range(31)]  # told apart by nobody here
    return {
        f"101_ObjectCategories/{name}/image_{number:04}.jpg": noise[number - 1]
        for name in classes
        for number in range(1, 32)
    }


def caltech_archive() -> bytes:
    """As the publisher's: a tar.gz of the photos and a tar of outlines in a zip."""
    return zipped(
        {
            "caltech-101/101_ObjectCategories.tar.gz": tarred(caltech_photos()),
            "caltech-101/Annotations.tar": tarred({"Annotations/ant/annotation_0001.mat": b"x"}),
            "__MACOSX/caltech-101/._101_ObjectCategories.tar.gz": b"resource fork",
        }
    )


def test_caltech101_is_unpacked_out_of_its_two_archives(tmp_path):
    with serve(caltech_archive()) as site:
        place = Published(site.url, 10**7)
        source = get("caltech101", tmp_path, places=Places(caltech101=place))
    assert names(source.folder) == sorted(caltech.CLASSES)
    assert "3,131 photos of 101 classes" in source.reason
    folder = get(f"caltech101:{source.folder}", tmp_path / "elsewhere")
    assert folder.folder == source.folder and "BACKGROUND_Google" not in folder.only


def test_caltech101_with_missing_classes_is_refused(tmp_path):
    archive = tmp_path / "caltech-101.zip"
    few = {name: data for name, data in caltech_photos().items() if "/a" in name or "/b" in name}
    archive.write_bytes(zipped(few))
    with pytest.raises(InputError, match=r"no photos of Faces, .* and 83 more") as caught:
        get(f"caltech101:{archive}", tmp_path / "data")
    assert str(archive) in str(caught.value)
    assert left_over(tmp_path / "data") == []


def test_caltech101_with_too_few_photos_is_refused(tmp_path):
    for count in (30, 31):
        (tmp_path / str(count)).mkdir()
        for number in range(count):
            (tmp_path / str(count) / f"{number}.jpg").touch()
    (tmp_path / "set").mkdir()
    for name in caltech.CLASSES:
        (tmp_path / "set" / name).symlink_to(tmp_path / ("30" if name == "inline_skate" else "31"))
    with pytest.raises(InputError, match="30 of inline_skate"):
        get(f"caltech101:{tmp_path / 'set'}", tmp_path / "data")
