"""What is decided for users who decide nothing."""

import pytest

from flowers.config import Config, Phase, phases, usual, usual_phases
from flowers.errors import InputError
from flowers.train import device, optimizer, recipe
from flowers.train.device import Device

CPU, GPU = Device("CPU", False, "float32"), Device("GPU", True, "mixed_bfloat16")


@pytest.mark.parametrize(
    ("pretrained", "machine", "parts", "views"),
    [
        (True, CPU, ["head", "stage"], 4),
        (True, GPU, ["head", "stage", "all"], 4),
        (False, CPU, ["head"], 3),
    ],
)
def test_suits_weights_and_machine(pretrained, machine, parts, views):
    settled = recipe.settle(Config(), pretrained=pretrained, machine=machine)
    assert [phase.thaw for phase in settled.phases] == parts
    assert settled.views == views
    assert settled.precision == machine.precision


@pytest.mark.parametrize(
    ("backbone", "machine", "name"),
    [
        ("resnet50-scratch", CPU, "from scratch"),
        ("resnet50-scratch", GPU, "from scratch"),
        ("resnet20", CPU, "one cycle"),
        ("plain56", CPU, "one cycle"),
        ("resnet110", GPU, "as in the paper"),
    ],
)
def test_networks_from_scratch_have_one_phase(backbone, machine, name):
    settled = recipe.settle(usual("my/photos", backbone), pretrained=False, machine=machine)
    assert [phase.name for phase in settled.phases] == [name]
    assert settled.phases[0].thaw == "scratch" and settled.views == 1 and settled.head == ()


def test_each_set_has_settings_of_its_own():
    signs, cifar, caltech = (usual(name) for name in ("signs", "cifar10", "caltech101"))
    assert (signs.size, signs.backbone, signs.weight_decay) == (64, "resnet50-scratch", 0)
    assert (cifar.size, cifar.backbone, cifar.augmentation) == (32, "resnet20", "crop")
    assert (caltech.size, caltech.backbone) == (224, "resnet50")
    assert usual("caltech101", "resnet50-scratch").shares == caltech.shares
    assert usual("cifar10:some/file.zip") == cifar
    assert usual("my/train_signs.h5") == usual("signs:my") == signs
    assert usual("my/photos") == usual("auto") == Config()
    assert usual("my/photos", "resnet44").size == 32
    assert phases(usual_phases(cifar), 3, 0.05)[0].epochs == 3
    with pytest.raises(InputError, match="head, stage, all, scratch, cycle, paper"):
        phases("heads")
    with pytest.raises(InputError, match="augmentation"):
        Config(augmentation="mixup")
    with pytest.raises(InputError, match="optimizer"):
        Phase("mine", thaw="all", epochs=1, rate=0.01, optimizer="adam")


def test_the_papers_schedule_is_the_papers():
    """64,000 steps of 128 photos at 0.1, divided by 10 after 32,000 and 48,000 (section 4.2)."""
    (paper,) = phases("paper")
    steps = -(-45_000 // paper.batch) * paper.epochs
    assert steps == pytest.approx(64_000, rel=0.002)
    rate = optimizer.schedule(paper, steps)
    rates = [float(rate(step)) for step in (0, 31_900, 32_200, 47_900, 48_200, steps - 1)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_keeps_what_was_asked_for():
    phases = (Phase("mine", thaw="all", epochs=1, rate=0.01),)
    settled = recipe.settle(Config(phases=phases, views=5), pretrained=False, machine=CPU)
    assert settled.phases == phases and settled.views == 5


def test_finds_a_machine_and_takes_the_precision_asked_for():
    assert device.find("float32").precision == "float32"
    assert device.find().precision in device.PRECISIONS
    with pytest.raises(InputError, match="int8"):
        device.find("int8")
