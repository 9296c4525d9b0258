"""The results as a table for the screen."""

from __future__ import annotations

from flowers.judge.folds import Folds
from flowers.judge.intervals import Interval
from flowers.judge.report import Report


def as_text(report: Report, folds: Folds | None = None) -> str:
    """The report in lines of at most 80 characters, for a terminal."""
    lines = [
        f"test accuracy  {report.accuracy:.3f}  {_between(report.accuracy_interval)}, "
        f"{report.correct} of {report.photos} photos"
    ]
    if folds:
        lines.append(
            f"{len(folds.accuracies)}-fold mean    {folds.mean:.3f}  {_between(folds.interval)}, "
            f"folds {', '.join(f'{value:.3f}' for value in folds.accuracies)}"
        )
    lines.append(f"macro F1       {report.macro_f1:.3f}  {_between(report.macro_f1_interval)}")
    width = max(5, *(len(score.label) for score in report.classes))
    lines += ["", f"{'class':<{width}}  photos  precision  recall     F1"]
    for score in report.classes:
        lines.append(
            f"{score.label:<{width}}  {score.photos:>6}  {_share(score.precision):>9}  "
            f"{_share(score.recall):>6}  {_share(score.f1):>5}"
        )
    if report.confused:
        lines.append("")
        for pair in report.confused[:3]:
            lines.append(f"{pair.count} x {pair.truth} taken for {pair.predicted}")
    return "\n".join(lines)


def _between(interval: Interval) -> str:
    return f"(95 % interval {interval.low:.3f} to {interval.high:.3f})"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
