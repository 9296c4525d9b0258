"""A configuration as a TOML file: every key is checked before anything starts."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

from flowers import files
from flowers.config import Config
from flowers.errors import InputError

# From where to where a number may lie, both ends included; beyond what config.py itself refuses.
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 32_767),  # it is the upper 15 bits of what seeds an augmentation
    "size": (1, 4096),
    "head": (1, 65_536),
    "dropout": (0, 0.99),
    "views": (1, 1000),
    "augmentation_strength": (0, 3),  # beyond 3.3 a crop would be smaller than nothing
    "label_smoothing": (0, 0.99),
    "weight_decay": (0, 0.99),
    "epochs": (1, 1_000_000),
    "batch": (1, 1_000_000),
    "warmup": (0, 1),
    "patience": (1, 1_000_000),
    "train": (0.01, 0.99),
    "validation": (0.01, 0.99),
    "per_class": (1, 1_000_000_000),
}
IN_WORDS = {int: "a whole number", float: "a number", str: "text in quotes"}


def read(path: Path) -> dict[str, object]:
    """What a configuration file says: fields of `Config` and their values, for `replace`.

    A key that is left out keeps the usual value. Phases are tables `[[phases]]`, the shares of the
    splits a table `[shares]`.

    Raises:
        InputError: no such file, no TOML, an unknown key, a wrong type, or a value out of range.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        missing = isinstance(error, FileNotFoundError)
        received = "no such file" if missing else str(error)
        raise InputError(
            f"a configuration in TOML at {path}",
            received,
            "Name a file that `flowers tune` wrote, or one of the same form.",
        ) from error
    values = _fields(Config, given, "", path)
    shares = values.get("shares")
    if shares is not None and shares.test < 0:
        raise InputError(
            f"shares in {path} of together at most 1; what they leave is the test",
            f"{shares.train:g} for training and {shares.validation:g} for validation",
            "Lower one of the two.",
        )
    return values


def as_text(config: Config, comment: str = "") -> str:
    """A configuration as TOML that `read` reads; what is None is left out.

    Args:
        config: the configuration.
        comment: lines that are put before it.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    tables = []
    for name, value in _values(config):
        if is_dataclass(value):
            tables += ["", f"[{name}]", *_lines(value)]
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            for part in value:
                tables += ["", f"[[{name}]]", *_lines(part)]
        else:
            lines.append(f"{name} = {_literal(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def write(path: Path, config: Config, comment: str = "") -> Path:
    """Writes `as_text` atomically and returns the path."""
    return files.write_text(path, as_text(config, comment))


def _fields(form: type, given: dict[str, object], where: str, path: Path) -> dict[str, object]:
    """The values of a table, by the fields of the dataclass `form`."""
    hints = typing.get_type_hints(form)
    for key in given:
        if key not in hints:
            close = difflib.get_close_matches(key, hints, 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise InputError(
                f"in {path}{where} only the keys {', '.join(hints)}",
                f"{key!r}{meant}",
                "Correct or remove it.",
            )
    needed = [f.name for f in fields(form) if f.default is f.default_factory is MISSING]
    missing = [name for name in needed if name not in given]
    if missing:
        expected = f"{', '.join(missing)} in {path}{where}"
        raise InputError(expected, "nothing of that", "Add it.")
    return {key: _value(hints[key], key, value, where, path) for key, value in given.items()}


def _value(hint: object, key: str, value: object, where: str, path: Path) -> object:
    """A value as the type `hint`, or an error that says what was expected."""
    if isinstance(hint, types.UnionType):  # `T | None`: TOML has no None, the key is left out
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        _require(isinstance(value, list), "a list in brackets", key, value, where, path)
        part = typing.get_args(hint)[0]
        if is_dataclass(part):
            _require(bool(value), f"at least one table [[{key}]]", key, value, where, path)
            places = [f"{where}, {key} {number}" for number in range(1, len(value) + 1)]
        else:
            places = [where] * len(value)
        pairs = zip(value, places, strict=True)
        return tuple(_value(part, key, one, place, path) for one, place in pairs)
    if is_dataclass(hint):
        _require(isinstance(value, dict), f"a table {key}", key, value, where, path)
        values = _fields(hint, value, where or f", {key}", path)
        try:
            return hint(**values)
        except InputError as error:
            expected = f"{error.expected} in {path}{where}"
            raise InputError(expected, error.received, error.remedy) from None
    allowed = (int, float) if hint is float else (hint,)
    fits = isinstance(value, allowed) and not isinstance(value, bool)
    _require(fits, IN_WORDS[hint], key, value, where, path)
    if hint is not str:
        low, high = RANGES.get(key, (-math.inf, math.inf))
        inside = math.isfinite(value) and low <= value <= high
        limits = f"{IN_WORDS[hint]} from {low:g} to {high:g}"
        limits = limits if key in RANGES else f"{IN_WORDS[hint]} that is finite"
        _require(inside, limits, key, value, where, path)
    return float(value) if hint is float else value


def _require(fits: bool, expected: str, key: str, value: object, where: str, path: Path) -> None:
    if not fits:
        received = json.dumps(value, default=str, ensure_ascii=False)
        raise InputError(f"{expected} for {key} in {path}{where}", received, "Correct it.")


def _values(table: object) -> list[tuple[str, object]]:
    pairs = [(field.name, getattr(table, field.name)) for field in fields(table)]
    return [(name, value) for name, value in pairs if value is not None]


def _lines(table: object) -> list[str]:
    return [f"{name} = {_literal(value)}" for name, value in _values(table)]


def _literal(value: object) -> str:
    """A text, number or list of numbers as TOML writes it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(value)
