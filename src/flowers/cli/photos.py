"""flowers get | check: where photos come from, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import click

from flowers.cli import options
from flowers.cli.options import say
from flowers.config import DEFAULT, usual


@click.command()
@click.argument("source", default="auto")
@options.downloads
@click.option("--seed", default=DEFAULT.seed, show_default=True, help="Of painted photos.")
def get(source: str, data: Path, seed: int) -> None:
    """Get photos: SOURCE is what `flowers train --data` takes."""
    from flowers.data import sources

    found = sources.get(source, data, seed=seed)
    say(found.reason)
    click.echo(found.folder)


@click.command()
@click.argument("source", default="auto")
@options.downloads
@click.option("--csv", type=click.Path(path_type=Path), help="Write the catalogue here.")
@click.option("--seed", default=DEFAULT.seed, show_default=True, help="Of the split.")
def check(source: str, data: Path, csv: Path | None, seed: int) -> None:
    """List all that is wrong with a set of photos, in one pass."""
    from flowers.data import catalogue, findings, sources

    found = sources.get(source, data, seed=seed)
    say(found.reason)
    listed = catalogue.of(found, seed=seed, shares=usual(source).shares)
    click.echo(findings.as_text(findings.findings(listed)))
    if csv:
        click.echo(f"catalogue: {listed.save(csv)}")
    catalogue.require_trainable(listed)
