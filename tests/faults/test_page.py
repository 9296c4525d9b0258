"""Fault 17: odd requests to every route."""

from faults import page


def test_odd_requests_to_every_route(sound):
    outcome = page.odd_requests(sound / "flowers.tflite", seconds=60, seed=3, most=250)
    assert outcome.tries >= 100
    assert not outcome.failures, "\n".join(outcome.failures)
