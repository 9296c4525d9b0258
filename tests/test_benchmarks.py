"""Every benchmark runs, on tiny data, and says what it measured; no time is looked at."""

import ast
import importlib
import json
import math
import sys
from pathlib import Path

import pytest

from scored import write_model

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
TINY = ("--size", "32", "--backbone", "miniature")


@pytest.fixture
def measured(imported, monkeypatch, tmp_path, capsys):
    """Runs a script in this process: `measured("reading", "--rounds", 1)` gives its rows."""

    def run(script: str, *options) -> list[dict]:
        file = tmp_path / "rows.json"
        words = [f"{script}.py", *map(str, options), "--json", str(file)]
        monkeypatch.setattr(sys, "argv", words)
        imported(script).main()
        rows = json.loads(file.read_text())
        table = capsys.readouterr().out
        for row in rows:
            assert f"| {row['what']} |" in table
            for side in row["sides"].values():
                assert side["values"] and all(math.isfinite(value) for value in side["values"])
        return rows

    return run


def names(rows: list[dict]) -> list[tuple[str, ...]]:
    return [(row["what"], *row["sides"]) for row in rows]


# --- what they share -------------------------------------------------------------------------


def test_sides_are_measured_in_turn(imported):
    interleaved, order = imported("interleaved"), []
    sides = {name: lambda name=name: order.append(name) or len(order) for name in "AB"}
    found = interleaved.measure(sides, rounds=3)
    assert "".join(order) == "ABABAB"
    assert found == {"A": (1, 3, 5), "B": (2, 4, 6)}


def test_a_row_compares_medians_with_its_target(imported):
    row = imported("interleaved").Row
    made = row("it", "s", ("ours", "theirs"), (1.0, 9.0, 2.0), (4.0, 4.0, 5.0), ("at most", 0.5))
    assert made.ratio == 0.5 and made.met
    assert made.as_dict()["sides"]["ours"] == {"values": [1, 9, 2], "median": 2, "spread": 4}
    assert not row("it", "/s", ("a", "b"), (2.0,), (1.5,), ("at least", 2.0)).met
    assert row("it", "/s", ("a", "b"), (2.0,), (1.5,)).met is None


def test_a_worker_answers_whatever_else_it_prints(imported):
    code = (
        "import interleaved; print('a library speaks')\n"
        "interleaved.serve(lambda asked: {'twice': 2 * asked['number']}, {'ready': True})"
    )
    environment = {"PYTHONPATH": str(BENCHMARKS)}
    worker = imported("interleaved").Worker([sys.executable, "-c", code], environment)
    assert worker.first == {"ready": True}
    assert [worker.ask({"number": number})["twice"] for number in (3, 4)] == [6, 8]
    worker.close()


def test_every_point_names_a_script_and_only_options_it_has(imported, monkeypatch):
    bench = imported("bench")
    for point in bench.POINTS:
        script = importlib.import_module(point.script.removesuffix(".py"))
        for options in (point.real, point.quick):
            monkeypatch.setattr(sys, "argv", [point.script, *options])
            script._arguments()
    assert {path.name for path in BENCHMARKS.glob("*.py")} >= {p.script for p in bench.POINTS}


# --- the scripts -----------------------------------------------------------------------------


def test_commands_from_nothing(imported, monkeypatch, tmp_path):
    """Through the runner: a script in a process of its own, its rows on the page."""
    bench = imported("bench")
    monkeypatch.setattr(sys, "argv", ["bench.py", "cold", "--quick", "--out", str(tmp_path)])
    bench.main()
    found = json.loads((tmp_path / "RESULTS.json").read_text())["points"]["cold"]
    assert names(found["rows"]) == [
        ("flowers --help, time", "flowers --help", "import tensorflow"),
        ("flowers --help, peak memory", "flowers --help", "import tensorflow"),
    ]
    assert found["quick"] and found["command"] == "python benchmarks/cold.py --rounds 1"
    assert "no figure to quote" in (tmp_path / "RESULTS.md").read_text()


def test_reading(measured, small_folder):
    few = ("--photos", 9, "--large", 1, "--size", 32, "--rounds", 1)
    rows = measured("reading", "--data", small_folder, *few)
    assert names(rows) == [
        ("small photos to 32 px", "here", "Pillow"),
        ("small photos to 32 px", "here, all cores", "tf.data"),
        ("5 Mpx photos to 32 px", "here", "Pillow"),
        ("5 Mpx photos to 32 px", "here, all cores", "tf.data"),
    ]


