"""What `scoring.py` measured, as tables, and what follows for far more photos."""

from __future__ import annotations

import statistics

TARGETS = {"local": 0.9, "ray": 0.75}  # of the predictor's rate
ENGINES = tuple(TARGETS)
MANY = 100_000_000  # photos of the extrapolation
WORKERS = (1, 16, 128, 1024)
BIG_SHARD = 10_000  # photos of a shard there
BUCKET = 0.06  # seconds from asking a bucket to a photo's last byte


def as_text(result: dict) -> str:
    """The result as Markdown."""
    lines = [
        "| engine | photos | seconds | images a second | memory, all processes | main process |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["runs"]:
        lines.append(
            f"| {row['engine']} | {row['photos']:,} | {row['seconds']:,} | {row['rate']} | "
            f"{row['memory_mb']:,} MB (peak {row['memory_peak_mb']:,}) | {row['main_mb']:,} MB |"
        )
    lines += ["", "| engine | images a second | of the predictor | of the network | target |"]
    lines.append("|---|---|---|---|---|")
    for place, engine in enumerate(result["kills"]):
        row = [row for row in result["runs"] if row["engine"] == engine][-1]
        beside = result["alone"][2 * place : 2 * place + 2]
        base = {name: statistics.mean(each[name] for each in beside) for name in beside[0]}
        shares = " | ".join(
            f"{row['rate'] / base[name]:.3f} (of {base[name]:.1f})"
            for name in ("predictor", "network")
        )
        lines.append(f"| {engine} | {row['rate']} | {shares} | at least {TARGETS[engine]} |")
    lines += ["", "| rows of | rows | same path | same answer | largest difference | each once |"]
    lines.append("|---|---|---|---|---|---|")
    for name, rows in result["rows"].items():
        lines.append(
            f"| {name} | {rows['rows']:,} | {rows['paths']:,} | {rows['same']:,} | "
            f"{rows['largest_difference']:.1e} | {'yes' if rows['each_once'] else 'no'} |"
        )
    for engine, found in result["kills"].items():
        kills = "; ".join(
            f"after {kill['after_s']} s with {kill['shards']} shards" for kill in found["kills"]
        )
        outlived = sum(kill["outlived"] for kill in found["kills"])
        lines += [
            "",
            f"{engine} killed {len(found['kills'])} times ({kills}); {outlived} processes outlived "
            f"it, {len(found['left_over'])} temporary files are left.",
        ]
    return "\n".join([*lines, "", *extrapolated(result)]) + "\n"


def extrapolated(result: dict) -> list[str]:
    """What 100 million photos would take with each engine."""
    each = {row["engine"]: row["rate"] / result["workers"] for row in result["runs"]}
    lines = [
        f"| {MANY:,} photos | " + " | ".join(f"{workers:,} workers" for workers in WORKERS) + " |",
        "|---|" + "---|" * len(WORKERS),
    ]
    for engine, rate in each.items():
        hours = (MANY / rate / workers / 3600 for workers in WORKERS)
        lines.append(f"| hours, {engine} | " + " | ".join(f"{n:,.1f}" for n in hours) + " |")
    read, written = MANY * result["bytes_a_photo"] / 1e12, MANY * result["bytes_a_row"] / 1e9
    fastest = max(each.values())
    rates = ", ".join(f"{rate:.1f} ({engine})" for engine, rate in each.items())
    return [
        *lines,
        "",
        f"They read {read:,.1f} TB ({result['bytes_a_photo']:,} bytes a photo) and write "
        f"{written:,.0f} GB ({result['bytes_a_row']} bytes a row) in {MANY // BIG_SHARD:,} shards "
        f"(`--shard {BIG_SHARD}`). Assumed: a worker is a core like these, doing as many images "
        f"a second whatever their number, {rates}; the photos come as fast as they are scored, "
        f"{result['bytes_a_photo'] * fastest / 1e6:.1f} MB a second a worker; from a bucket that "
        f"takes {1000 * BUCKET:.0f} ms a photo, at least {max(1, -(-BUCKET * fastest // 1)):.0f} "
        "are fetched at once by each worker.",
    ]
