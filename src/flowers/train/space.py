"""What a search varies: rates, smoothing, dropout, strength of augmentation, phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from flowers.config import HEAD, LAST_STAGE, Config, Phase

STRENGTHS = (0.5, 1.0, 1.5)  # few, so that trials share the features of augmented photos
PHASES = ("head", "head,stage")  # what can be learned from kept features
DECADE = 10.0  # a rate is tried between a tenth and ten times its usual value
FASTEST = 0.9
SMOOTHING, DROPOUT = 0.2, 0.6  # the largest that are tried


class Trial(Protocol):
    """What is needed of optuna's trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number in [low, high]."""

    def suggest_categorical(self, name: str, choices: tuple) -> str | float:
        """One of the choices."""


@dataclass(frozen=True)
class Space:
    """The configurations near `base`.

    base: settled, that is with phases and views.
    fixed_phases: whether the phases of `base` are the only ones that are tried.
    """

    base: Config
    fixed_phases: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """Names of the phases that are tried; one where there is no choice."""
        own = ",".join(phase.thaw for phase in self.base.phases)
        return (own,) if self.fixed_phases or own not in PHASES else PHASES

    def default(self) -> dict[str, str | float]:
        """The parameters that give `base` itself."""
        base = self.base
        found: dict[str, str | float] = {}
        if len(self.choices) > 1:
            found["phases"] = ",".join(phase.thaw for phase in base.phases)
        for number, phase in enumerate(base.phases):
            found[_rate(number, phase)] = phase.rate
        found["label_smoothing"] = base.label_smoothing
        if base.head:
            found["dropout"] = base.dropout
        if self._augments:
            found["augmentation_strength"] = base.augmentation_strength
        return found

    def suggest(self, trial: Trial) -> Config:
        """A configuration to try."""
        base, found = self.base, {}
        names = self.choices[0]
        if len(self.choices) > 1:
            names = found["phases"] = trial.suggest_categorical("phases", self.choices)
        for number, phase in enumerate(self._phases(names)):
            low, high = phase.rate / DECADE, min(phase.rate * DECADE, FASTEST)
            name = _rate(number, phase)
            found[name] = trial.suggest_float(name, low, high, log=True)
        for name, most in (("label_smoothing", SMOOTHING), ("dropout", DROPOUT)):
            if name == "label_smoothing" or base.head:
                highest = max(most, getattr(base, name))
                found[name] = trial.suggest_float(name, 0.0, highest)
        if self._augments:
            strengths = tuple(sorted({*STRENGTHS, base.augmentation_strength}))
            name = "augmentation_strength"
            found[name] = trial.suggest_categorical(name, strengths)
        return self.configuration(found)

    def configuration(self, parameters: Mapping[str, str | float]) -> Config:
        """The configuration that parameters of a trial stand for."""
        phases = self._phases(str(parameters.get("phases", self.choices[0])))
        rated = tuple(
            replace(phase, rate=parameters[_rate(number, phase)])
            for number, phase in enumerate(phases)
        )
        names = ("label_smoothing", "dropout", "augmentation_strength")
        rest = {name: parameters[name] for name in names if name in parameters}
        return replace(self.base, phases=rated, **rest)

    @property
    def strengths(self) -> int:
        """How many strengths of augmentation are tried: so many caches of features."""
        return len({*STRENGTHS, self.base.augmentation_strength}) if self._augments else 1

    @property
    def _augments(self) -> bool:
        whole = any(phase.thaw in ("all", "scratch") for phase in self.base.phases)
        return self.base.augmentation == "photo" and (whole or (self.base.views or 1) > 1)

    def _phases(self, names: str) -> tuple[Phase, ...]:
        if names == ",".join(phase.thaw for phase in self.base.phases):
            return self.base.phases
        usual = {phase.thaw: phase for phase in (HEAD, LAST_STAGE, *self.base.phases)}
        return tuple(usual[name] for name in names.split(","))


def _rate(number: int, phase: Phase) -> str:
    return f"rate_{number + 1}_{phase.thaw}"