def test_reading_is_judged_by_a_model_on_its_test_photos(measured, small_folder, tmp_path):
    from flowers.data import catalogue

    model = write_model(tmp_path)
    few = ("--photos", 3, "--large", 1, "--size", 32, "--rounds", 1, "--enlarged", 2)
    known = measured("reading", "--data", small_folder, "--model", model, *few)[-2:]
    assert [row["target"] for row in known] == [None, None]
    assert "may have learned" in known[0]["note"]
    listed = catalogue.build(small_folder)
    listed.save(tmp_path / "flowers" / "catalogue.csv")
    rows = measured("reading", "--data", small_folder, "--model", model, *few)[-2:]
    assert names(rows) == [
        ("accuracy on small photos: difference", "here against Pillow", "allowed"),
        ("accuracy on 5 Mpx photos: difference", "here against Pillow", "allowed"),
    ]
    assert [row["target"] for row in rows] == [["at most", 1.0]] * 2
    assert f"Right of {len(listed.rows('test'))} small photos" in rows[0]["note"]
    assert "Right of 2 5 Mpx photos" in rows[1]["note"]


@pytest.mark.parametrize(("beside", "met"), [(552, True), (551, True), (548, True), (545, False)])
def test_accuracies_may_differ_a_little_either_way(imported, beside, met):
    right = {"here": 550, "Pillow": beside}
    row = imported("reading").apart("small", right, 1000, fresh=True)
    assert row.met is met and "55.00 % read here" in row.note


def test_a_model_that_does_not_open_ends_the_reading_at_once(
    imported, measured, monkeypatch, small_folder, tmp_path
):
    from flowers.errors import InputError

    monkeypatch.setattr(imported("reading"), "_rates", lambda *given: pytest.fail("began"))
    with pytest.raises(InputError):
        measured("reading", "--data", small_folder, "--model", tmp_path / "none.tflite")


def test_growth(imported, monkeypatch, small_folder, tmp_path):
    growth = imported("growth")
    options = ["--counts", "40", "--size", "32", "--work", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["growth.py", "--data", str(small_folder), *options])
    found = growth.grow(40, growth._arguments())
    assert set(found) == set(growth.STEPS)
    assert all(step["seconds"] >= 0 and step["megabytes"] > 0 for step in found.values())
    photos = list((tmp_path / "photos-40").rglob("*.jpg"))
    assert len(photos) == 40 and sum(photo.is_symlink() for photo in photos) == 36
    assert {photo.parent.name for photo in photos} == {"circle", "square", "triangle"}
    assert "| 40 |" in growth.as_text([{40: found}])


def test_painted_photos_stand_in_for_real_ones(imported, monkeypatch, tmp_path):
    sample = imported("sample")
    monkeypatch.setattr(sample, "REAL", tmp_path / "nowhere")
    monkeypatch.setattr(sample, "PAINTED", 5)
    found = sample.paths(None, tmp_path, 10)
    assert len(found) == 10 and len({path.parent.name for path in found[:5]}) == 5
    assert sample.paths(None, tmp_path, 10) == found


def test_predicting(imported, measured, monkeypatch, small_folder):
    predicting = imported("predicting")

    def exported(folder, arguments):  # here and not in a process of its own, which takes longer
        predicting.make(folder, arguments)
        return folder / "flowers.keras"

    monkeypatch.setattr(predicting, "exported", exported)
    asked = ("flowers, int8", "LiteRT")  # the default is always there
    few = ("--photos", 4, "--asked", 2, "--rounds", 2, *TINY)
    rows = measured("predicting", "--data", small_folder, "--engines", *asked, *few)
    assert names(rows) == [
        ("one photo", "flowers predict", "LiteRT"),
        ("one photo", "flowers, int8", "flowers predict"),
        ("a folder", "flowers predict", "LiteRT"),
        ("a folder", "flowers, int8", "flowers predict"),
    ]
    float32, int8 = rows[::2], rows[1::2]
    assert [row["target"][0] for row in float32] == ["at most", "at least"]
    assert all(row["target"] is None and "--model" in row["note"] for row in int8)
    assert all(len(side["values"]) == 2 for row in rows for side in row["sides"].values())


