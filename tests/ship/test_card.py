"""A file and its card become new together, whenever they are looked at."""

from dataclasses import replace

import pytest

from flowers import files
from flowers.errors import InputError
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
