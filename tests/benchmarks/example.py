"""Benchmarks of nothing, as a program: one that works, one that meets an error, one that cannot be measured."""

from __future__ import annotations

from functools import partial

from command import run
from measure import Benchmark, Conditions, Figures, MeasurementFailed, Row, Rule


def note(conditions: Conditions, who: str, per_second: float) -> Figures:
    """Write down who is measured, and how many files are in the folder."""
    with (conditions.folder.parent / "notes.txt").open("a") as notes:
        notes.write(f"{who} {len(list(conditions.folder.iterdir()))}\n")
    return {"per_second": per_second}


def fail(_: Conditions) -> Figures:
    """Meet an error."""
    raise MeasurementFailed("wrk met errors")


def _benchmark(name: str, row: str) -> partial[Benchmark]:
    theirs = partial(note, who="theirs", per_second=20.0)
    rows = (Row(row, "per_second", Rule.AT_LEAST, 1.5),)
    return partial(Benchmark, name=name, theirs=theirs, rows=rows, work="notes", against="other notes")


_OURS = partial(note, who="ours", per_second=30.0)

if __name__ == "__main__":
    run(
        (
            _benchmark("works", "1")(ours=_OURS),
            _benchmark("fails", "2")(ours=fail),
            _benchmark("lacks", "3")(ours=_OURS, missing=lambda: "no such option"),
        )
    )
