"""flowers.json: what a model file must carry beside it to be used and trusted."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from flowers import files
from flowers.errors import InputError, WorldError
from flowers.judge.sets import PredictionSets

_BEFORE = "before"  # in a card: the one that it is about to replace
_LOOKS = 3  # at a card and its files, where another process replaces them meanwhile


@dataclass(frozen=True)
class Card:
    """Facts about one model file.

    labels: class names in the order of the probabilities.
    size: side of the square photo the model takes, px.
    sha256: of the model file.
    catalogue: key of the photos it was trained on.
    settings: how it was made (seed, weights, phases, versions), ready for JSON.
    metrics: what was measured on its test photos.
    temperature: what the logits were divided by; it is folded into the model's last layer.
    sets: turns the model's probabilities into prediction sets; None where none were fitted.
    threshold: novelty above it counts as none of the classes; None where no score was fitted.
    files: for each exported file, by name, its "sha256" and what was measured of it
        (ship.proof.Row); a file that does not stand here is not opened.
    """

    labels: tuple[str, ...]
    size: int
    sha256: str
    catalogue: str
    settings: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, object] = field(default_factory=dict)
    temperature: float = 1.0
    sets: PredictionSets | None = None
    threshold: float | None = None
    files: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def names(self, probabilities: np.ndarray) -> list[tuple[str, ...]]:
        """The prediction set of each row of float [N, C], likeliest first.

        Where no sets were fitted it is the likeliest name alone.
        """
        if self.sets is None:
            return [(self.labels[index],) for index in probabilities.argmax(axis=1)]
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            tuple(self.labels[index] for index in places if inside[index])
            for places, inside in zip(order, self.sets.sets(probabilities), strict=True)
        ]

    def as_dict(self) -> dict[str, object]:
        """What flowers.json holds."""
        return {"format": 1, **asdict(self)}

    def save(self, model: Path) -> Path:
        """Writes the card beside the model, atomically."""
        return files.write_json(path_of(model), self.as_dict())


def path_of(model: str | Path) -> Path:
    """Where the card of a model file lies: flowers.keras, flowers.int8.tflite -> flowers.json."""
    model = Path(model)
    for ending in (".int8.tflite", ".openvino.xml", ".savedmodel"):
        if model.name.endswith(ending):
            return model.with_name(model.name.removesuffix(ending) + ".json")
    return model.with_suffix(".json")


def fingerprint(model: Path) -> str:
    """The SHA-256 of a model file; of a folder or of a pair of files one over all their hashes."""
    if model.is_dir():
        parts = sorted(path for path in model.rglob("*") if path.is_file())
    elif model.suffix == ".xml":
        parts = [model, model.with_suffix(".bin")]  # OpenVINO keeps its weights in a second file
    else:
        return files.sha256(model)
    digest = hashlib.sha256()
    for part in parts:
        content = files.sha256(part) if part.is_file() else "missing"
        digest.update(f"{part.relative_to(model.parent).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def describes(form: Path) -> bool:
    """Whether an exported file is there, and its card knows one of its name.

    Forms of a model before the present one lie there too. The hash is not compared: `load` does.
    """
    path = path_of(form)
    if not form.exists() or not path.is_file():
        return False
    values = files.read_json(path)
    return isinstance(values, dict) and form.name in (values.get("files") or {})


def load(model: str | Path, *, verify: bool = True) -> Card:
    """Reads the card of a model file and, unless told otherwise, compares the file's hash.

    Raises:
        InputError: there is no model or no card, the card is not one, or the model file is not
            one that the card describes.
    """
    model = Path(model)
    if not model.exists():
        raise InputError(
            f"a model at {model}",
            "no such file",
            "Run `flowers train` first (`flowers export` for other formats), or name another.",
        )
    path = path_of(model)
    if not path.is_file():
        raise InputError(f"the model's card at {path}", "no such file", "Keep both files together.")
    return _fitting(model, path) if verify else _card(files.read_json(path), path)


def _fitting(model: Path, path: Path, looks: int = _LOOKS) -> Card:
    """The card, compared with the file; where both are being replaced, after another look."""
    values = files.read_json(path)
    card = _card(_true(path, values), path)
    try:
        _verify(model, card, path)
    except InputError:
        if looks > 1 and (_moving(values) or files.read_json(path) != values):
            return _fitting(model, path, looks - 1)
        raise
    return card


@contextlib.contextmanager
def replacing(model: Path, card: Card) -> Iterator[None]:
    """In this block a file and its card become new together: a kill leaves the old pair or the new.

    For as long as the block takes, the card beside the model holds the old one as well, so that
    whichever file is there is described. When the block raises, the card of what is there stays.

    Args:
        model: any file that the card describes.
        card: the new one.
    """
    path = path_of(model)
    values, found = card.as_dict(), path.read_bytes() if path.is_file() else None
    with contextlib.suppress(InputError):
        before = _true(path, files.read_json(path))
        _card(before, path)  # what is not a card is not kept
        values[_BEFORE] = before
    try:
        files.write_json(path, values)
        yield
    except BaseException:
        with contextlib.suppress(WorldError, OSError):  # both cards in one are right as well
            _settle(path, values, found)
        raise
    card.save(model)


def _settle(path: Path, values: dict, found: bytes | None) -> None:
    """After a replacement that failed: leaves the card of what is there, byte by byte if it can."""
    card = _true(path, values)
    described = card is not values.get(_BEFORE) and any(_described(path, _card(card, path)))
    if described:
        files.write_json(path, card)
    elif found is None:
        path.unlink(missing_ok=True)
    else:
        files.write_bytes(path, found)


def _moving(values: object) -> bool:
    """Whether the files are being replaced, by a process that is at it or was killed at it."""
    return isinstance(values, dict) and bool(values.get(_BEFORE))


def _true(path: Path, values: object) -> object:
    """Of the two cards of a replacement that was cut short, the one that describes the files."""
    if not _moving(values):
        return values
    after = {key: value for key, value in values.items() if key != _BEFORE}
    return max((after, values[_BEFORE]), key=lambda card: _described(path, _card(card, path)))


def _described(path: Path, card: Card) -> tuple[bool, int]:
    """Whether the model beside a card is the one it describes, and how many of the forms are.

    The model decides: forms of the one before it may still lie there, and outnumber it.
    """
    hashes = {path.with_name(name): row.get("sha256") for name, row in card.files.items()}
    forms = [form.exists() and fingerprint(form) == known for form, known in hashes.items()]
    model = path.with_suffix(".keras")
    return model.exists() and fingerprint(model) == card.sha256, sum(forms)


def _card(values: object, path: Path) -> Card:
    try:
        return Card(
            labels=tuple(str(label) for label in values["labels"]),
            size=int(values["size"]),
            sha256=str(values["sha256"]),
            catalogue=str(values["catalogue"]),
            settings=dict(values["settings"]),
            metrics=dict(values["metrics"]),
            temperature=float(values.get("temperature", 1.0)),
            sets=PredictionSets.from_dict(values["sets"]) if values.get("sets") else None,
            threshold=None if values.get("threshold") is None else float(values["threshold"]),
            files={str(name): dict(row) for name, row in values.get("files", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"a model's card in {path}", f"a file with another form ({error})", "Train again."
        ) from error


def _verify(model: Path, card: Card, path: Path) -> None:
    if model.suffix == ".keras":
        known: object = card.sha256
    elif model.name in card.files:
        known = card.files[model.name].get("sha256")
    else:
        raise InputError(
            f"a model that {path.name} describes",
            f"{model.name}, which it does not know",
            "Run `flowers export`: it writes the file and its hash together.",
        )
    if fingerprint(model) != known:
        raise InputError(
            f"the model that {path.name} describes",
            f"another content of {model}",
            "The file was changed or damaged: train, export or copy it again.",
        )
