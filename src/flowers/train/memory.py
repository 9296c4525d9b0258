"""What to do when a batch does not fit into the memory of the GPU: a smaller one."""

from __future__ import annotations

from dataclasses import replace

from flowers.config import Phase
from flowers.errors import WorldError

# How the backends say it: TensorFlow and JAX with a status, PyTorch with a class of its own.
_CLASSES = {"ResourceExhaustedError", "OutOfMemoryError", "MemoryError"}
_WORDS = ("RESOURCE_EXHAUSTED", "ran out of memory", "out of memory", "OOM when allocating")


def exhausted(error: BaseException) -> bool:
    """Whether an error of a backend means that memory ran out."""
    named = type(error).__name__ in _CLASSES
    return named or any(words in str(error) for words in _WORDS)


def smaller(phase: Phase) -> Phase:
    """The phase with half the photos a step.

    Raises:
        WorldError: it has one photo a step already.
    """
    if phase.batch == 1:
        raise WorldError(
            f"memory for one photo a step in phase {phase.name!r}",
            "not even that",
            "End other programs on the GPU, use a smaller --size, or train on the CPU: set the "
            "variable CUDA_VISIBLE_DEVICES to -1.",
        )
    return replace(phase, batch=phase.batch // 2)
