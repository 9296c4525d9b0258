"""What can go wrong, in one form: what was expected, what came, what to do."""


class FlowersError(Exception):
    """The family's parent: every error this package raises on purpose.

    Args:
        expected: what the code needed, in the user's words, without a full stop.
        received: what it found instead.
        remedy: what the user can do now, as a sentence.
    """

    exit_code = 1

    def __init__(self, expected: str, received: str, remedy: str):
        self.expected, self.received, self.remedy = expected, received, remedy
        super().__init__(f"Expected {expected}. Received: {received}. {remedy}")

    def __reduce__(self):
        # Exception pickles its single message; worker processes need the three parts.
        return type(self), (self.expected, self.received, self.remedy)


class InputError(FlowersError):
    """The user's input cannot be used: exit code 2."""

    exit_code = 2


class WorldError(FlowersError):
    """Disk, network, memory or an interruption stands in the way: exit code 3."""

    exit_code = 3


class PhotoError(InputError):
    """One photo cannot be read. Its `received` is short enough for a table cell."""
