"""Measuring: what is compared with what, round after round, and which ratio is enough."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

import disk
import tables
from tables import Table

Figures = dict[str, float]
"""What one measurement gives, by names that end with the unit."""


class MeasurementFailed(Exception):
    """A figure cannot be had, or would be worth nothing: an error under load, an order that was lost."""


class Conditions(NamedTuple):
    """Where and how large a measurement is."""

    folder: Path
    """Fresh and empty; removed afterwards."""
    tables: Path
    """Where large tables are kept from run to run."""
    scale: float
    """The share of the full size."""

    def count(self, full: int) -> int:
        """So many orders as are left of `full` at this scale."""
        return max(1, round(full * self.scale))

    def seconds(self, full: int) -> int:
        """So many whole seconds as are left of `full` at this scale, one at the least."""
        return max(1, round(full * self.scale))

    def table(self, table: Table) -> Path:
        """The file of a large table, which is there."""
        return table.scaled(self.scale).path(self.tables)


class Rule(StrEnum):
    """How the two medians are compared."""

    AT_LEAST = "at least"
    """Ours divided by theirs."""
    AT_MOST = "at most"
    """Likewise."""
    MORE_AT_MOST = "more at most"
    """Ours minus theirs."""


class Row(NamedTuple):
    """A figure that has to reach a bar."""

    name: str
    figure: str
    rule: Rule
    bar: float

    def compare(self, ours: float, theirs: float) -> float:
        """What is held against the bar."""
        return ours - theirs if self.rule is Rule.MORE_AT_MOST else ours / theirs

    def is_met(self, value: float) -> bool:
        """Whether this is enough."""
        return value >= self.bar if self.rule is Rule.AT_LEAST else value <= self.bar


@dataclass(frozen=True)
class Benchmark:
    """Two measurements, taken in turn, and the rows that compare them."""

    name: str
    ours: Callable[[Conditions], Figures]
    """A function of a module: it runs in a process of its own, where nothing is left of an earlier measurement."""
    theirs: Callable[[Conditions], Figures]
    rows: tuple[Row, ...]
    work: str
    """What ours does, in words for people."""
    against: str
    """What it is compared with."""
    tables: tuple[Table, ...] = ()
    """Large tables that are there before the first round."""
    missing: Callable[[], str] = str
    """Says why it cannot be measured here; an empty string where it can."""


class Status(StrEnum):
    """What came of a benchmark."""

    MEASURED = "measured"
    FAILED = "failed"
    NOT_AVAILABLE = "not available"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A row's figures."""

    row: str
    figure: str
    ours: float
    """The median of all rounds."""
    theirs: float
    """Likewise."""
    rule: Rule
    value: float
    """Of the medians: their ratio, or their difference where the rule is `more at most`."""
    bar: float
    is_met: bool


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark's figures."""

    name: str
    work: str
    against: str
    rows: tuple[str, ...]
    status: Status
    detail: str = ""
    """Why there are no figures."""
    disk_commits_per_second: float = 0.0
    """What the disk allowed just before: pages of 4 KiB appended and synced one by one."""
    ours: list[Figures] = []
    """Every round's."""
    theirs: list[Figures] = []
    comparisons: list[Comparison] = []


Report = Callable[[str, int, int], None]
"""Is told what is being done, how many steps of it are done, and of how many."""


def measure(benchmark: Benchmark, folder: Path, rounds: int, scale: float, report: Report) -> Result:
    """Measure ours, theirs, ours, theirs, ….

    Args:
        benchmark: what to measure.
        folder: where databases go, each in a temporary folder; large tables stay there.
        rounds: how often each is measured.
        scale: the share of the full size.
        report: is told how it gets on.
    """
    rows = tuple(row.name for row in benchmark.rows)
    result = partial(Result, name=benchmark.name, work=benchmark.work, against=benchmark.against, rows=rows)
    if missing := benchmark.missing():
        return result(status=Status.NOT_AVAILABLE, detail=missing)
    kept = folder / "tables"
    try:
        for table in benchmark.tables:
            tables.make(table.scaled(scale), kept, lambda done, total: report("making a table", done, total))
        commits = disk.commits_per_second(folder)
        ours: list[Figures] = []
        theirs: list[Figures] = []
        for number in range(rounds):
            for name, function, figures in (("ours", benchmark.ours, ours), ("theirs", benchmark.theirs, theirs)):
                report(f"round {number + 1}, {name}", 2 * number + (name == "theirs"), 2 * rounds)
                with _fresh(folder) as fresh:
                    figures.append(_apart(function, Conditions(fresh, kept, scale)))
    except Exception as error:  # the other benchmarks go on, and the run ends with exit code 1
        return result(status=Status.FAILED, detail=f"{type(error).__name__}: {error}")
    return result(
        status=Status.MEASURED,
        disk_commits_per_second=commits,
        ours=ours,
        theirs=theirs,
        comparisons=[_compare(row, ours, theirs) for row in benchmark.rows],
    )


def _compare(row: Row, ours: Sequence[Figures], theirs: Sequence[Figures]) -> Comparison:
    our_median, their_median = (median(figures[row.figure] for figures in both) for both in (ours, theirs))
    value = row.compare(our_median, their_median)
    return Comparison(
        row=row.name,
        figure=row.figure,
        ours=our_median,
        theirs=their_median,
        rule=row.rule,
        value=value,
        bar=row.bar,
        is_met=row.is_met(value),
    )


def _apart(function: Callable[[Conditions], Figures], conditions: Conditions) -> Figures:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, conditions).result()


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="measurement-") as fresh:
        yield Path(fresh)
