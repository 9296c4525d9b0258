"""The catalogue: what a folder holds, what is wrong with it, and splits that do not leak."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, PngImagePlugin

from flowers.config import SplitShares
from flowers.data import catalogue as catalogues
from flowers.data import duplicates, findings, listing, splits
from flowers.errors import InputError


def picture(seed: int, side: int = 64) -> Image.Image:
    """A photo unlike any other: coarse and fine structure from a seed."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3)).astype(np.uint8))
    fine = Image.fromarray(random.integers(0, 256, (24, 24, 3)).astype(np.uint8))
    parts = [part.resize((side, side), Image.Resampling.BICUBIC) for part in (coarse, fine)]
    return Image.blend(*parts, 0.4)


def put(path: Path, photo: Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo.save(path, **options)
    return path


@pytest.fixture
def garden(tmp_path) -> Path:
    """Two classes of 20 different photos."""
    root = tmp_path / "garden"
    for number in range(20):
        put(root / "rose" / f"{number:02}.jpg", picture(number))
        put(root / "tulip" / f"{number:02}.jpg", picture(100 + number))
    return root


def row(catalogue: catalogues.Catalogue, path: str) -> pd.Series:
    return catalogue.table.set_index("path").loc[path]


# --- building ---------------------------------------------------------------------------------


def test_a_sound_folder_becomes_one_row_a_photo(small_folder):
    built = catalogues.build(small_folder)
    assert list(built.table.columns) == list(catalogues.COLUMNS)
    assert built.table["path"].is_monotonic_increasing
    assert len(built.usable) == 36 and set(built.table["problem"]) == {""}
    assert built.labels == ("circle", "square", "triangle")
    assert built.label_ids.dtype == np.int32
    assert [built.labels[i] for i in built.label_ids] == list(built.usable["label"])
    assert built.table["group"].nunique() == 36
    first = row(built, "circle/circle_00.jpg")
    with Image.open(small_folder / "circle/circle_00.jpg") as photo:
        assert (first["width"], first["height"]) == photo.size


def test_the_splits_cover_every_usable_photo_once_in_the_shares_asked_for(garden):
    built = catalogues.build(garden)
    rows = [built.rows(split) for split in splits.SPLITS]
    assert sorted(np.concatenate(rows)) == list(range(40))
    assert [len(part) for part in rows] == [28, 6, 6]
    assert all(part.dtype == np.int64 for part in rows)
    for part in rows:
        assert np.bincount(built.label_ids[part]).tolist() == [len(part) // 2] * 2
    halves = catalogues.build(garden, shares=SplitShares(0.5, 0.25))
    assert [len(halves.rows(split)) for split in splits.SPLITS] == [20, 10, 10]
    with pytest.raises(ValueError, match="validation"):
        built.rows("dev")


def test_the_split_depends_on_the_seed_alone(garden):
    first, again = catalogues.build(garden), catalogues.build(garden)
    assert first.table.equals(again.table)
    other = catalogues.build(garden, seed=1)
    assert list(first.table["split"]) != list(other.table["split"])


def test_the_key_changes_with_the_usable_photos_only(garden):
    before = catalogues.build(garden)
    assert before.key() == catalogues.build(garden, seed=5).key()
    (garden / "rose" / "note.jpg").write_bytes(b"no photo")
    assert catalogues.build(garden).key() == before.key()
    put(garden / "rose" / "00.jpg", picture(999))
    assert catalogues.build(garden).key() != before.key()


# --- what is wrong with photos ----------------------------------------------------------------


def test_broken_photos_are_listed_with_the_reason_and_left_alone(garden):
    whole = (garden / "rose" / "00.jpg").read_bytes()
    for name, content, reason in (
        ("rose/cut.jpg", whole[: len(whole) // 2], "a truncated JPEG photo"),
        ("rose/empty.jpg", b"", "an empty file"),
        ("rose/page.jpg", b"<html></html>", "an HTML page"),
        ("tulip/heic.heic", b"\0\0\0\x18ftypheic" + bytes(99), "a HEIC photo"),
    ):
        (garden / name).write_bytes(content)
        found = row(catalogues.build(garden), name)
        assert (found["problem"], found["split"], found["sha256"]) == (reason, "", "")
        assert (garden / name).read_bytes() == content
    put(garden / "tulip" / "tiny.png", picture(7, side=8))
    built = catalogues.build(garden)
    assert row(built, "tulip/tiny.png")["problem"] == "a photo smaller than 16 px (8 x 8)"
    assert len(built.usable) == 40 and len(built.table) == 45


def copies_of(photo: Image.Image) -> dict[str, bytes]:
    """The same photo as other people save it."""

    def save(changed: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
        file = io.BytesIO()
        changed.save(file, kind, **options)
        return file.getvalue()

    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "mine")
    return {
        "bytes.png": save(photo, "PNG"),
        "comment.png": save(photo, "PNG", pnginfo=note),
        "compressed.jpg": save(photo, quality=60),
        "half.jpg": save(photo.resize((photo.width // 2, photo.height // 2))),
        "grey.jpg": save(photo.convert("L")),
        "bright.jpg": save(ImageEnhance.Brightness(photo).enhance(1.2)),
        "warm.webp": save(ImageEnhance.Color(photo).enhance(1.6), "WEBP"),
        "trimmed.jpg": save(photo.crop((3, 2, photo.width - 2, photo.height - 3))),
    }


def test_copies_under_one_label_share_a_group_and_a_split(garden):
    photo = picture(500, side=256)
    put(garden / "rose" / "original.png", photo)
    copies = copies_of(photo)
    for name, content in copies.items():
        (garden / "rose" / name).write_bytes(content)
    family = [f"rose/{name}" for name in ("original.png", *copies)]
    for seed in range(4):
        built = catalogues.build(garden, seed=seed)
        found = built.table.set_index("path").loc[family]
        assert found["group"].nunique() == 1 and found["split"].nunique() == 1
        assert set(found["problem"]) == {""}
        assert built.table["group"].value_counts().max() == len(family)
    alone = catalogues.build(garden, near=None).table.set_index("path")
    together = alone["group"] == alone.loc["rose/original.png", "group"]
    assert set(alone.index[together]) == {"rose/original.png", "rose/bytes.png", "rose/comment.png"}


def test_the_same_photo_under_two_labels_is_quarantined_with_all_its_copies(garden):
    photo = picture(500, side=256)
    copies = copies_of(photo)
    put(garden / "rose" / "original.png", photo)
    (garden / "rose" / "copy.png").write_bytes(copies["bytes.png"])
    (garden / "tulip" / "mistaken.jpg").write_bytes(copies["compressed.jpg"])
    built = catalogues.build(garden)
    for path in ("rose/original.png", "rose/copy.png", "tulip/mistaken.jpg"):
        found = row(built, path)
        assert found["problem"] == "same photo under rose and tulip"
        assert found["split"] == "" and (garden / path).exists()
    assert len(built.usable) == 40


def test_photos_that_merely_resemble_each_other_are_no_conflict(garden):
    """Flat photos, gradients and shifted noise fool hashes; the comparison of detail decides."""
    for number, label in enumerate(("rose", "tulip", "rose", "tulip")):
        put(garden / label / f"flat{number}.png", Image.new("RGB", (64, 64), (9 * number, 0, 90)))
        slope = Image.linear_gradient("L").resize((64, 64)).point(lambda v, n=number: v - 9 * n)
        put(garden / label / f"slope{number}.png", slope)
    assert set(catalogues.build(garden).table["problem"]) == {""}


def test_a_corrected_label_ends_a_conflict(garden, tmp_path):
    put(garden / "tulip" / "mistaken.jpg", picture(3))
    built = catalogues.build(garden)
    assert row(built, "rose/03.jpg")["problem"]
    path = built.save(tmp_path / "catalogue.csv")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[table["path"] == "tulip/mistaken.jpg", "label"] = "rose"
    table.to_csv(path, index=False)
    settled = catalogues.settle(catalogues.load(path))
    family = settled.table.set_index("path").loc[["rose/03.jpg", "tulip/mistaken.jpg"]]
    assert set(family["problem"]) == {""} and family["split"].nunique() == 1


# --- folders ----------------------------------------------------------------------------------


def test_what_is_no_photo_of_a_class_is_not_a_row(garden):
    for name in (
        *("rose/.hidden.jpg", "__MACOSX/rose/x.jpg", "rose/__MACOSX/x.jpg", ".git/x.jpg"),
        *("rose/Thumbs.db", "painted.json", "rose/notes.txt", "loose.jpg"),
    ):
        (garden / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(garden / "rose" / "00.jpg", garden / name)
    (garden / "rose" / "notes.txt").write_text("water weekly")
    assert len(catalogues.build(garden).table) == 40
    others = dict(listing.contents(garden).others)
    assert others == {"loose.jpg": "outside the class folders", "rose/notes.txt": "no photo"}


def test_nested_folders_belong_to_their_class_and_any_name_will_do(garden):
    names = (
        "deep/er/photo.jpg",
        "ünïcödé 🌷.jpg",
        "ε" * 120 + ".jpg",
        "a b,c;d\"e'f.jpg",
        "x" * 255,
    )
    for number, name in enumerate(names):
        path = garden / "rose" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(200 + number).save(path, "JPEG")
    table = catalogues.build(garden).table.set_index("path")
    for name in names:
        found = table.loc[f"rose/{name}"]
        assert (found["label"], found["problem"]) == ("rose", "")


def test_links_in_a_circle_end_and_are_mentioned(garden, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    put(elsewhere / "a.jpg", picture(300))
    (garden / "linked").symlink_to(elsewhere)
    (garden / "rose" / "up").symlink_to(garden)
    (garden / "around").symlink_to(garden)
    (garden / "alias").symlink_to(garden / "rose")
    (garden / "rose" / "gone.jpg").symlink_to(garden / "nowhere.jpg")
    built = catalogues.build(garden)
    assert built.labels == ("linked", "rose", "tulip") and len(built.usable) == 41
    assert row(built, "rose/gone.jpg")["problem"] == "a broken link"
    others = dict(listing.contents(garden).others)
    assert set(others) == {"rose/up", "around", "alias"}
    assert all("not followed" in remark for remark in others.values())


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are UTF-8")
def test_a_name_that_is_not_utf8_is_listed_and_left_out(garden, tmp_path):
    shutil.copy(garden / "rose" / "00.jpg", os.fsencode(garden / "rose") + b"/caf\xe9.jpg")
    built = catalogues.build(garden)
    problem = row(built, "rose/caf\\udce9.jpg")["problem"]
    assert problem == "a name that is not UTF-8"
    saved = catalogues.load(built.save(tmp_path / "catalogue.csv"))
    assert saved.table.equals(built.table)


@pytest.mark.parametrize("place", ["missing", "file.txt"])
def test_a_folder_that_is_none_is_refused(tmp_path, place):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(InputError, match="class folders"):
        catalogues.build(tmp_path / place)


def test_an_empty_folder_is_an_empty_catalogue(tmp_path):
    (tmp_path / "rose").mkdir()
    built = catalogues.build(tmp_path)
    assert len(built.table) == 0 and built.labels == () and len(built.label_ids) == 0
    assert catalogues.load(built.save(tmp_path / "c.csv")).table.empty
    text = findings.as_text(findings.findings(built))
    assert "Folders without a photo, no class (1)\n  rose" in text and "Not ready" in text


CONTENTS = st.sampled_from(["photo", "copy", "cut", "empty", "text", "folder.jpg", "link", "tiny"])
NAMES = st.sampled_from(["a.jpg", "b.JPG", "c.png", "d.txt", "e", ".f.jpg", "ü.jpeg", "g.heic"])
PLACES = st.sampled_from(["rose", "tulip", "rose/in/side", "x y", "__MACOSX", ".", "Rose"])


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=st.lists(st.tuples(PLACES, NAMES, CONTENTS), max_size=14))
def test_any_tree_is_catalogued_in_one_pass(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("tree")
    for number, (place, name, content) in enumerate(tree):
        path = root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            continue
        if content == "folder.jpg":
            path.mkdir()
        elif content == "link":
            path.symlink_to(root)
        elif content in ("photo", "copy", "tiny"):
            seed = 0 if content == "copy" else number + 1
            picture(seed, side=8 if content == "tiny" else 32).save(path, "PNG")
        else:
            path.write_bytes({"cut": b"\xff\xd8\xff\xe0", "empty": b"", "text": b"hi"}[content])
    built = catalogues.build(root)
    table, usable = built.table, built.usable
    assert table["path"].is_unique
    assert (table["label"] == table["path"].str.split("/").str[0]).all()
    assert not table["path"].str.contains("__MACOSX|(?:^|/)[.]").any()
    assert ((table["problem"] == "") == table["split"].isin(splits.SPLITS)).all()
    assert (usable.groupby("group")["split"].nunique() <= 1).all()
    assert (usable.groupby("group")["label"].nunique() <= 1).all()
    text = findings.as_text(findings.findings(built))
    assert all(path in text for path in table.loc[table["problem"] != "", "path"])
    again = catalogues.load(built.save(root / "catalogue.csv"))
    pd.testing.assert_frame_equal(again.table, built.table, check_dtype=False)


# --- saving and loading -----------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    labels=st.lists(
        st.one_of(
            st.sampled_from(["NA", "nan", "null", "007", "1e5", " rose ", "True", '"', "a,b", "#"]),
            st.text(
                st.characters(exclude_categories=("Cs",), exclude_characters="\0/"), min_size=1
            ),
        ).filter(str.strip),
        min_size=1,
        max_size=6,
        unique=True,
    )
)
def test_any_names_survive_saving(tmp_path_factory, labels):
    table = pd.DataFrame(
        {
            "path": [f"{label}/{label}.jpg" for label in labels],
            "label": labels,
            "sha256": [f"{n:064x}" for n in range(len(labels))],
            "group": range(len(labels)),
            "origin": "",
            "width": 20,
            "height": 30,
            "problem": "",
            "split": "train",
        }
    ).sort_values("path", ignore_index=True)
    table = table[~table["path"].str.split("/").map(lambda parts: ".." in parts)]
    path = tmp_path_factory.mktemp("saved") / "catalogue.csv"
    saved = catalogues.Catalogue(path.parent, table.reset_index(drop=True))
    loaded = catalogues.load(saved.save(path))
    pd.testing.assert_frame_equal(loaded.table, saved.table, check_dtype=False)
    assert loaded.root == saved.root and loaded.key() == saved.key()


def test_a_catalogue_can_be_loaded_beside_moved_photos(garden, tmp_path):
    path = catalogues.build(garden).save(tmp_path / "catalogue.csv")
    moved = garden.rename(tmp_path / "moved")
    assert catalogues.load(path).root == garden
    assert catalogues.load(path, root=moved).root == moved


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.drop(columns="split"), "no column split"),
        (lambda table: table.assign(split="dev"), "'dev'"),
        (lambda table: table.assign(split=""), "''"),
        (lambda table: table.assign(group="x"), "no number"),
        (lambda table: table.assign(label=" "), "without a label"),
        (lambda table: pd.concat([table, table[:1]]), "rose/00.jpg twice"),
        (lambda table: table.assign(group=1), "more than one split"),
        (lambda table: table.assign(path="../" + table["path"]), "leaves the folder"),
        (lambda table: table.assign(path="/etc/" + table["path"]), "leaves the folder"),
    ],
)
def test_a_catalogue_edited_to_nonsense_is_refused(garden, tmp_path, change, reason):
    path = tmp_path / "catalogue.csv"
    change(catalogues.build(garden).table).to_csv(path, index=False)
    with pytest.raises(InputError) as caught:
        catalogues.load(path)
    assert reason in caught.value.received


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b'"', b"a,b\n1,2,3\n"])
def test_a_file_that_is_no_catalogue_is_refused(tmp_path, content):
    path = tmp_path / "catalogue.csv"
    path.write_bytes(content)
    with pytest.raises(InputError):
        catalogues.load(path)
    with pytest.raises(InputError, match="no such file"):
        catalogues.load(tmp_path / "missing.csv")


# --- splits and folds -------------------------------------------------------------------------


@st.composite
def sets(draw):
    """(labels, groups, digests) of a set whose groups hold 1 to 6 photos of one class."""
    labels, groups = [], []
    for label in range(draw(st.integers(1, 4))):
        for size in draw(st.lists(st.integers(1, 6), min_size=1, max_size=30)):
            groups += [len(set(groups))] * size
            labels += [f"class {label}"] * size
    digests = [f"digest {index}" for index in range(len(labels))]
    return np.array(labels), np.array(groups), np.array(digests)


@settings(max_examples=100, deadline=None)
@given(photos=sets(), seed=st.integers(0, 5))
def test_no_group_straddles_and_shares_are_met_within_a_group(photos, seed):
    labels, groups, digests = photos
    parts = splits.split(labels, groups, digests, seed)
    frame = pd.DataFrame({"label": labels, "group": groups, "split": parts})
    assert (frame.groupby("group")["split"].nunique() == 1).all()
    for _, photos in frame.groupby("label"):
        sizes = photos.groupby("group").size()
        shares = {"train": 0.7, "validation": 0.15, "test": 0.15}
        if len(sizes) >= 3:
            assert set(photos["split"]) == set(shares)
        for name, share in shares.items():
            off = abs((photos["split"] == name).sum() - share * len(photos))
            assert off <= 2 * sizes.max()


@settings(max_examples=60, deadline=None)
@given(photos=sets(), k=st.integers(2, 6))
def test_folds_are_even_and_keep_groups_whole(photos, k):
    labels, groups, digests = photos
    parts = splits.folds(labels, groups, digests, k)
    frame = pd.DataFrame({"label": labels, "group": groups, "fold": parts})
    assert parts.min() >= 0 and parts.max() < k
    assert (frame.groupby("group")["fold"].nunique() == 1).all()
    for _, photos in frame.groupby("label"):
        sizes = photos.groupby("group").size()
        if len(sizes) >= k:
            assert set(photos["fold"]) == set(range(k))


def test_one_photo_more_moves_few_others():
    labels, digests = np.repeat(["a", "b"], 200), np.array([f"d{n}" for n in range(400)])
    before = splits.split(labels, np.arange(400), digests)
    after = splits.split(
        np.append(labels, "a"), np.arange(401), np.append(digests, "one photo more")
    )
    assert (before != after[:400]).sum() <= 2


def test_a_set_that_comes_split_keeps_its_test_photos(tmp_path):
    for label, start in (("rose", 0), ("tulip", 100)):
        for number in range(20):
            put(tmp_path / "train" / label / f"{number:02}.jpg", picture(start + number))
        for number in range(50, 54):
            put(tmp_path / "test" / label / f"{number}.jpg", picture(start + number))
    put(tmp_path / "train" / "rose" / "seen.jpg", picture(52), quality=70)
    put(tmp_path / "train" / "tulip" / "wrong.jpg", picture(51))
    (tmp_path / "README.txt").write_text("two parts")
    built = catalogues.build(tmp_path, shares=SplitShares(0.9, 0.1))
    table = built.usable
    counts = pd.crosstab(table["path"].str.split("/").str[0], table["split"])
    assert counts.loc["test"].to_dict() == {"test": 8, "train": 0, "validation": 0}
    assert counts.loc["train"].to_dict() == {"test": 0, "train": 36, "validation": 4}
    assert built.labels == ("rose", "tulip")
    for name, twin in (("rose/seen.jpg", "rose/52.jpg"), ("tulip/wrong.jpg", "rose/51.jpg")):
        assert row(built, f"train/{name}")["problem"] == f"{catalogues.SEEN}test/{twin}"
    assert catalogues.settle(built, shares=SplitShares(0.9, 0.1)).table.equals(built.table)
    result = findings.findings(built)
    assert ("README.txt", "outside the class folders") in result.odd and result.empty == ()


def test_a_number_of_training_photos_a_class_leaves_the_rest_to_the_test(garden):
    for number in range(200, 215):
        put(garden / "rose" / f"{number}.jpg", picture(number))
    built = catalogues.build(garden, shares=SplitShares(0.75, 0.15, per_class=12))
    counts = pd.crosstab(built.usable["label"], built.usable["split"])
    assert counts.loc["rose"].to_dict() == {"train": 10, "validation": 2, "test": 23}
    assert counts.loc["tulip"].to_dict() == {"train": 10, "validation": 2, "test": 8}


def test_what_has_one_origin_shares_a_split_and_is_no_conflict(garden, tmp_path):
    def origins(paths):
        return [f"plant {Path(path).stem}" for path in paths]  # one of each class a plant

    built = catalogues.build(garden, origins=origins)
    assert set(built.table["problem"]) == {""} and built.table["group"].nunique() == 40
    assert (built.table.groupby("origin")["split"].nunique() == 1).all()
    counts = pd.crosstab(built.usable["label"], built.usable["split"])
    assert counts.loc["rose"].to_dict() == counts.loc["tulip"].to_dict()
    assert counts.loc["rose"].to_dict() == {"train": 14, "validation": 3, "test": 3}
    folds = catalogues.folds(built, 5)
    assert (built.usable.assign(fold=folds).groupby("origin")["fold"].nunique() == 1).all()
    path = built.save(tmp_path / "catalogue.csv")
    assert list(catalogues.load(path).table["origin"]) == list(built.table["origin"])
    pd.read_csv(path).drop(columns="origin").to_csv(path, index=False)  # of an earlier version
    assert set(catalogues.load(path).table["origin"]) == {""}


def test_look_alikes_of_two_origins_must_be_the_same_photo_to_be_grouped(garden):
    put(garden / "rose" / "a.png", picture(3))
    put(garden / "rose" / "b.png", Image.blend(picture(3), picture(300), 0.4))  # alike, not equal
    put(garden / "tulip" / "c.png", picture(101))  # a copy of tulip/01.jpg
    for origins, alike in ((None, True), (list, False)):  # list: each path its own origin
        groups = catalogues.build(garden, origins=origins).table.set_index("path")["group"]
        assert (groups["rose/a.png"] == groups["rose/b.png"]) == alike
        assert groups["tulip/c.png"] == groups["tulip/01.jpg"]


def test_folds_of_a_catalogue_follow_its_usable_photos(garden):
    (garden / "rose" / "broken.jpg").write_bytes(b"")
    built = catalogues.build(garden)
    parts = catalogues.folds(built, 5)
    assert parts.shape == (40,) and np.bincount(parts).tolist() == [8] * 5
    assert (parts != catalogues.folds(built, 5, seed=1)).any()


# --- what cannot be trained on ----------------------------------------------------------------


def test_a_sound_set_may_be_trained_on(garden):
    built = catalogues.build(garden)
    catalogues.require_trainable(built)  # it raises where it may not
    assert len(built.labels) == 2 and not built.usable.empty


def test_fewer_than_two_classes_are_refused_with_the_counts(garden):
    shutil.rmtree(garden / "tulip")
    with pytest.raises(InputError) as caught:
        catalogues.require_trainable(catalogues.build(garden))
    assert caught.value.received == "1 with usable photos: rose (20)"
    shutil.rmtree(garden / "rose")
    with pytest.raises(InputError, match="Received: 0 with usable photos"):
        catalogues.require_trainable(catalogues.build(garden))


def test_a_class_too_small_to_split_is_refused_by_name(garden):
    put(garden / "daisy" / "one.jpg", picture(400))
    put(garden / "daisy" / "two.jpg", picture(401))
    with pytest.raises(InputError, match="daisy has 1 for train, 1 for validation, 0 for test"):
        catalogues.require_trainable(catalogues.build(garden))
    put(garden / "daisy" / "three.jpg", picture(402))
    catalogues.require_trainable(catalogues.build(garden))


# --- findings ---------------------------------------------------------------------------------


def test_findings_tell_everything_in_one_pass(garden):
    photo = picture(500, side=256)
    copies = copies_of(photo)
    put(garden / "rose" / "original.png", photo)
    (garden / "rose" / "same.png").write_bytes((garden / "rose" / "original.png").read_bytes())
    (garden / "rose" / "grey.jpg").write_bytes(copies["grey.jpg"])
    (garden / "rose" / "wrong.jpg").write_bytes(copies["bytes.png"])
    (garden / "rose" / "cut.jpg").write_bytes(copies["half.jpg"][:500])
    shutil.copy(garden / "rose" / "07.jpg", garden / "tulip" / "mistaken.jpg")
    put(garden / "tulip" / "wide.png", picture(700).resize((400, 40)))
    put(garden / "Rose" / "few.jpg", picture(600))
    (garden / "empty").mkdir()
    (garden / "evil\n\x1b[2Jname").mkdir()
    (garden / "read me.txt").write_text("hello")
    result = findings.findings(catalogues.build(garden))
    assert dict(result.left_out) == {"rose/cut.jpg": "a truncated JPEG photo"}
    assert result.conflicts == (("rose/07.jpg", "tulip/mistaken.jpg"),)
    assert result.identical == (("rose/original.png", "rose/same.png", "rose/wrong.jpg"),)
    assert result.look_alike == (("rose/grey.jpg", "rose/original.png"),)
    assert result.empty == ("empty", "evil\n\x1b[2Jname") and result.few == ("Rose",)
    assert result.imbalance == 23
    odd = dict(result.odd)
    assert odd["tulip/wide.png"] == "extremely wide"
    assert odd["rose/wrong.jpg"] == "a PNG photo by its content"
    assert odd["read me.txt"] == "outside the class folders"
    assert "case" in odd["rose"]
    assert result.counts.loc["rose", ["photos", "usable"]].tolist() == [25, 23]
    assert "Rose has" in result.obstacle
    text = findings.as_text(result)
    for path in [*odd, "rose/cut.jpg", "rose/07.jpg = tulip/mistaken.jpg", "rose/grey.jpg ~ rose"]:
        assert path in text
    assert "\x1b" not in text and "evil\\n\\x1b[2Jname" in text
    assert text.endswith(result.obstacle)


def test_findings_of_a_sound_set_are_short_and_aligned(garden):
    text = findings.as_text(findings.findings(catalogues.build(garden)))
    lines = text.splitlines()
    assert lines[2:6] == [
        "class     photos  usable  train  validation  test",
        "rose          20      20     14           3     3",
        "tulip         20      20     14           3     3",
        "together      40      40     28           6     6",
    ]
    assert lines[6:] == ["", "Ready to train."]


def test_findings_do_without_the_folder(garden, tmp_path):
    built = catalogues.build(garden)
    shutil.rmtree(garden)
    result = findings.findings(built)
    assert len(result.odd) == 40 and all("gone" in remark for _, remark in result.odd)


# --- look-alikes ------------------------------------------------------------------------------


def test_the_search_finds_every_pair_that_comparing_all_would(monkeypatch):
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**63, 3_000, dtype=np.uint64)
    for index in range(200):  # pairs that differ in 1 to 7 bits
        flips = random.choice(64, size=1 + index % 7, replace=False)
        hashes[2_000 + index] = hashes[index] ^ np.bitwise_or.reduce(
            np.uint64(1) << flips.astype(np.uint64)
        )
    differ = np.bitwise_count(hashes[:, None] ^ hashes[None])
    wanted = {(i, j) for i, j in np.argwhere(differ <= 7).tolist() if i < j}
    found = np.concatenate(list(duplicates._proposed(hashes, 7)))
    assert {tuple(pair) for pair in found.tolist()} == wanted and len(wanted) >= 200


def test_a_film_is_one_group_and_not_a_million_comparisons():
    still = picture(1, side=64)
    random = np.random.default_rng(0)
    looks = []
    for _ in range(120):
        noise = random.integers(-6, 7, (64, 64, 3))
        frame = np.clip(np.asarray(still) + noise, 0, 255).astype(np.uint8)
        looks.append(duplicates.look(frame))
    pairs, likeness = duplicates.near_pairs(looks)
    assert len(pairs) < 120 * 119 / 2 and likeness.min() > duplicates.SAME_PHOTO
    assert set(duplicates.groups(120, pairs)) == {0}


def test_the_known_pairs_of_the_real_flowers_are_found(shared, tmp_path):
    """Rose and tulip alone, by links; seen with eyes: these pairs are the same photos."""
    for label in ("rose", "tulip"):
        (tmp_path / label).symlink_to(shared / "data" / "flowers" / label)
    result = findings.findings(catalogues.build(tmp_path))
    assert result.conflicts == (
        ("rose/15922772266_1167a06620.jpg", "tulip/15922772266_1167a06620.jpg"),
    )
    assert set(result.look_alike) >= {
        ("rose/13279526615_a3b0059bec.jpg", "rose/13342823005_16d3df58df_n.jpg"),
        ("rose/1775233884_12ff5a124f.jpg", "rose/2093263381_afd51358a3.jpg"),
        ("tulip/12916135413_dafcf3089e_n.jpg", "tulip/12916441224_2ed63596f8_n.jpg"),
    }
    assert len(result.look_alike) <= 10 and result.left_out == ()
