"""Which phases suit the weights and the machine, where the user named none."""

from __future__ import annotations

from dataclasses import replace

from flowers.config import EVERYTHING, HEAD, LAST_STAGE, Config, Phase
from flowers.train.device import Device

# Without pretrained weights a head on random features learns little and pulls the last stage the
# wrong way, so the last stage starts at once and faster.
FROM_RANDOM = replace(LAST_STAGE, epochs=10, rate=1e-3)


def settle(config: Config, *, pretrained: bool, machine: Device) -> Config:
    """`config` with its phases and its precision decided.

    Args:
        config: phases that stand in it are kept.
        pretrained: whether the backbone has seen photos before.
        machine: full fine-tuning is part of the default only on a GPU; on a CPU it takes hours.
    """
    chosen: tuple[Phase, ...]
    if config.phases is not None:
        chosen = config.phases
    elif not pretrained:
        chosen = (FROM_RANDOM,)
    else:
        chosen = (HEAD, LAST_STAGE, EVERYTHING) if machine.gpu else (HEAD, LAST_STAGE)
    return replace(config, phases=chosen, precision=machine.precision)
