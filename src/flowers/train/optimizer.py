"""How a phase takes its steps: the optimizer and its learning rate."""

from __future__ import annotations

import keras

from flowers.config import Phase

MOMENTUM = 0.9  # of stochastic gradient descent, He et al.'s


def optimizer(phase: Phase, steps: int, weight_decay: float) -> keras.optimizers.Optimizer:
    """The phase's optimizer under its schedule; kernels decay, biases and BatchNorm do not.

    Keras decays weights beside the gradient, by rate * weight_decay a step. An L2 term in the
    loss, as the paper has it, goes through the momentum and so takes off 1 / (1 - momentum) times
    as much; dividing by that makes the two alike, and keeps the loss free of the term.
    """
    rate = schedule(phase, steps * phase.epochs)
    if phase.optimizer == "sgd":
        decay = weight_decay / (1 - MOMENTUM)
        built = keras.optimizers.SGD(rate, momentum=MOMENTUM, weight_decay=decay or None)
        unharmed = ["bias", "gamma", "beta"]
    else:
        built = keras.optimizers.AdamW(rate, weight_decay=weight_decay)
        unharmed = ["bias"]
    built.exclude_from_weight_decay(var_names=unharmed)
    return built


def schedule(phase: Phase, total: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The rate of each of `total` steps: a linear warm-up, then a cosine to zero, or steps."""
    if phase.schedule == "steps":
        return keras.optimizers.schedules.PiecewiseConstantDecay(
            [total // 2, total * 3 // 4], [phase.rate, phase.rate / 10, phase.rate / 100]
        )
    warmup = max(1, round(total * phase.warmup))
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(1, total - warmup), warmup_target=phase.rate, warmup_steps=warmup
    )
