"""What an experiment gives back."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """How often a fault was injected, and each time that what happened was not what must."""

    tries: int = 0
    failures: list[str] = field(default_factory=list)
    figures: str = ""  # what was measured besides, in words

    def expect(self, right: bool, otherwise: str) -> None:
        """Counts a try, and notes it where it failed."""
        self.tries += 1
        if not right:
            self.failures.append(otherwise)
