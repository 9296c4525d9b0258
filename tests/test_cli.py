"""The command as people use it: what it prints, its exit codes, what a failure leaves."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowers import config_file, profile
from flowers.config import Config, Phase

TINY = ("--backbone", "miniature", "--size", "32", "--phases", "head,stage", "--epochs", "2")


@pytest.fixture(scope="module")
def trained(small_folder, tmp_path_factory):
    """A folder, with a space and an accent in its name, in which `flowers train` has run."""
    place = tmp_path_factory.mktemp("un été") / "my photos"
    shutil.copytree(small_folder, place / "formes géo")
    command = [Path(sys.executable).with_name("flowers"), "train", "--data", "formes géo", *TINY]
    command.append("--profile")
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    return place, done


def test_help_names_the_commands_and_imports_nothing_heavy(run_flowers):
    done = run_flowers("--help")
    assert done.code == 0
    for name in ("get", "check", "train", "evaluate", "export", "predict"):
        assert name in done.stdout
    code = (
        "import sys; sys.argv = ['flowers', '--help']; from flowers import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'pandas', 'sklearn', 'matplotlib', 'PIL', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stderr.strip() == "[]"


def test_train_ends_with_a_model_a_report_and_a_table(trained):
    place, done = trained
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout and "95 % interval" in done.stdout
    for name in ("flowers.keras", "flowers.json", "flowers/report.html", "flowers.tflite"):
        assert (place / "models" / name).is_file()
    assert "flowers.tflite: `flowers predict` answers with it at once" in done.stderr
    assert not list(place.rglob("*.partial*"))
    assert not list((place / "data" / "cache").glob("run-*.npz"))
    assert "Traceback" not in done.stderr and "oneDNN" not in done.stderr


def test_train_says_where_the_time_went(trained):
    _, done = trained
    table = done.stdout.partition("where the time went\n")[2].splitlines()
    seconds = {row.split()[0]: float(row.split()[1]) for row in table}
    shares = {row.split()[0]: float(row.split()[3].rstrip("%")) for row in table}
    total = seconds.pop("total")
    assert list(seconds) == [name for name, _ in profile.PARTS]
    for part in ("reading", "starting", "features", "steps", "validation", "evaluation"):
        assert seconds[part] > 0 or shares[part] > 0, part
    assert min(seconds.values()) >= 0 and shares.pop("total") == 100
    assert sum(seconds.values()) == pytest.approx(total, abs=0.05 * len(seconds) + 0.05)
    assert sum(shares.values()) == pytest.approx(100, abs=0.05 * len(shares))


def test_a_part_within_another_stops_its_clock():
    moments = iter([0, 1, 3, 6, 10, 10, 15])  # when parts begin and end
    clock = profile.Clock(lambda: next(moments))
    with clock.during("checkpoints"):  # from 1 to 10
        with clock.during("features"):  # from 3 to 6
            pass
        clock.give("steps", 5)
    found = dict(clock.profile().parts)
    assert {name: found[name] for name in ("other", "features", "checkpoints", "steps")} == {
        "other": 6,
        "features": 3,
        "checkpoints": 1,
        "steps": 5,
    }
    assert sum(found.values()) == 15


def test_predict_prints_a_line_or_an_object_a_photo(trained, run_flowers, run_here):
    place, _ = trained
    photo = next((place / "formes géo" / "circle").iterdir())
    done = run_flowers("predict", photo, cwd=place)
    assert done.code == 0 and done.stdout.startswith(f"{photo}: ")
    assert not done.stderr  # by the form that training left: nothing to remark on
    done = run_here("predict", "--json", "formes géo", cwd=place)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 36 and set(rows[0]["scores"]) == {"circle", "square", "triangle"}


def test_predict_by_the_keras_model_says_how_to_answer_at_once(trained, run_here, tmp_path):
    place, _ = trained
    shutil.copytree(place / "models", tmp_path / "models")
    photo = next((place / "formes géo" / "square").iterdir())
    quick = run_here("predict", photo)
    named = run_here("predict", photo, "--model", "models/flowers.keras")
    (tmp_path / "models" / "flowers.tflite").unlink()
    slow = run_here("predict", photo)
    assert {done.code for done in (quick, named, slow)} == {0}
    answers = {done.stdout.split("  (")[0] for done in (quick, named, slow)}
    assert len(answers) == 1 and answers.pop().startswith(f"{photo}: ")
    assert "flowers export --format litert" in slow.stderr
    assert "flowers export" not in named.stderr + quick.stderr


def test_predict_names_what_is_no_photo_and_goes_on(trained, run_here):
    place, _ = trained
    photo = next((place / "formes géo" / "circle").iterdir())
    done = run_here("predict", place / "models" / "flowers.json", photo, cwd=place)
    assert done.code == 2
    assert "flowers.json" in done.stderr and done.stdout.startswith(str(photo))
    done = run_here("predict", "nowhere.jpg", cwd=place)
    assert done.code == 2 and "nowhere.jpg" in done.stderr


def test_evaluate_measures_again(trained, run_here):
    place, first = trained
    done = run_here("evaluate", "--data", "formes géo", cwd=place)
    assert done.code == 0
    assert done.stdout.splitlines()[0] == first.stdout.splitlines()[0]
    assert (place / "models" / "flowers-evaluation" / "report.html").is_file()


def test_check_lists_all_that_is_wrong(small_folder, tmp_path, run_flowers):
    folder = tmp_path / "photos"
    shutil.copytree(small_folder, folder)
    (folder / "empty class").mkdir()
    (folder / "circle" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    shutil.copy(folder / "circle" / "circle_00.jpg", folder / "square" / "same.jpg")
    before = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))
    done = run_flowers("check", folder, "--csv", tmp_path / "catalogue.csv")
    assert done.code == 0, done.stderr
    for words in ("empty class", "broken.jpg", "same.jpg", "circle_00.jpg"):
        assert words in done.stdout
    assert (tmp_path / "catalogue.csv").is_file()
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("classes", "words"),
    [((), "class"), (("circle",), "two class"), (("circle", "nothing"), "class")],
    ids=["no class", "one class", "an empty class"],
)
def test_train_refuses_fewer_than_two_classes(small_folder, tmp_path, run_here, classes, words):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in classes:
        (folder / name).mkdir()
        if (small_folder / name).is_dir():
            shutil.copytree(small_folder / name, folder / name, dirs_exist_ok=True)
    done = run_here("train", "--data", folder, *TINY)
    assert done.code == 2
    assert words in done.stderr and "Received" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("train", "--data", "nowhere"), 2),
        (("train", "--out", "model.h5"), 2),
        (("train", "--data", "{photos}", "--weights", "nowhere.h5", "--size", "32"), 2),
        (("train", "--data", "{photos}", "--weights", "imagenet", "--size", "32"), 3),
        (("train", "--data", "{photos}", "--phases", "tail"), 2),
        (("train", "--data", "{photos}", "--precision", "int3", *TINY), 2),
        (("train", "--data", "{photos}", "--out", "{file}/flowers.keras", *TINY), 3),
        (("train", "--data", "{photos}", "--data-dir", "{file}/cache", *TINY), 3),
        (("evaluate", "nowhere.keras"), 2),
        (("nonsense",), 2),
        (("train", "--epochs", "0"), 2),
    ],
)
def test_refuses_in_words_with_the_right_code(small_folder, tmp_path, run_here, arguments, code):
    (tmp_path / "a file").write_text("where a folder is needed")
    names = {"photos": small_folder, "file": tmp_path / "a file"}
    done = run_here(*(str(argument).format(**names) for argument in arguments))
    assert done.code == code, done.stderr
    assert done.stderr.strip() and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.keras")) and not list(tmp_path.rglob("*.partial*"))


def test_a_stopped_run_goes_on_where_it_stood(small_folder, tmp_path):
    """Whatever stopped it, and however often: the next run takes its checkpoint up."""
    endless = Phase("head", thaw="head", epochs=100_000, rate=1e-4, batch=16, patience=100_000)
    config_file.write(tmp_path / "endless.toml", Config.tiny(phases=(endless,)))
    arguments = ("train", "--data", small_folder, "--config", "endless.toml")
    command = [Path(sys.executable).with_name("flowers"), *map(str, arguments)]
    cache, saved = tmp_path / "data" / "cache", {}
    try:
        for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, None):
            process = subprocess.Popen(
                command,
                cwd=tmp_path,
                stderr=subprocess.PIPE,
                text=True,
                # in the background of a shell, Ctrl-C would be ignored
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            if saved:
                assert any("resuming" in line for line in process.stderr), f"before {stop}"
            if stop is None:
                break
            deadline = time.monotonic() + 100
            while checkpoints(cache) == saved and time.monotonic() < deadline:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            process.send_signal(stop)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == (-9 if stop == signal.SIGKILL else 3)
            if stop != signal.SIGKILL:
                assert "the same command goes on" in errors and "Traceback" not in errors
            saved = checkpoints(cache)
            assert len(saved) == 1
    finally:
        process.kill()
        process.communicate()


def checkpoints(cache: Path) -> dict[str, int]:
    """The runs that are under way, and when each was last saved."""
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("run-*.npz")}