def test_engines_come_in_groups_with_the_default_in_each(imported):
    predicting = imported("predicting")
    groups = predicting.groups(predicting.NAMES)
    assert [len(group) for group in groups] == [5, 5, 5]
    assert {group[0] for group in groups} == {"flowers predict"}
    others = [name for group in groups for name in group[1:]]
    assert sorted(others) == sorted(predicting.NAMES[1:])
    assert predicting.groups(["LiteRT"]) == [["flowers predict", "LiteRT"]]


def test_an_engine_that_dies_is_absent_and_the_others_go_on(imported, monkeypatch, tmp_path):
    predicting = imported("predicting")
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))
    answers = {
        "flowers predict": "{'value': 3.0}",
        "LiteRT": "{'value': 2.0}",
        "OpenVINO": "{'value': 1.0} if asked['what'] == 'one' else sys.exit(3)",
        "ONNX Runtime": "{'error': 'out of memory'}",
    }

    def command(name: str) -> list[str]:
        answer = answers.get(name, "None; sys.exit(4)")
        code = f"import interleaved, sys\ndef answer(asked): return {answer}\n"
        ready = "interleaved.serve(answer, {'ready': True})" if name in answers else "sys.exit(4)"
        return [sys.executable, "-c", code + ready]

    found, absent = predicting.measure([*answers, "Keras predict"], command, rounds=2)
    assert absent == {
        "OpenVINO": "ended with 3",
        "ONNX Runtime": "out of memory",
        "Keras predict": "ended with 4",
    }
    assert found[0]["many"] == {"flowers predict": (3.0, 3.0), "LiteRT": (2.0, 2.0)}
    rows = predicting.rows(found, absent, tmp_path / "flowers.keras")
    assert [row.names for row in rows] == [("flowers predict", "LiteRT")] * 2
    assert "OpenVINO is absent, because: ended with 3." in rows[0].note
    assert "| OpenVINO | absent, because: ended with 3 |" in predicting.as_text(found, absent)
    answers.pop("flowers predict")  # without it nothing can be compared, but all is told
    found, absent = predicting.measure([*answers], command, rounds=1)
    assert predicting.rows(found, absent, tmp_path / "flowers.keras") == []
    assert "| LiteRT |" in predicting.as_text(found, absent)


def test_the_fastest_bare_engine_is_what_the_default_is_held_to(imported, tmp_path):
    predicting = imported("predicting")
    groups = ({"flowers predict": 1.0, "LiteRT": 0.9}, {"flowers predict": 3.0, "OpenVINO": 2.9})
    found = [
        {what: {name: (value,) for name, value in group.items()} for what in ("one", "many")}
        for group in groups
    ]
    rows = predicting.rows(found, {}, tmp_path / "flowers.keras")
    held = [(row.what, row.names[1]) for row in rows if row.target]
    assert held == [("one photo", "LiteRT"), ("a folder", "OpenVINO")]


def test_int8_is_held_to_its_speed_where_its_accuracy_is_known(imported, tmp_path):
    from flowers import files
    from flowers.ship.card import Card

    predicting = imported("predicting")
    values = {"flowers predict": (2.0,), "flowers, int8": (1.0,)}
    found = [{"one": values, "many": values}]
    known = {"flowers.keras": {"accuracy": 0.93}, "flowers.int8.tflite": {"accuracy": 0.926}}
    model = files.write_bytes(tmp_path / "flowers.keras", b"a model")
    Card(("a", "b"), 32, files.sha256(model), "none", files=known).save(model)
    one, many, accuracy = predicting.rows(found, {}, model)
    assert one.target == ("at most", 1 / 1.8) and many.target == ("at least", 1.8)
    assert accuracy.met and not one.note


def test_the_last_stage(measured):
    rows = measured("last_stage", "--steps", 2, "--batch", 4, "--rounds", 1, *TINY)
    assert [row["target"] for row in rows] == [["at least", 2], ["at least", 4]]


