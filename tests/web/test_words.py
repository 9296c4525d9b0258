"""Answers in plain words, as the page shows and the API sends them."""

from dataclasses import replace

import pytest

from flowers.judge.sets import PredictionSets
from flowers.ship.card import Card
from flowers.ship.predictor import Prediction
from flowers.web import words

FLOWERS = ("daisy", "dandelion", "rose", "sunflower", "tulip")
ROSE = Prediction("rose", 0.97, {"rose": 0.97, "tulip": 0.03}, ("rose",))
CARD = Card(FLOWERS, 224, "", "", sets=PredictionSets(0.95, 0.9, 0.0, 1))


@pytest.mark.parametrize(
    ("changes", "labels", "sentence"),
    [
        ({}, FLOWERS, "A rose, 97 %"),
        ({"probability": 0.9999}, FLOWERS, "A rose, over 99 %"),
        ({"names": ("rose", "tulip")}, FLOWERS, "Rose or tulip"),
        ({"names": ("rose", "tulip", "daisy")}, FLOWERS, "Rose, tulip or daisy"),
        ({"names": FLOWERS}, FLOWERS, "This could be any of the five flowers"),
        ({"known": False}, FLOWERS, "This does not look like one of the five flowers"),
        ({"known": False}, FLOWERS[:3], "This does not look like one of the three flowers"),
        ({"known": False}, ("a", "b"), "This does not look like one of the two classes"),
        ({"known": False}, tuple("abcdefghijkl"), "This does not look like one of the 12 classes"),
        ({"label": "ice_cream", "known": True}, ("ice_cream", "b"), "Ice cream, 97 %"),
    ],
)
def test_the_answer_is_a_sentence(changes, labels, sentence):
    assert words.sentence(replace(ROSE, **changes), labels) == sentence


def test_the_explanation_says_how_to_take_it():
    assert words.explanation(ROSE, CARD) == ""
    two = replace(ROSE, names=("rose", "tulip"))
    assert "holds the right name 95 % of the time" in words.explanation(two, CARD)
    assert "time" not in words.explanation(two, replace(CARD, sets=None))
    assert "nearest would be a rose" in words.explanation(replace(ROSE, known=False), CARD)
    assert "guess" in words.explanation(replace(ROSE, probability=0.4), CARD)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "under 1 %"), (0.004, "under 1 %"), (0.006, "1 %"), (0.5, "50 %"), (1.0, "over 99 %")],
)
def test_nothing_is_quite_certain(share, text):
    assert words.percent(share) == text


def test_accuracy_is_said_with_its_interval_or_not_at_all():
    measured = {"photos": 551, "accuracy": 0.927, "accuracy_interval": {"low": 0.9, "high": 0.946}}
    assert words.accuracy(measured) == (
        "Right on 92.7 % of 551 photos it had not seen (95 % interval 90.0 to 94.6 %)."
    )
    assert words.accuracy({"accuracy": 0.927}) == words.accuracy({}) == ""
