"""The command line that every benchmark has, alone and together with the others."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from measure import Benchmark, Status, measure
from ordermill.http.transport.tuning import allow_connections
from report import Machine, Report, show, write

_ROUNDS = 5
_QUICK_SCALE = 0.02
_MOST_CONNECTIONS = 1_000
_FOLDER = Path(tempfile.gettempdir(), "ordermill-benchmarks")


def run(benchmarks: Sequence[Benchmark]) -> None:
    """Parse the command line, measure, show and write what came of it; exit code 1 where a measurement failed.

    Args:
        benchmarks: those to choose from.
    """
    names = {name for benchmark in benchmarks for name in _names(benchmark)}

    def command(
        rounds: Annotated[
            int | None, typer.Option(min=1, help="How often each side is measured.", show_default=str(_ROUNDS))
        ] = None,
        scale: Annotated[float, typer.Option(min=0.0001, max=1, help="Share of the full sizes and durations.")] = 1,
        quick: Annotated[
            bool, typer.Option("--quick", help=f"One round at a scale of {_QUICK_SCALE}, to see that it works.")
        ] = False,
        only: Annotated[
            list[str] | None, typer.Option(help="A benchmark, or one of its rows; again for more of them.")
        ] = None,
        json: Annotated[Path | None, typer.Option(help="File to write every figure to.")] = None,
        folder: Annotated[
            Path, typer.Option(help="Where databases go. Large tables stay there for the next run.")
        ] = _FOLDER,
    ) -> None:
        """Measure Ordermill against what bounds it, and against what one would write instead."""
        wanted = set(only or names)
        if unknown := wanted - names:
            raise typer.BadParameter(f"no benchmark or row {', '.join(sorted(unknown))}; there are {_listed(names)}")
        folder.mkdir(parents=True, exist_ok=True)
        allow_connections(_MOST_CONNECTIONS)
        report = Report(
            machine=Machine.here(),
            rounds=rounds or (1 if quick else _ROUNDS),
            scale=_QUICK_SCALE if quick else scale,
        )
        _measure_all([benchmark for benchmark in benchmarks if wanted & _names(benchmark)], folder, report, json)
        show(report, Console())
        if any(result.status is Status.FAILED for result in report.results):
            raise typer.Exit(1)

    typer.run(command)


def _measure_all(benchmarks: Sequence[Benchmark], folder: Path, report: Report, json: Path | None) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for benchmark in benchmarks:
            task = progress.add_task(benchmark.name, total=None)

            def tell(what: str, done: int, total: int, name: str = benchmark.name, task: TaskID = task) -> None:
                progress.update(task, description=f"{name}: {what}", completed=done, total=total)

            result = measure(benchmark, folder, report.rounds, report.scale, tell)
            progress.update(task, description=f"{benchmark.name}: {result.status}", completed=1, total=1)
            report.results.append(result)
            if json is not None:
                write(report, json)  # after each: an interrupted run leaves what it has


def _names(benchmark: Benchmark) -> set[str]:
    return {benchmark.name, *(row.name for row in benchmark.rows)}


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
