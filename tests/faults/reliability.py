"""docs/reliability.md: what must hold, what was injected how often, what failed."""

from __future__ import annotations

from collections.abc import Mapping

from faults.table import FAULTS

_HEAD = """# Reliability

What the software meets in the world is injected on purpose, and counted. `make test` runs a fast
version of each of the 22 faults below (`tests/faults/`); `make faults` runs the full numbers and
writes this page. Zero failures in 300 random tries bound the rate of failure at 1 % (95 %).

Every command ends with 0, 2 (the input) or 3 (disk, network, memory), and a message of one form:
what was expected, what came, what to do.
"""


def page(kept: Mapping[str, Mapping], known: Mapping) -> str:
    """The page.

    Args:
        kept: experiment -> its row, as `make faults` keeps it.
        known: experiment -> its `faults.__main__.Experiment`.
    """
    lines = [_HEAD, "## What was injected", ""]
    lines += ["| experiment | size | tries | failures | figures | date | command |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name in known:
        if row := kept.get(name):
            cells = (
                row["what"] + (f" (at {row['share']:.0%} of its size)" if row["share"] < 1 else ""),
                row["size"],
                f"{row['tries']:,}",
                f"**{row['failures']:,}**",
                f"{row['figures'] or '-'}; {row['seconds']:,.0f} s",
                row["date"],
                f"`{row['command']}`",
            )
            lines.append(f"| {' | '.join(cells)} |")
    if machines := sorted({row["machine"].partition(", load")[0] for row in kept.values()}):
        loads = [float(row["machine"].rsplit("load ", 1)[1].split()[0]) for row in kept.values()]
        lines += ["", f"Machine: {'; '.join(machines)}. Other jobs were running as well (load"]
        lines[-1] += f" {min(loads):.1f} to {max(loads):.1f} before), so times are upper bounds."
    missing = [name for name in known if name not in kept]
    if missing:
        lines += ["", "**Not run yet:** " + ", ".join(f"`{name}`" for name in missing) + "."]
    small = [name for name in known if kept.get(name, {"share": 1})["share"] < 1]
    if small:
        lines += ["", "**Run in small only:** " + ", ".join(f"`{name}`" for name in small) + "."]
    lines += ["", "## The 22 faults", ""]
    lines += ["| # | fault | what must follow | tests | experiments |", "|---|---|---|---|---|"]
    for fault in FAULTS:
        tests = ", ".join(sorted({test.partition("::")[0] for test in fault.tests}))
        named = ", ".join(fault.experiments) or "-"
        lines.append(f"| {fault.number} | {fault.what} | {fault.must} | {tests} | {named} |")
    return "\n".join([*lines, "", _LIMITS])


_LIMITS = """## What is not claimed

- atheris and schemathesis come with `make tools`, and no package of atheris is for anything but
  Linux on x86-64 (3.0 of November 2025 is the last for Python 3.11). Where they are missing,
  hypothesis and chance spoil the bytes and make the requests; the figures say which it was.
- atheris watches Python: ours, Pillow's and h5py's, and what opens archives. Decoders and runtimes
  in C run with what it finds, unwatched.
- The limit of 20 GB an archive is tried in small (4 MB), like all limits in `make test`.
- An OpenVINO model is two files. A kill between their two renames leaves a pair that no card
  describes: it is refused, and `flowers export` makes it again.
- A SavedModel is a folder, which cannot be swapped in one step: it goes aside for a moment, and
  after a kill in that moment the next write brings it back.
- With 400 connections open the page takes no other before one of them is answered or cut, 20 s at
  the most.
- What `flowers tune` has tried, and the list of photos of `flowers predict --out`, are files of
  SQLite, which itself keeps them whole.
- kagglehub downloads the Kaggle set itself, in a process that is stopped when it stalls.
"""
