"""A file and its card become new together, whenever they are looked at."""

import errno
import os
from dataclasses import replace

import pytest

from flowers import files
from flowers.errors import InputError, WorldError
from flowers.ship import card as cards
from flowers.ship.card import Card


@pytest.fixture
def pair(tmp_path):
    """(path of a model file, card of its old content, of its new one)."""
    model = files.write_bytes(tmp_path / "flowers.keras", b"old")
    old = Card(("a", "b"), 32, files.sha256(model), "old")
    old.save(model)
    new = replace(old, catalogue="new", sha256=files.sha256(files.write_bytes(model, b"new")))
    files.write_bytes(model, b"old")
    return model, old, new


def test_whichever_file_is_there_is_described(pair):
    model, old, new = pair
    with cards.replacing(model, new):
        assert cards.load(model) == old
        files.write_bytes(model, b"new")
        assert cards.load(model) == new
        files.write_bytes(model, b"neither")
        with pytest.raises(InputError, match="changed or damaged"):
            cards.load(model)
        files.write_bytes(model, b"new")
    assert files.read_json(cards.path_of(model)) == files.read_json(new.save(model))


@pytest.mark.parametrize("published", [False, True])
def test_an_error_leaves_the_card_of_what_is_there(pair, published):
    model, old, new = pair
    before = cards.path_of(model).read_bytes()
    with pytest.raises(KeyError), cards.replacing(model, new):
        if published:
            files.write_bytes(model, b"new")
        raise KeyError
    assert cards.load(model) == (new if published else old)
    assert published or cards.path_of(model).read_bytes() == before


def test_a_disk_that_fails_under_the_card_leaves_it_as_it_was(pair, monkeypatch):
    """The second fsync is that of the folder, when both cards have the name already."""
    model, _, new = pair
    before, calls, flush = cards.path_of(model).read_bytes(), [], os.fsync

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(WorldError), cards.replacing(model, new):
        raise AssertionError("the card could not be written")
    assert cards.path_of(model).read_bytes() == before


@pytest.mark.parametrize("published", [False, True])
def test_after_a_kill_the_next_replacement_starts_from_what_is_there(pair, published):
    model, old, new = pair
    block = cards.replacing(model, new)
    block.__enter__()  # and it never comes to its end
    if published:
        files.write_bytes(model, b"new")
    with cards.replacing(model, replace(new, catalogue="newest", sha256="0" * 64)):
        assert cards.load(model) == (new if published else old)
    del block


@pytest.mark.parametrize("forms", [1, 3])
def test_forms_of_the_model_before_are_not_the_new_ones(pair, forms):
    """After a kill between a new model and its card the old forms must not answer for it."""
    model, old, new = pair
    names = ("flowers.tflite", "flowers.onnx", "flowers.int8.tflite")[:forms]
    lite, *_ = (files.write_bytes(model.with_name(name), b"of the old") for name in names)
    rows = {name: {"sha256": files.sha256(lite)} for name in names}
    replace(old, files=rows).save(model)
    block = cards.replacing(model, new)
    block.__enter__()  # and it never comes to its end
    assert cards.load(lite).catalogue == old.catalogue
    files.write_bytes(model, b"new")
    assert cards.load(model) == new
    with pytest.raises(InputError, match="does not know"):
        cards.load(lite)
    with cards.replacing(model, replace(new, catalogue="newest", sha256="0" * 64)):
        assert cards.load(model) == new
    del block


def test_what_is_not_a_card_is_replaced_as_if_it_were_not_there(pair):
    model, _, new = pair
    for text in ("[]", '{"files": null}', '{"format": 1, "before": []}'):
        cards.path_of(model).write_text(text)
        with cards.replacing(model, new):
            files.write_bytes(model, b"new")
            assert cards.load(model) == new
        assert cards.load(model) == new


def test_exports_keep_their_rows_while_another_is_replaced(pair):
    model, old, _ = pair
    lite = files.write_bytes(model.with_name("flowers.tflite"), b"lite")
    row = {"flowers.tflite": {"sha256": files.sha256(lite)}}
    known = replace(old, files=row)
    known.save(model)
    other = {**row, "flowers.onnx": {"sha256": "1" * 64}}
    with cards.replacing(model, replace(known, files=other)):
        assert cards.load(lite) and cards.load(model)
    assert set(cards.load(lite).files) == {"flowers.tflite", "flowers.onnx"}
