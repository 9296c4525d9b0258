"""Caltech-101: photos of 101 kinds of things, 31 to 800 of each (Li et al. 2003, CC BY 4.0)."""

from __future__ import annotations

import shutil
from pathlib import Path

from flowers.data import archives, published
from flowers.data.folders import class_root, sizes
from flowers.data.published import Published
from flowers.errors import InputError

# Without BACKGROUND_Google, photos of nothing in particular, which are no class.
CLASSES = (
    *("Faces", "Faces_easy", "Leopards", "Motorbikes", "accordion", "airplanes", "anchor", "ant"),
    *("barrel", "bass", "beaver", "binocular", "bonsai", "brain", "brontosaurus", "buddha"),
    *("butterfly", "camera", "cannon", "car_side", "ceiling_fan", "cellphone", "chair"),
    *("chandelier", "cougar_body", "cougar_face", "crab", "crayfish", "crocodile"),
    *("crocodile_head", "cup", "dalmatian", "dollar_bill", "dolphin", "dragonfly"),
    *("electric_guitar", "elephant", "emu", "euphonium", "ewer", "ferry", "flamingo"),
    *("flamingo_head", "garfield", "gerenuk", "gramophone", "grand_piano", "hawksbill"),
    *("headphone", "hedgehog", "helicopter", "ibis", "inline_skate", "joshua_tree", "kangaroo"),
    *("ketch", "lamp", "laptop", "llama", "lobster", "lotus", "mandolin", "mayfly", "menorah"),
    *("metronome", "minaret", "nautilus", "octopus", "okapi", "pagoda", "panda", "pigeon", "pizza"),
    *("platypus", "pyramid", "revolver", "rhino", "rooster", "saxophone", "schooner", "scissors"),
    *("scorpion", "sea_horse", "snoopy", "soccer_ball", "stapler", "starfish", "stegosaurus"),
    *("stop_sign", "strawberry", "sunflower", "tick", "trilobite", "umbrella", "watch"),
    *("water_lilly", "wheelchair", "wild_cat", "windsor_chair", "wrench", "yin_yang"),
)
LEAST = 31  # photos of the smallest class: 30 to train on by convention, and one to test
PUBLISHED = Published(
    "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
    size_limit=300_000_000,
    md5="3138e1922a9193bfa496528edbbc45d0",
)


def arrange(archive: Path, temporary: Path) -> None:
    """Keeps the 101 class folders; the publisher's zip has them in a tar.gz within."""
    unpacked = archives.unpack(archive, temporary / "unpacked")
    nested = [path for path in unpacked.rglob("101_ObjectCategories*") if path.is_file()]
    inner = [path for path in nested if "__MACOSX" not in path.parts]
    photos = archives.unpack(inner[0], temporary / "inner") if inner else unpacked
    root = class_root(photos, archive)
    require(root, archive)
    for name in CLASSES:
        (root / name).rename(temporary / name)
    for path in (unpacked, temporary / "inner"):
        shutil.rmtree(path, ignore_errors=True)


def take(path: Path, folder: Path) -> Path:
    """The root of Caltech-101 as a user has it: 101_ObjectCategories, a folder around it, or an
    archive.

    Raises:
        InputError: it is none of these, or a class is missing.
    """
    return class_root(path if path.is_dir() else published.unpack(path, folder, arrange), path)


def require(root: Path, shown: Path | None = None) -> None:
    """Refuses a set that lacks a class, or has too few photos of one."""
    found = sizes(root)
    expected = f"the {len(CLASSES)} classes of Caltech-101, {LEAST} photos each, in {shown or root}"
    remedy = "Get the whole set, or leave the name `caltech101` out: any classes will do."
    missing = [name for name in CLASSES if name not in found]
    if missing:
        named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
        raise InputError(expected, f"no photos of {named}", remedy)
    few = [f"{found[name]} of {name}" for name in CLASSES if found[name] < LEAST]
    if few:
        raise InputError(expected, ", ".join(few[:5]), remedy)
