"""Faults 1 and 5: kills, and failing calls, while something is saved."""

import pytest

from faults import saves
from faults.saver import KINDS


def test_kills_at_random_moments():
    outcome = saves.kills(4 * len(KINDS))
    assert outcome.tries == 8 * len(KINDS)
    assert not outcome.failures, "\n".join(outcome.failures)


@pytest.mark.skipif(not saves.can_trace(), reason="strace is not here, or may not trace")
@pytest.mark.parametrize("name", ["table", "model"])
def test_every_write_fsync_and_rename_may_fail_or_be_the_last(name):
    outcome = saves.kth(0.25 if name == "model" else 1, (name,))
    assert outcome.tries >= 28
    assert not outcome.failures, "\n".join(outcome.failures)
