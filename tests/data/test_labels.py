"""labels.csv: a person's decisions, applied to a catalogue and to nothing else."""

import shutil

import pandas as pd
import pytest

from flowers.data import catalogue as catalogues
from flowers.data import labels
from flowers.errors import InputError

HEADER = "path,label,suggested_label,score,action\n"


@pytest.fixture(scope="module")
def catalogue(small_folder):
    return catalogues.build(small_folder, near=None)


def written(tmp_path, text: str):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def table(*lines: tuple[str, str, str, str]) -> pd.DataFrame:
    """Lines of (path, label, suggested label, action)."""
    rows = [(path, label, other, 0.01, action) for path, label, other, action in lines]
    return pd.DataFrame(rows, columns=list(labels.COLUMNS))


def refusal(call, *arguments) -> InputError:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return caught.value


def row(catalogue, path: str) -> pd.Series:
    return catalogue.table.set_index("path").loc[path]


# --- reading ----------------------------------------------------------------------------------


def test_what_is_saved_is_read_again(tmp_path):
    saved = table(("rose/ä, b.jpg", "rose", "tulip", "keep"), ("rose/2.jpg", "rose", "tulip", ""))
    read = labels.read(labels.save(tmp_path / "labels.csv", saved))
    assert read.to_dict("records") == saved.to_dict("records")


def test_a_spreadsheets_dialect_is_understood(tmp_path):
    text = (
        "\ufeffpath;label;suggested_label;score;action;my notes\r\n"
        "rose/1.jpg;rose;tulip;0,25; Relabel ;a tulip!\r\n"
        "rose/2.jpg;rose;tulip\r\n"
    )
    read = labels.read(written(tmp_path, text))
    assert list(read.columns) == list(labels.COLUMNS)
    assert read["action"].tolist() == ["relabel", ""]
    assert read["score"].iloc[0] == 0.25 and pd.isna(read["score"].iloc[1])


