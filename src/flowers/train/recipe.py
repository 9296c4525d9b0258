"""Which phases and how many views suit the weights and the machine, where the user named none."""

from __future__ import annotations

from dataclasses import replace

from flowers.config import (
    EVERYTHING,
    HEAD,
    LAST_STAGE,
    VIEWS,
    VIEWS_FROM_RANDOM,
    Config,
    Phase,
    phases,
    usual_phases,
)
from flowers.train.device import Device


def settle(config: Config, *, pretrained: bool, machine: Device) -> Config:
    """`config` with its phases, views and precision decided.

    Args:
        config: phases and views that stand in it are kept.
        pretrained: whether the backbone has seen photos before.
        machine: full fine-tuning is part of the default only on a GPU; on a CPU it takes hours.
    """
    chosen: tuple[Phase, ...]
    if config.phases is not None:
        chosen = config.phases
    elif (names := usual_phases(config)) != "head,stage":
        chosen = phases("paper" if names == "cycle" and machine.gpu else names)
    elif not pretrained:
        chosen = (HEAD,)
    else:
        chosen = (HEAD, LAST_STAGE, EVERYTHING) if machine.gpu else (HEAD, LAST_STAGE)
    views = config.views or (VIEWS if pretrained else VIEWS_FROM_RANDOM)
    return replace(config, phases=chosen, views=views, precision=machine.precision)
