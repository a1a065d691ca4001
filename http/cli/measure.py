"""Commands that count: the metrics, and a load to measure by."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Meta
from rich.table import Table

from ...engine import InvalidConfiguration
from ...store import queries
from ...store.domain.metrics import OrderMetrics
from .console import (
    DEFAULT_DATABASE,
    DEFAULT_URL,
    AskedUrlOption,
    CaOption,
    DatabaseOption,
    JsonOption,
    KeyOption,
    UrlOption,
    err,
    out,
    print_json,
)
from .database import open_reader
from .options import option
from .order_fields import (
    CompleteByOption,
    MetadataOption,
    NotBeforeOption,
    PriorityOption,
    QueueOption,
    SerialKeyOption,
    checked_body,
    fields_given,
)
from .remote import Server

app = typer.Typer()


@app.command("metrics")
def metrics_command(
    db: DatabaseOption = DEFAULT_DATABASE,
    url: AskedUrlOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the metrics: from a database, or from a running server with --url."""
    if url is None:
        with open_reader(db) as reader:
            metrics: dict[str, Any] = msgspec.to_builtins(OrderMetrics.of(reader.read(queries.totals)))
    else:
        metrics = Server(url, key, ca).get("metrics")
    if as_json:
        print_json(metrics)
        return
    table = Table("Metric", "Value")
    table.add_row("total orders processed", str(metrics["total_orders_processed"]))
    table.add_row("average processing time", f"{metrics['average_processing_time_seconds']:.6f} s")
    for status, count in metrics["orders_by_status"].items():
        table.add_row(f"orders {status}", str(count))
    out.print(table)


@app.command("load")
def load_command(
    url: UrlOption = DEFAULT_URL,
    orders: Annotated[int, option("--orders", Annotated[int, Meta(ge=1)], "Orders to send.")] = 1000,
    concurrency: Annotated[
        int, option("--concurrency", Annotated[int, Meta(ge=1)], "Connections that send at the same time.")
    ] = 1000,
    timeout_seconds: Annotated[
        float, option("--timeout-seconds", Annotated[float, Meta(ge=1)], "Give up after so many seconds.")
    ] = 300.0,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send the orders although the server has a handler that works on them.")
    ] = False,
    priority: PriorityOption = None,
    not_before: NotBeforeOption = None,
    complete_by: CompleteByOption = None,
    serial_key: SerialKeyOption = None,
    queue: QueueOption = None,
    metadata: MetadataOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send made-up orders from many connections at once, wait for all, and check the metrics against what was sent.

    The figures are those of the server and its handler together. Where the server simulates, they are the server's own.
    """
    from .load import (  # with aiohttp, which takes a while: only who sends a load pays for that
        made_up,
        render,
        run_load,
    )

    fields = fields_given(priority, not_before, complete_by, serial_key, queue, metadata)
    checked_body(made_up("load", 0, fields))
    server = Server(url, key, ca)
    # A server that does not say so may have a handler.
    if not yes and not server.get("metrics").get("simulated", False):
        _ask_whether_to_send(orders, url)
    report = run_load(server, orders, concurrency, err if as_json else out, timeout_seconds, fields)
    if as_json:
        print_json(report)
    else:
        render(report, out)
    if not report.ok:
        raise typer.Exit(1)


def _ask_whether_to_send(orders: int, url: str) -> None:
    what = f"The server at {url} has a handler, which would work on {orders} made-up orders as on real ones"
    if not sys.stdin.isatty():
        raise InvalidConfiguration(f"{what}: say --yes if it may.")
    typer.confirm(f"{what}. Send them?", abort=True)
