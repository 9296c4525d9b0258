"""Fault 22: eight processes in one folder."""

from faults import together


def test_eight_processes_in_one_folder(small_folder):
    outcome = together.rounds(4, small_folder)
    assert outcome.tries == 4
    assert not outcome.failures, "\n".join(outcome.failures)
