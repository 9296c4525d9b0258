"""`flowers audit`: photos in, labels.csv and a gallery of the labels that look wrong out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flowers import files, pipeline
from flowers.config import DEFAULT, HEAD, LAST_STAGE, Config
from flowers.data import catalogue as catalogues
from flowers.data import labels as label_files
from flowers.data import photos
from flowers.judge import audit as audits
from flowers.judge import audit_page
from flowers.judge.audit import Audit, Planted


@dataclass(frozen=True)
class Audited:
    """What an audit leaves: the table to edit, the page to look through, the numbers."""

    table: Path
    gallery: Path
    audit: Audit
    planted: Planted | None


def run(
    source: str = "auto",
    config: Config = DEFAULT,
    *,
    data: Path = Path("data"),
    out: Path = Path("labels.csv"),
    plant: bool = False,
    say: Callable[[str], None] = print,
) -> Audited:
    """Finds the labels that look wrong, and keeps what a person has decided before.

    Args:
        source: see `data.sources.get`.
        config: weights, size and backbone of the network that looks at the photos.
        data: folder for downloads and caches; the features are those that training keeps.
        out: the CSV to write; a gallery of the same name, .html, goes beside it.
        plant: also flips 5 % of the labels and counts how many of them are found.
        say: receives a line for every step.

    Raises:
        InputError: the photos cannot be used, or an existing labels.csv cannot be read.
    """
    earlier = label_files.read(out) if out.exists() else None
    prepared = pipeline.prepare(source, config, data=data, say=say)
    catalogue = prepared.catalogue
    # one view of each photo up to the last stage: the features that training begins with
    looking = replace(config, views=1, phases=(HEAD, LAST_STAGE))
    everyone = np.arange(len(prepared.pixels))
    inputs, _ = pipeline.open_network(prepared, looking, everyone, data=data, say=say)
    paths = catalogue.usable["path"].tolist()
    folds = catalogues.folds(catalogue, audits.FOLDS, seed=config.seed)
    features, labels = inputs.at_cut(), catalogue.label_ids
    found = audits.find_issues(features, labels, folds, catalogue.labels, paths)
    planted = audits.plant(features, labels, folds, seed=config.seed) if plant else None
    table = found.as_table()
    if earlier is not None:
        known = dict(zip(catalogue.table["path"], catalogue.table["label"], strict=True))
        table = label_files.carry_over(table, earlier, known)
    label_files.save(out, table)
    gallery = out.with_suffix(".html")
    html = audit_page.page(found, lambda path: photos.read(catalogue.root / path), planted)
    files.write_text(gallery, html)
    return Audited(out, gallery, found, planted)
