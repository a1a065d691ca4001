"""The command line, `ordermill …` or `python -m ordermill.http …`: where engine and facade are put together."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from peewee import Database, SqliteDatabase
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from .. import sql
from ..engine import (
    Durability,
    EngineConfig,
    Handler,
    InvalidConfiguration,
    OrderEngine,
    OrdermillError,
    OrderNotFound,
    OrderStatus,
)
from ..store import database as store
from ..store import queries
from ..store.audit import audit
from ..store.backup import back_up
from ..store.statements import run_script
from ..store.totals import OrderMetrics
from . import key_commands, logs
from .client import move_order
from .load import render, run_load
from .logs import LogFormat
from .options import settings_of, with_options
from .payloads import history_payload, order_payload
from .server import ServerConfig, serve

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Ordermill takes orders over REST, keeps them safe and processes them in the background.",
)
app.add_typer(key_commands.app, name="keys")
# No markup: what handlers and clients have written is shown as it is.
_out = Console(markup=False, emoji=False)
_err = Console(markup=False, emoji=False, stderr=True)

DatabaseOption = Annotated[
    str, typer.Option("--db", envvar="ORDERMILL_DB", help="Database: a path, or a URL such as sqlite:///orders.db.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OrderArgument = Annotated[str, typer.Argument(help="The order.")]
UrlOption = Annotated[str, typer.Option("--url", envvar="ORDERMILL_URL", help="Address of a running server.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", envvar="ORDERMILL_KEY", help="Key to send along; the variable tells nobody.")
]
DEFAULT_DATABASE = "orders.db"
DEFAULT_URL = "http://127.0.0.1:8080"


@app.command("serve")
@with_options(ServerConfig, EngineConfig)
def serve_command(
    db: DatabaseOption = DEFAULT_DATABASE,
    handler: Annotated[
        str | None,
        typer.Option(
            envvar="ORDERMILL_HANDLER",
            help="Called with each order: module:function, imported from the working directory. "
            "Without one, work is simulated.",
        ),
    ] = None,
    log_level: Annotated[
        str,
        typer.Option(
            envvar="ORDERMILL_LOG_LEVEL",
            help="debug (a line a transition), info (a line a request), warning or error.",
        ),
    ] = "warning",
    log_format: Annotated[
        LogFormat, typer.Option(envvar="ORDERMILL_LOG_FORMAT", help="text, or json with an object a line.")
    ] = LogFormat.TEXT,
    **settings: Any,
) -> None:
    """Serve the REST API until SIGTERM or SIGINT."""
    set_up = partial(logs.configure, log_level, log_format)
    set_up()
    engine = OrderEngine(
        db,
        handler=None if handler is None else load_handler(handler),
        **settings_of(EngineConfig, settings),
    )
    config = ServerConfig.of(settings_of(ServerConfig, settings))

    def announce(url: str) -> None:
        recovered = sum(engine.recovered)
        line = f"Ordermill serves {url} with database {engine.path}, {recovered} orders recovered."
        _out.print(line, highlight=False, soft_wrap=True)
        sys.stdout.flush()

    serve(engine, config, announce, set_up)


@app.command("load")
def load_command(
    url: UrlOption = DEFAULT_URL,
    orders: Annotated[int, typer.Option(min=1, help="Orders to send.")] = 1000,
    concurrency: Annotated[int, typer.Option(min=1, help="Connections that send at the same time.")] = 1000,
    timeout_seconds: Annotated[float, typer.Option(min=1, help="Give up after so many seconds.")] = 300.0,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send orders from many connections at once, wait for all of them, and check the metrics against what was sent."""
    report = run_load(url, orders, concurrency, _err if as_json else _out, timeout_seconds, key)
    if as_json:
        _print_json(report)
    else:
        render(report, _out)
    if not report.ok:
        raise typer.Exit(1)


@app.command("init-db")
def init_command(db: DatabaseOption = DEFAULT_DATABASE) -> None:
    """Create an empty database; nothing happens to one that exists."""
    path = store.locate(db)
    with _writer(path):
        _out.print(f"{path} is ready.", highlight=False)


@app.command("seed")
def seed_command(db: DatabaseOption = DEFAULT_DATABASE) -> None:
    """Fill an empty database with sample orders."""
    path = store.locate(db)
    with _writer(path) as database:
        if queries.last_sequence(database):
            _stop(f"{path} has orders already: sample orders go into an empty database only.")
        run_script(database, sql.read("sample_data.sql"))
        _out.print(f"{path} has {queries.last_sequence(database)} sample orders.", highlight=False)


