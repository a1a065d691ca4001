"""What came of a run, on which machine: as a table for people, and as JSON with every figure."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Self

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from measure import Comparison, Result, Rule, Status

_PACKAGES = ("ordermill", "Pykka", "CherryPy", "uvloop", "peewee", "msgspec", "fastapi", "uvicorn", "aiosqlite")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run took place, and what ran there."""

    system: str
    processor: str
    processors: int
    memory_gibibytes: float
    python: str
    sqlite: str
    wrk: str
    packages: dict[str, str]
    """Versions; a package that is not installed is not here."""

    @classmethod
    def here(cls) -> Self:
        """This machine."""
        return cls(
            system=platform.platform(),
            processor=_processor(),
            processors=os.cpu_count() or 0,
            memory_gibibytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            sqlite=sqlite3.sqlite_version,
            wrk=_wrk(),
            packages=_versions(),
        )


class Report(msgspec.Struct, kw_only=True):
    """A run."""

    machine: Machine
    rounds: int
    scale: float
    began_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    results: list[Result] = []


def write(report: Report, path: Path) -> None:
    """Write every figure as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def show(report: Report, console: Console) -> None:
    """Print a table with a line for each row, and what the rows are."""
    table = Table(
        Column("Row", no_wrap=True),
        "Figure",
        Column("Ours", justify="right"),
        Column("Theirs", justify="right"),
        Column("Ratio", justify="right"),
        Column("Bar", justify="right"),
        "Met",
        Column("CPU s\n/1,000", justify="right"),
    )
    for result in report.results:
        for comparison in result.comparisons:
            table.add_row(
                comparison.row,
                comparison.figure.replace("_", " "),
                _amount(comparison.ours),
                _amount(comparison.theirs),
                f"{comparison.value:+.3f}" if comparison.rule is Rule.MORE_AT_MOST else f"{comparison.value:.3f}",
                _bar(comparison),
                "[green]yes[/]" if comparison.is_met else "[red]no[/]",
                _cpu(result),
            )
        if result.status is not Status.MEASURED:
            table.add_row(", ".join(result.rows), str(result.status), style="yellow")
    console.print(table)
    for result in report.results:
        against = f"[dim]against[/] {result.against}" if result.status is Status.MEASURED else escape(result.detail)
        console.print(f"[bold]{', '.join(result.rows)}[/]: {result.work}; {against}", highlight=False)
    machine = report.machine
    commits = [result.disk_commits_per_second for result in report.results if result.status is Status.MEASURED]
    console.print(
        f"Medians of {report.rounds} rounds at scale {report.scale:g}, on {machine.processors} processors, "
        f"{machine.processor}, {machine.python}, SQLite {machine.sqlite}."
        + (
            f" CPU seconds of ours, then theirs. The disk syncs {median(commits):,.0f} single pages a second."
            if commits
            else ""
        ),
        highlight=False,
    )


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _bar(comparison: Comparison) -> str:
    sign = "≥" if comparison.rule is Rule.AT_LEAST else "≤"
    return f"{sign} {comparison.bar:+g}" if comparison.rule is Rule.MORE_AT_MOST else f"{sign} {comparison.bar:g}"


def _cpu(result: Result) -> str:
    sides = (
        [figures["cpu_seconds_per_1000"] for figures in side if "cpu_seconds_per_1000" in figures]
        for side in (result.ours, result.theirs)
    )
    return "\n".join(f"{median(side):.3f}" for side in sides if side)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _wrk() -> str:
    try:
        # It prints its version, and ends with an error since it was given nothing to do.
        text = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
    return text.splitlines()[0] if text else ""