@pytest.mark.parametrize(
    ("text", "received", "remedy"),
    [
        ("", "no column path, label", "flowers audit"),
        ("path,label,score\nrose/1.jpg,rose,0.5\n", "suggested_label, action", "flowers audit"),
        (HEADER + "a.jpg,rose,tulip,0.1,delete\n", "'delete' for a.jpg", "relabel, remove or keep"),
        (HEADER + "a.jpg,rose,,0.1,relabel\n", "without a suggested_label for a.jpg", "class"),
        (HEADER + "a.jpg,rose,tulip,0.1,\n" * 2, "a.jpg in two lines", "one line a photo"),
        (HEADER + "a.jpg,rose,tulip,0.1,keep,yes\n", "more cells than columns in line 2", "out"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path, text, received, remedy):
    error = refusal(labels.read, written(tmp_path, text))
    assert received in error.received and remedy in error.remedy
    assert "labels.csv" in str(error)


def test_files_that_are_no_table_are_refused(tmp_path):
    assert "no such file" in str(refusal(labels.read, tmp_path / "labels.csv"))
    assert "flowers audit" in str(refusal(labels.read, tmp_path))
    latin = tmp_path / "latin.csv"
    latin.write_bytes((HEADER + "rosé/1.jpg,rosé,tulip,0.1,keep\n").encode("latin-1"))
    assert "UTF-8" in refusal(labels.read, latin).remedy


# --- applying ---------------------------------------------------------------------------------


def test_decisions_change_the_catalogue_and_no_file(small_folder, catalogue):
    before = {path: path.stat().st_mtime_ns for path in small_folder.rglob("*")}
    decided = table(
        ("circle/circle_00.jpg", "circle", "square", "relabel"),
        ("circle/circle_01.jpg", "circle", "square", "remove"),
        ("circle/circle_02.jpg", "circle", "square", "keep"),
        ("circle/circle_03.jpg", "circle", "square", ""),
    )
    changed = labels.apply(catalogue, decided, seed=3)
    assert row(changed, "circle/circle_00.jpg")["label"] == "square"
    removed = row(changed, "circle/circle_01.jpg")
    assert (removed["problem"], removed["split"]) == (labels.REMOVED, "")
    others = changed.table["path"].isin(["circle/circle_00.jpg", "circle/circle_01.jpg"])
    columns = ["path", "label", "problem"]
    pd.testing.assert_frame_equal(
        changed.table.loc[~others, columns], catalogue.table.loc[~others, columns]
    )
    assert set(changed.usable["split"]) == {"train", "validation", "test"}
    assert {path: path.stat().st_mtime_ns for path in small_folder.rglob("*")} == before
    assert row(catalogue, "circle/circle_00.jpg")["label"] == "circle"


def test_applying_twice_is_applying_once(catalogue):
    decided = table(
        ("circle/circle_00.jpg", "circle", "square", "relabel"),
        ("square/square_00.jpg", "square", "circle", "remove"),
    )
    once = labels.apply(catalogue, decided)
    pd.testing.assert_frame_equal(labels.apply(once, decided).table, once.table)


def test_no_decision_changes_nothing(catalogue):
    undecided = table(("circle/circle_00.jpg", "circle", "square", ""))
    for nothing in (undecided, undecided.iloc[:0]):
        pd.testing.assert_frame_equal(labels.apply(catalogue, nothing).table, catalogue.table)


def test_a_decision_settles_a_conflict_between_copies(small_folder, tmp_path):
    root = tmp_path / "shapes"
    shutil.copytree(small_folder, root)
    shutil.copy(root / "circle" / "circle_00.jpg", root / "square" / "copy.jpg")
    built = catalogues.build(root, near=None)
    assert len(built.usable) == 35  # both copies are left out: which label is right is not known
    freed = labels.apply(built, table(("square/copy.jpg", "square", "", "remove")))
    assert row(freed, "circle/circle_00.jpg")["problem"] == ""
    assert len(freed.usable) == 36
    agreed = labels.apply(built, table(("square/copy.jpg", "square", "circle", "relabel")))
    assert len(agreed.usable) == 37
    assert agreed.usable.groupby("group")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("line", "received", "remedy"),
    [
        (("circle/gone.jpg", "circle", "square", "keep"), "circle/gone.jpg", "flowers audit"),
        (("circle/circle_00.jpg", "circle", "hexagon", "relabel"), "'hexagon'", "suggested_label"),
        (("circle/circle_00.jpg", "triangle", "square", "keep"), "the folder circle", "audit"),
    ],
)
def test_what_does_not_fit_the_folder_is_refused(catalogue, line, received, remedy):
    error = refusal(labels.apply, catalogue, table(line))
    assert received in error.received and remedy in error.remedy


def test_a_message_names_three_photos_and_counts_the_rest(catalogue):
    lines = [(f"circle/gone_{n}.jpg", "circle", "square", "") for n in range(9)]
    error = refusal(labels.apply, catalogue, table(*lines))
    assert "gone_2.jpg and 6 more" in error.received and "gone_3" not in error.received


# --- auditing again ---------------------------------------------------------------------------


def test_a_new_audit_keeps_what_a_person_decided():
    earlier = table(
        ("rose/1.jpg", "rose", "tulip", "keep"),
        ("rose/2.jpg", "rose", "daisy", "relabel"),
        ("rose/3.jpg", "rose", "tulip", ""),
        ("rose/moved.jpg", "tulip", "rose", "relabel"),
    )
    fresh = table(
        ("rose/4.jpg", "rose", "tulip", ""),
        ("rose/2.jpg", "rose", "tulip", ""),
        ("rose/moved.jpg", "rose", "tulip", ""),
    )
    merged = labels.carry_over(fresh, earlier, known={"rose/1.jpg": "rose", "rose/2.jpg": "rose"})
    assert merged[["path", "suggested_label", "action"]].values.tolist() == [
        ["rose/4.jpg", "tulip", ""],
        ["rose/moved.jpg", "tulip", ""],
        ["rose/1.jpg", "tulip", "keep"],
        ["rose/2.jpg", "daisy", "relabel"],
    ]
    assert not merged["path"].duplicated().any()
