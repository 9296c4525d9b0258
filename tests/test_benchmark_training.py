"""Training beside the textbook, and how cost grows: on tiny data, and what the figures come to."""

import sys
from pathlib import Path

import pytest

TINY = ("--size", "32", "--backbone", "miniature")


def test_the_textbook(imported, monkeypatch, small_folder, tmp_path):
    textbook = imported("textbook")
    options = ["--photos", "36", "--epochs", "2", "--weights", "none", "--target", "0", *TINY]
    monkeypatch.setattr(sys, "argv", ["textbook.py", *options])
    arguments = textbook._arguments()
    assert textbook.lay_out(small_folder, 36, tmp_path) == 36
    done = {
        textbook.OURS: [textbook.ours(arguments, tmp_path)],
        textbook.TEXTBOOK: [textbook.guide.train(arguments, tmp_path)],
    }
    assert tuple(done) == textbook.sides(arguments)
    for (run,) in done.values():
        assert run["reached"] and 0 < run["until"] <= run["seconds"]
        assert 0 <= run["test_accuracy"] <= 1
    assert "head 30 epochs at most, 3 views a photo" in done["ours"][0]["how"]  # the default
    assert "2 epochs each at most, float32, photos cached in memory" in done["textbook"][0]["how"]
    until, accuracy = textbook.rows(done, arguments)
    assert until.target == ("at most", 0.2) and "36 photos" in until.what
    assert "did not reach" not in until.note and not until.missed
    assert (accuracy.ours, accuracy.theirs) == tuple(
        (done[name][0]["test_accuracy"],) for name in done
    )


def test_the_textbook_stops_at_a_multiple_of_ours(imported, monkeypatch, small_folder, tmp_path):
    textbook = imported("textbook")
    options = ["--epochs", "50", "--weights", "none", "--target", "2", "--longest", "0", *TINY]
    monkeypatch.setattr(sys, "argv", ["textbook.py", *options])
    arguments = textbook._arguments()
    assert textbook.lay_out(small_folder, 18, tmp_path) == 18
    run = textbook.guide.train(arguments, tmp_path)
    assert run["stopped"] and not run["reached"] and run["until"] == run["seconds"] > 0


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("theirs", [True, False])
def test_a_time_to_accuracy_is_met_only_where_ours_reached_it(ours, theirs, imported, monkeypatch):
    textbook = imported("textbook")
    monkeypatch.setattr(sys, "argv", ["textbook.py", "--target", "0.92"])
    seconds, told = {textbook.OURS: 1.0, textbook.TEXTBOOK: 6.1}, textbook.guide.told
    done = {
        name: [told(seconds[name], [seconds[name]] if reached else [], 0.9, "so", not reached)]
        for name, reached in ((textbook.OURS, ours), (textbook.TEXTBOOK, theirs))
    }
    row, accuracy = textbook.rows(done, textbook._arguments())
    assert row.ratio < 0.2 and row.met is ours and accuracy.met is None
    assert ("flowers did not reach 0.92" in row.note) is not ours
    stopped = "Keras' guide did not reach 0.92 and was stopped at 6 times ours"
    assert (stopped in row.note) is not theirs


def test_the_head_is_compared_in_float32_as_well(imported, monkeypatch):
    textbook = imported("textbook")
    monkeypatch.setattr(sys, "argv", ["textbook.py", "--phases", "head", "--epochs", "5"])
    arguments = textbook._arguments()
    assert textbook.sides(arguments) == textbook.SIDES
    done = {name: [textbook.guide.told(1.0, [], 0.9, name)] for name in textbook.SIDES}
    made = textbook.rows(done, arguments)
    assert [row.target for row in made] == [("at most", pytest.approx(0.25))] * 2 + [None] * 2
    assert [row.names[0] for row in made] == ["flowers", "flowers, float32"] * 2
    assert "flowers, float32: ours-float32. Keras' guide: textbook." in made[1].note
    arguments.only = textbook.FLOAT32
    assert textbook._config(arguments).precision == "float32"
    assert textbook._config(arguments).views == 1


def test_all_photos_are_taken_where_there_are_no_more(imported, small_folder, tmp_path):
    lay_out = imported("textbook").lay_out
    for label, keep in (("circle", 4), ("square", 12), ("triangle", 9)):
        for photo in sorted((small_folder / label).iterdir())[:keep]:
            place = tmp_path / "source" / label / photo.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(photo)
    assert lay_out(tmp_path / "source", 25, tmp_path / "all of them") == 25
    assert lay_out(tmp_path / "source", 24, tmp_path / "eight a class") == 4 + 8 + 8


def test_growth_compares_one_photo_more_among_many_and_few(imported, monkeypatch):
    growth = imported("growth")
    monkeypatch.setattr(sys, "argv", ["growth.py", "--size", "64"])
    arguments = growth._arguments()

    def told(count: int) -> dict:  # 10 s and 100 MB to start with, then 1 ms and 6 kB a photo
        value = {"seconds": 10 + count / 1000, "megabytes": 100 + 6 * count / 1024}
        return dict.fromkeys(growth.STEPS, value)

    rounds = [{count: told(count) for count in (500, 2000, 8000, 32_000)}] * 2
    rounds.append({500: told(500)})  # what failed afterwards is not there
    *made, limit = growth.rows(rounds, arguments)
    times, memory = made[: len(growth.STEPS)], made[len(growth.STEPS) :]
    assert [row.ratio for row in times] == [pytest.approx(1)] * 5
    bounds = [1.3, 4, 1.3, 1.3, 1.3]
    assert [row.target for row in times] == [("at most", pytest.approx(b)) for b in bounds]
    assert [row.ratio for row in memory] == [pytest.approx(0.5)] * 5  # 12 kB at 64 px
    assert all(row.met and len(row.ours) == 2 for row in made)
    assert limit.theirs == (60,) and limit.target == ("at most", 1)
    assert [row.what for row in growth.rows([{500: told(500)}], arguments)] == [limit.what]


def test_a_sample_has_its_share_of_every_class(imported):
    photos = [Path(f"{label}/{number}") for label in "abcde" for number in range(700)]
    found = imported("sample").spread(photos, 2000)
    assert len(set(found)) == 2000
    assert {sum(path.parent.name == label for path in found) for label in "abcde"} == {400}
    assert imported("sample").spread(photos, 5000) == photos