@app.command("status")
def status_command(
    order_id: OrderArgument,
    db: DatabaseOption = DEFAULT_DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Show where an order is and how it got there, read from the database; a server may be running over it."""
    with _reader(db) as database:
        record = queries.find(database, order_id)
        if record is None:
            raise OrderNotFound(order_id)
        order = order_payload(record)
        history = history_payload(order_id, queries.history(database, order_id))
    if as_json:
        _print_json({**msgspec.to_builtins(order), "transitions": history.transitions})
        return
    _out.print(
        f"{order.order_id}: {order.status}, {order.total_amount} for {order.user_id}, {', '.join(order.item_ids)}",
        highlight=False,
    )
    table = Table(Column("At", no_wrap=True), "From", "To", Column("Attempt", justify="right"), "Reason")
    for step in history.transitions:
        table.add_row(step.at, step.source or "", step.target, str(step.attempt), step.reason)
    _out.print(table)


@app.command("metrics")
def metrics_command(db: DatabaseOption = DEFAULT_DATABASE, as_json: JsonOption = False) -> None:
    """Show the metrics, read from the database; a server may be running over it."""
    with _reader(db) as database:
        metrics = OrderMetrics.of(queries.totals(database))
    if as_json:
        _print_json(metrics)
        return
    table = Table("Metric", "Value")
    table.add_row("total orders processed", str(metrics.total_orders_processed))
    table.add_row("average processing time", f"{metrics.average_processing_time_seconds:.6f} s")
    for status, count in metrics.orders_by_status.items():
        table.add_row(f"orders {status}", str(count))
    _out.print(table)


@app.command("verify")
def verify_command(db: DatabaseOption = DEFAULT_DATABASE, as_json: JsonOption = False) -> None:
    """Check the whole database: every history, every total, the file itself. Exit code 1 where anything is wrong."""
    with _reader(db) as database, Progress(console=_err, transient=True, disable=not _err.is_terminal) as progress:
        task = progress.add_task("Orders", total=None)
        result = audit(database, lambda done, total: progress.update(task, completed=done, total=total))
    if as_json:
        _print_json({"orders": result.orders, "faults": result.faults})
    else:
        for fault in result.faults:
            _out.print(fault, style="red", highlight=False, soft_wrap=True)
        verdict = f"{len(result.faults)} faults" if result.faults else "everything agrees"
        _out.print(f"{result.orders} orders: {verdict}.", highlight=False)
    if result.faults:
        raise typer.Exit(1)


@app.command("cancel")
def cancel_command(
    order_id: OrderArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Have a running server cancel an order that is Pending."""
    _show_moved(move_order(url, order_id, "cancel", key=key), as_json)


@app.command("retry")
def retry_command(
    order_id: OrderArgument, url: UrlOption = DEFAULT_URL, key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Have a running server put an order that is Failed or in Review back to Pending."""
    _show_moved(move_order(url, order_id, "retry", key=key), as_json)


@app.command("settle")
def settle_command(
    order_id: OrderArgument,
    status: Annotated[OrderStatus, typer.Argument(help="Completed or Failed.")],
    reason: Annotated[str, typer.Option(help="Why; it goes into the order's history.")] = "settled by an operator",
    url: UrlOption = DEFAULT_URL,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a running server end the Review of an order."""
    _show_moved(move_order(url, order_id, "settle", {"status": status, "reason": reason}, key), as_json)


@app.command("backup")
def backup_command(
    target: Annotated[Path, typer.Argument(help="The file to make.")], db: DatabaseOption = DEFAULT_DATABASE
) -> None:
    """Make a consistent copy of the database; a server may be running over it."""
    with _reader(db) as database, Progress(console=_err, transient=True, disable=not _err.is_terminal) as progress:
        task = progress.add_task("Pages", total=None)
        back_up(database, target, lambda done, total: progress.update(task, completed=done, total=total))
    _out.print(f"{target} is a copy of {store.locate(db)}; check it with `ordermill verify`.", highlight=False)


def load_handler(name: str) -> Handler:
    """Import a handler, from the working directory too.

    Args:
        name: `module:function`.

    Raises:
        InvalidConfiguration: there is no such module or function, or the module is no Python.
    """
    module_name, separator, attribute = name.partition(":")
    if not (module_name and separator and attribute):
        raise InvalidConfiguration(f"A handler is named module:function; {name!r} is not.")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError, TypeError) as error:  # TypeError: a relative name
        raise InvalidConfiguration(f"Cannot import the handler's module {module_name!r}: {error}.") from error
    handler: Handler | None = getattr(module, attribute, None)
    if not callable(handler):
        raise InvalidConfiguration(f"The module {module_name!r} has no function {attribute!r}.")
    return handler


def main() -> NoReturn:
    """Run the command line; an error of ours is a line on standard error and exit code 1."""
    try:
        app()
    except OrdermillError as error:
        _stop(str(error))
    sys.exit(0)


def _stop(message: str) -> NoReturn:
    _err.print(f"ordermill: {message}", style="red", highlight=False, soft_wrap=True)
    sys.exit(1)


@contextmanager
def _writer(path: Path) -> Iterator[SqliteDatabase]:
    lock = store.lock_for_engine(path)
    try:
        database = store.open_writer(path, Durability.FULL)
        try:
            yield database
        finally:
            database.close()
    finally:
        lock.release()


@contextmanager
def _reader(address: str) -> Iterator[Database]:
    database = store.open_readers(store.locate(address), max_connections=1)
    try:
        with database.connection_context():
            yield database
    finally:
        database.close_all()


def _show_moved(order: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(order)
    else:
        _out.print(f"{order['order_id']} is {order['status']}.", highlight=False)


def _print_json(value: object) -> None:
    # Not through rich, which would wrap and colour it.
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
