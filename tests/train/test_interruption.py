"""A signal is not lost, wherever Python was when it came."""

import os
import signal

import pytest

from flowers.train.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_swallowed_interruption_is_raised_again(number):
    before = signal.signal(number, signal.default_int_handler)
    try:
        interruption = Interruption()
        with interruption:
            interruption.check()
            try:
                os.kill(os.getpid(), number)
                signal.pause()
            except KeyboardInterrupt:
                pass  # as a callback of TensorFlow does
            with pytest.raises(KeyboardInterrupt):
                interruption.check()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_a_handler_of_somebody_else_is_left_alone():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGTERM)
            interruption.check()
        assert seen == [1]
    finally:
        signal.signal(signal.SIGTERM, before)
