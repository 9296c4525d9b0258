"""MODEL_CARD.md: what a model is for, how it was measured, and where it fails, from its card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flowers.files import amount
from flowers.ship.card import Card

# How Mitchell et al., "Model cards for model reporting", FAT* 2019, divide such a text.


def text(card: Card, model: Path) -> str:
    """The model card in Markdown.

    Args:
        card: of the model; whatever was not measured is said to be so.
        model: the .keras file, for the names in it.
    """
    sections = [_head(card, model), _use(card), _data(card), _figures(card), _failures(card)]
    sections += [_files(card), _made(card)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(card: Card, model: Path) -> str:
    labels = ", ".join(card.labels)
    return (
        f"# Model card: {model.stem}\n\n"
        f"An image classifier of {len(card.labels)} classes: {labels}. It takes one photo, "
        f"squeezed to {card.size} x {card.size} pixels, and gives a calibrated probability of "
        f"each class{', a prediction set' if card.sets else ''}"
        f"{', a verdict whether the photo shows any of them' if card.threshold else ''} and a heat "
        "map of what in the photo speaks for the answer."
    )


def _use(card: Card) -> str:
    unknown = (
        "A photo of something else gets the verdict “none of these” as often as is said below; "
        "never rely on it where a wrong answer does harm."
        if card.threshold
        else "It has no way to say that a photo shows none of its classes: it always names one."
    )
    return (
        "## What it is for\n\n"
        f"Naming what is on photos that show one of {', '.join(card.labels)}, taken as those it "
        f"learned from: in people's hands, by day, the subject large. {unknown}\n\n"
        "It is not for deciding what is edible, poisonous or protected, nor for photos through a "
        "microscope, drawings, or several subjects at once."
    )


def _data(card: Card) -> str:
    settings, photos = card.settings, card.metrics.get("photos")
    split = settings.get("split")
    lines = ["## How it was measured\n"]
    if isinstance(split, Mapping):
        counts = ", ".join(f"{count:,} {name}" for name, count in split.items())
        lines.append(
            f"- Photos: {counts}. Look-alikes were kept on one side of the split, and each figure "
            "below is of test photos that nothing was learned from or chosen by."
        )
    for name in ("photos", "weights", "backbone", "command"):
        if settings.get(name):
            lines.append(f"- {name.capitalize()}: `{settings[name]}`")
    if photos:
        lines.append(
            f"- Intervals hold at 95 %; of accuracy it is Wilson's, over {photos:,} photos."
        )
    return "\n".join(lines)


def _figures(card: Card) -> str:
    metrics, trust = card.metrics, _part(card.metrics, "trust")
    rows = [("accuracy", metrics.get("accuracy"), metrics.get("accuracy_interval"))]
    rows.append(("truth among the two likeliest", metrics.get("top2_accuracy"), None))
    rows.append(("macro F1", metrics.get("macro_f1"), metrics.get("macro_f1_interval")))
    after = _part(_part(trust, "calibration"), "after")
    rows.append(("expected calibration error", after.get("ece"), after.get("ece_interval")))
    sets = _part(trust, "sets")
    rows.append(("prediction sets that hold the truth", sets.get("coverage"), None))
    rows.append(("names in a set, mean", sets.get("mean_size"), None))
    lines = [_row(name, value, interval) for name, value, interval in rows if value is not None]
    if not lines:
        return ""
    table = ["| measured on test photos | value | 95 % interval |", "|---|---|---|", *lines]
    return "\n".join(["## How good it is\n", *table])


def _failures(card: Card) -> str:
    metrics = card.metrics
    lines = ["## Where it fails\n"]
    scores = [score for score in metrics.get("classes", ()) if score.get("recall") is not None]
    if scores:
        weakest = min(scores, key=lambda score: score["recall"])
        lines.append(
            f"- Weakest class: of {weakest['photos']} photos of {weakest['label']} it finds "
            f"{weakest['recall']:.1%}."
        )
    for pair in list(metrics.get("confused", ()))[:3]:
        lines.append(
            f"- {pair['count']} photos of {pair['truth']} were called {pair['predicted']}."
        )
    refusal = _part(_part(metrics, "trust"), "refusal")
    if refusal.get("kept") is not None:
        lines.append(
            f"- It refuses {1 - refusal['kept']:.1%} of the photos that do show one of its classes."
        )
    if refusal.get("accepted") is not None:
        lines.append(
            f"- It takes {refusal['accepted']:.1%} of {refusal['others']:,} photos of other things "
            "for one of its classes."
        )
    elif card.threshold is not None:
        lines.append("- How many photos of other things it refuses was not measured.")
    lines.append("- Blurred, dark, tilted or noisy photos lower the accuracy; see report.html.")
    lines.append(
        "- The photos come from the places and seasons where people took them. For other "
        "varieties, cameras or climates measure again: `flowers evaluate --data DIR`."
    )
    return "\n".join(lines)


def _files(card: Card) -> str:
    if not card.files:
        return ""
    lines = [
        "## Files\n",
        "Every file answered so many test photos by its own runtime, beside the Keras model.\n",
        "| file | photos | same top answer | largest difference | accuracy | size | one photo "
        "| SHA-256 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in card.files.items():
        lines.append(
            f"| {name} | {row['photos']:,} | {row['agreement']:.2%} | {row['difference']:.1e} "
            f"| {row['accuracy']:.4f} | {amount(row['bytes'])} | {1000 * row['latency']:.1f} ms "
            f"| `{row['sha256'][:16]}` |"
        )
        if row.get("plain") is not None:
            lines.append(
                f"| as if the CPU had no VNNI | | | {row['plain_difference']:.1e} "
                f"| {row['plain']:.4f} | | | |"
            )
    return "\n".join(lines)


def _made(card: Card) -> str:
    versions = _part(card.settings, "versions")
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return "\n".join(
        [
            "## Made with\n",
            f"- {named or 'versions that were not written down'}",
            f"- Temperature {card.temperature:.3f}, folded into the last layer.",
            f"- Key of the photos: `{card.catalogue}`; SHA-256 of the model: `{card.sha256}`",
        ]
    )


def _row(name: str, value: float, interval: object) -> str:
    bounds = ""
    if isinstance(interval, Mapping) and {"low", "high"} <= set(interval):
        bounds = f"{interval['low']:.3f} to {interval['high']:.3f}"
    return f"| {name} | {value:.3f} | {bounds} |"


def _part(values: Mapping, name: str) -> Mapping:
    """A nested mapping, empty where it is not there."""
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}
