"""What is decided for users who decide nothing."""

import pytest

from flowers.config import Config, Phase
from flowers.errors import InputError
from flowers.train import device, recipe
from flowers.train.device import Device

CPU, GPU = Device("CPU", False, "float32"), Device("GPU", True, "mixed_bfloat16")


@pytest.mark.parametrize(
    ("pretrained", "machine", "parts", "views"),
    [
        (True, CPU, ["head", "stage"], 2),
        (True, GPU, ["head", "stage", "all"], 2),
        (False, CPU, ["head"], 3),
    ],
)
def test_suits_weights_and_machine(pretrained, machine, parts, views):
    settled = recipe.settle(Config(), pretrained=pretrained, machine=machine)
    assert [phase.thaw for phase in settled.phases] == parts
    assert settled.views == views
    assert settled.precision == machine.precision


def test_keeps_what_was_asked_for():
    phases = (Phase("mine", thaw="all", epochs=1, rate=0.01),)
    settled = recipe.settle(Config(phases=phases, views=5), pretrained=False, machine=CPU)
    assert settled.phases == phases and settled.views == 5


def test_finds_a_machine_and_takes_the_precision_asked_for():
    assert device.find("float32").precision == "float32"
    assert device.find().precision in device.PRECISIONS
    with pytest.raises(InputError, match="int8"):
        device.find("int8")
