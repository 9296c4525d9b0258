"""Test-time augmentation on the report's page: what several views gain, and what they cost."""

from __future__ import annotations

from flowers.judge.augmented import Gain
from flowers.judge.page import between, percent
from flowers.judge.parts import Section, Table, Words


def section(gain: Gain) -> Section:
    """The section of the page, from what was measured."""
    lead = (
        f"The model can be shown each photo {gain.views} times, mirrored and cropped a little, and "
        "its answers averaged (test-time augmentation, `--tta`). It costs as many times the work."
    )
    more = 100 * (gain.averaged_accuracy - gain.accuracy)
    table = Table(
        ("", "One look", f"{gain.views} looks"),
        (
            (
                "Right",
                (percent(gain.accuracy), between(gain.accuracy_interval)),
                (percent(gain.averaged_accuracy), between(gain.averaged_interval)),
            ),
            ("Time", "1", f"{gain.cost:.1f} times as long"),
        ),
    )
    words = Words(
        (
            f"{more:+.1f} points on {len(gain.truth):,} test photos: {gain.repaired:,} answers "
            f"were put right and {gain.spoiled:,} spoiled.",
        )
    )
    return Section("views", "Does looking twice help?", lead, (words, table))
