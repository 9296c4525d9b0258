"""Faults 8 and 9: odd images through the command line; what once broke the reader."""

from faults import pictures
from flowers.data import photos
from flowers.errors import PhotoError


def test_the_zoo_through_the_command_line(sound):
    outcome = pictures.by_command(sound / "flowers.tflite")
    assert outcome.tries > 200
    assert not outcome.failures, "\n".join(outcome.failures)


def test_the_kept_reproducers_and_new_ones_are_read_or_refused(tmp_path):
    for path in sorted(pictures.REPRODUCERS.glob("*.bin")):
        try:
            assert photos.read(path, 32).shape == (32, 32, 3)
        except PhotoError as error:
            assert error.received
    outcome = pictures.spoil(3, seed=7, keep=tmp_path)
    assert outcome.tries > 0 and not outcome.failures, "\n".join(outcome.failures)
