"""Fault 11: hostile model files, each with a card that vouches for it."""

import ast
import random
import shutil
from pathlib import Path

import pytest

import flowers
from faults import models
from flowers.errors import InputError
from flowers.model import backbone, classifier
from flowers.ship import bundle, contents, wiring

# Who may open what a runtime trusts, and behind which look at it.
OPENERS = {
    "load_model": {"ship/bundle.py"},
    "load_weights": {"model/backbone.py"},
    "Interpreter": {"ship/runtimes.py", "ship/litert.py"},  # the second: what it has just made
    "InferenceSession": {"ship/runtimes.py"},
    "read_model": {"ship/runtimes.py"},
    "saved_model.load": {"ship/runtimes.py"},
    "h5py.File": {"hdf5.py", "data/signs.py"},
    "Unpickler": {"data/cifar.py"},
}


def test_a_hostile_model_is_refused_for_its_reason(sound):
    outcome = models.hostile(sound=sound)
    assert outcome.tries >= 30
    assert not outcome.failures, "\n".join(outcome.failures)


def test_the_kept_reproducers_are_refused_or_answered(tmp_path):
    opener = models.Opener()
    try:
        for path in sorted(models.REPRODUCERS.glob("fuzz_models-*.bin")):
            assert models.open_again(path.read_bytes(), tmp_path, opener) == "", path.name
    finally:
        opener.close()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("fuzz_models-c22b761b903b.bin", "writes where something else stands"),
        ("fuzz_models-2eeebba7610d.bin", "reads what no earlier one wrote"),
    ],
)
def test_a_miswired_model_never_reaches_its_runtime(tmp_path, path, reason):
    model = shutil.copy(models.REPRODUCERS / path, tmp_path / "flowers.tflite")
    with pytest.raises(InputError, match=reason):
        contents.require_harmless(Path(model))


def test_models_cut_or_changed_anywhere_are_taken_apart_without_harm(sound, tmp_path):
    content, chance = (sound / "flowers.tflite").read_bytes(), random.Random(0)
    path, refused = tmp_path / "flowers.tflite", 0
    wiring.require_sound(sound / "flowers.tflite")
    for number in range(300):
        spoilt = bytearray(content[: chance.randrange(len(content))] if number % 3 else content)
        for _ in range(chance.randint(1, 6)):
            where = chance.randrange(len(spoilt) or 1)
            spoilt[where : where + 4] = chance.choice((b"\xff" * 4, bytes(4), chance.randbytes(4)))
        path.write_bytes(spoilt)
        try:
            wiring.require_sound(path)
        except InputError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize(
    "name", ["miniature", "resnet50", "resnet50-scratch", "resnet20", "plain20"]
)
def test_every_network_of_ours_is_harmless(tmp_path, monkeypatch, name):
    monkeypatch.setattr(backbone.start, "structured", lambda model, seed: None)  # it costs seconds
    size = 64 if name.startswith("resnet50") else 32
    built = classifier.build(3, size=size, backbone=name, head=(8,))
    path = bundle.save(built.model, tmp_path / "flowers.keras")
    contents.require_harmless(path)
    assert backbone.recognise(bundle.read(path)).name


def test_models_are_opened_in_one_place_behind_a_look_at_what_they_hold():
    package, found = Path(flowers.__file__).parent, {}
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call | ast.ClassDef):
                calls = [node.func] if isinstance(node, ast.Call) else node.bases
                for call in map(ast.unparse, calls):
                    for name in OPENERS:
                        if call.split("(")[0].endswith(name) and "." + name in "." + call:
                            place = path.relative_to(package).as_posix()
                            found.setdefault(name, set()).add(place)
    assert found == {name: places for name, places in OPENERS.items() if name in found}
    assert {"load_model", "Interpreter", "InferenceSession", "h5py.File"} <= set(found)
