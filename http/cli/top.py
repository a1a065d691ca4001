"""The overview of a running server in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer
from msgspec import Meta
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from ...store.domain.text import in_own_lines
from .console import DEFAULT_URL, CaOption, KeyOption, UrlOption, out
from .options import option
from .remote import Server, ServerRefused

app = typer.Typer()

_NOTHING = "-"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


@app.command("top")
def top_command(
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    ca: CaOption = None,
    every: Annotated[
        float, option("--every", Annotated[float, Meta(ge=0.2, le=3_600)], "Seconds from one look to the next.")
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Show it once; so it is where the output is no terminal.")
    ] = False,
) -> None:
    """Show how a running server is doing, until Ctrl-C: whether all is well, counts, rates, times, processors."""
    server = Server(url, key, ca)
    if once or not out.is_terminal:
        out.print(_look(server))
        return
    with suppress(KeyboardInterrupt), Live(_look(server), console=out, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            live.update(_look_again(server), refresh=True)


def _look(server: Server) -> RenderableType:
    return overview(server.url, server.readiness(), server.get("metrics"))


def _look_again(server: Server) -> RenderableType:
    try:
        return _look(server)
    except ServerRefused as error:  # it may be back in a moment
        return Text(in_own_lines(str(error)), style="bold red")


def overview(url: str, health: Mapping[str, Any], metrics: Mapping[str, Any]) -> RenderableType:
    """What there is to see.

    Args:
        url: the address of the server.
        health: as `/readyz` tells it.
        metrics: as `/metrics` tells them.
    """
    at_work = f"{metrics['processors_busy']} of {metrics['processors']} processors at work"
    facts = f"{url}, up for {_span(metrics['uptime_seconds'])}, {at_work}"
    return Group(
        _state(health), Text(facts, style="dim"), "", _orders(metrics), "", _rates(metrics), "", _times(metrics)
    )


def _state(health: Mapping[str, Any]) -> Text:
    reasons, warnings = health["reasons"], list(health.get("warnings", ()))
    if incidents := health.get("incidents"):
        warnings.append(f"unexpected errors, which the log tells of: {sum(incidents.values())}")
    if reasons:
        return _headline("Orders are not taken", (*reasons, *warnings), "bold red")
    if warnings:
        return _headline("Orders are taken, but", warnings, "bold yellow")
    return Text("All is well", style="bold green")


def _headline(what: str, why: Iterable[str], style: str) -> Text:
    return Text(f"{what}: {in_own_lines('; '.join(why))}", style=style)


def _orders(metrics: Mapping[str, Any]) -> Table:
    table = _table("Orders", "number", "oldest")
    ages = metrics["oldest_seconds"] or {}
    for status, count in metrics["orders_by_status"].items():
        table.add_row(status, f"{count:,}", _span(ages.get(status)))
    return table


def _rates(metrics: Mapping[str, Any]) -> Table:
    table = _table("A second", "accepted", "completed", "failed")
    for title, name in (("last minute", "last_minute"), ("last 15 minutes", "last_15_minutes")):
        rates = metrics["rates"][name]
        table.add_row(title, *(f"{rates[what]:,.1f}" for what in ("accepted", "completed", "failed")))
    return table


def _times(metrics: Mapping[str, Any]) -> Table:
    table = _table("Last 10 minutes", "p50", "p95", "p99")
    timings = metrics["timings"]
    measured = [(name.replace("_", " "), timings[name]) for name in ("queueing", "processing", "end_to_end")]
    for title, timing in (*measured, ("a transaction", metrics["commits"])):
        quantiles = timing["last_10_minutes"]
        table.add_row(title, *(_span(quantiles[name]) for name in ("p50", "p95", "p99")))
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(
        Column(title, min_width=16), *(Column(name, justify="right", min_width=10) for name in columns), box=None
    )


def _span(seconds: float | None) -> str:
    if seconds is None:
        return _NOTHING
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1_000:.1f} ms"
