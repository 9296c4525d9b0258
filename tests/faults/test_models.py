"""Fault 11: hostile model files, each with a card that vouches for it."""

import ast
from pathlib import Path

import pytest

import flowers
from faults import models
from flowers.model import backbone, classifier
from flowers.ship import bundle, contents

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