def test_scoring(imported, monkeypatch, small_folder, tmp_path, capsys):
    scoring, model = imported("scoring"), write_model(tmp_path)
    few = (
        "--photos 24 --steps 8 24 --painted 2 --sample 8 --shard 4 --workers 1 --kills 1 --pause 0"
    )
    places = ["--model", str(model), "--work", str(tmp_path / "w"), "--out", str(tmp_path / "o")]
    options = [*few.split(), "--engines", "local", "--data", str(small_folder), *places]
    monkeypatch.setattr(sys, "argv", ["scoring.py", *options])
    scoring.main()
    found = json.loads((tmp_path / "o.json").read_text())
    assert [run["photos"] for run in found["runs"]] == [8, 24]
    assert all(run["rate"] > 0 and run["memory_peak_mb"] > 0 for run in found["runs"])
    same = {"rows": 24, "paths": 24, "same": 24, "largest_difference": 0.0, "each_once": True}
    assert found["rows"] == {"local, local killed": same}
    assert [kill["outlived"] for kill in found["kills"]["local"]["kills"]] == [0]
    text = (tmp_path / "o.md").read_text()
    assert "| local | 24 |" in text and "| 100,000,000 photos |" in text
    assert text.strip() in capsys.readouterr().out


@pytest.mark.parametrize("job", ["steps", "phases", "cifar"])
def test_the_gpu_script_is_a_toy_on_a_cpu(job, measured):
    rows = measured("gpu", job, "--toy", "--rounds", 1, "--precision", "float32")
    ours = "ours on tensorflow"
    if job == "steps":
        assert (ours, "Keras' fit, float32, Python data set") in [key[1:] for key in names(rows)]
        assert (ours, "the bound by memory bandwidth") in [key[1:] for key in names(rows)]
        assert all(row["target"] is None for row in rows)
    else:
        what, whole, longest = names(rows)[0]
        assert what == f"{job}, painted photos: from decoded photos to the final model"
        assert whole == "in all" and longest.startswith("of that ")
        assert 0 <= rows[1]["sides"]["here"]["median"] <= 1


def test_real_photos_alone_are_held_to_the_rate_on_noise(imported):
    from argparse import Namespace

    compared = imported("gpu").compared
    found = dict.fromkeys(("ours", "ours, noise", "stock", "torch"), (2.0,))
    targets = {}
    for photos in (None, Path("here/flowers.npz")):
        rows = compared(found, 9.0, True, Namespace(photos=photos, batch=8))
        targets[photos and photos.name] = [row.target and row.target[1] for row in rows]
        assert ("flowers.npz" if photos else "painted") in rows[-1].note
    assert targets == {None: [2.5, 0.9, None, None], "flowers.npz": [2.5, 0.9, None, 0.97]}


def test_the_gpu_script_needs_no_more_than_keras_and_numpy():
    own = {path.stem for path in BENCHMARKS.glob("*.py")}
    needed = set()
    for name in ("gpu", "phases", "on_device", "interleaved"):
        for node in ast.walk(ast.parse((BENCHMARKS / f"{name}.py").read_text("utf-8"))):
            if isinstance(node, ast.Import):
                needed |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                needed.add(node.module)
    needed -= own | set(sys.stdlib_module_names) | {"importlib.util", "collections.abc"}
    ours = {name for name in needed if name.startswith("flowers.")}
    model = {"flowers.model", "flowers.model.folding"}
    assert ours == {"flowers.config", "flowers.train", "flowers.train.device"} | model
    assert needed - ours == {"keras", "numpy", "torch"}  # the last where it is there


def test_the_bound_counts_bytes(imported):
    import keras

    gpu = imported("gpu")
    photo = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(photo)  # 108 parameters
    second = keras.layers.Conv2D(4, 1, use_bias=False)(first)  # 16
    model = keras.Model(photo, keras.layers.Add()([first, second]))
    # the first convolution's input twice, its output three times; the second's both three times;
    # the sum twice
    values = 2 * 192 + 3 * 256 + 3 * 256 + 3 * 256 + 2 * 256
    assert gpu.traffic(model, batch=2) == 2 * values + 36 * 124 / 2


def test_augmentation_on_the_device_moves_photos_and_keeps_their_range(imported):
    import numpy as np

    augment = imported("on_device").Augment
    photos = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3)).astype(np.float32)
    assert np.array_equal(augment(shift=2)(photos), photos)  # outside of training
    moved = np.asarray(augment(shift=2)(photos, training=True))
    grey, found = np.float32(128), 0
    padded = np.pad(photos, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=grey)
    for before, after in zip(padded, moved, strict=True):
        crops = (before[y : y + 8, x : x + 8] for y in range(5) for x in range(5))
        found += any(np.allclose(c, after) or np.allclose(c[:, ::-1], after) for c in crops)
    assert found == 64
    varied = np.asarray(augment(zoom=0.3, light=0.2, always=True)(photos))
    assert varied.min() >= 0 and varied.max() <= 255 and not np.allclose(varied, photos)
