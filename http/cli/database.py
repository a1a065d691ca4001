"""Commands that work on a database; a server may be running over it where they only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from peewee import Database, SqliteDatabase
from rich.progress import Progress
from rich.table import Column, Table

from ... import sql
from ...engine import Durability, OrderNotFound
from ...store import database as store
from ...store import queries
from ...store.audit import audit
from ...store.backup import back_up
from ...store.statements import run_script
from ...store.totals import OrderMetrics
from ..payloads import history_payload, order_payload
from .console import DEFAULT_DATABASE, DatabaseOption, JsonOption, OrderArgument, err, out, print_json, stop

app = typer.Typer()


@app.command("init-db")
def init_command(
    db: DatabaseOption = DEFAULT_DATABASE,
    skip_upgrade_copy: Annotated[
        bool, typer.Option("--skip-upgrade-copy", help="Keep no copy of an older database that is upgraded.")
    ] = False,
) -> None:
    """Create an empty database, or upgrade the schema of an older one; nothing happens to one that is up to date."""
    path = store.locate(db)
    with _writer(path, skip_upgrade_copy=skip_upgrade_copy):
        out.print(f"{path} is ready.", highlight=False)


@app.command("seed")
def seed_command(db: DatabaseOption = DEFAULT_DATABASE) -> None:
    """Fill an empty database with sample orders."""
    path = store.locate(db)
    with _writer(path) as database:
        if queries.last_sequence(database):
            stop(f"{path} has orders already: sample orders go into an empty database only.")
        run_script(database, sql.read("sample_data.sql"))
        out.print(f"{path} has {queries.last_sequence(database)} sample orders.", highlight=False)


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
        print_json({**msgspec.to_builtins(order), "transitions": history.transitions})
        return
    out.print(
        f"{order.order_id}: {order.status}, {order.total_amount} for {order.user_id}, {', '.join(order.item_ids)}",
        highlight=False,
    )
    table = Table(Column("At", no_wrap=True), "From", "To", Column("Attempt", justify="right"), "Reason")
    for step in history.transitions:
        table.add_row(step.at, step.source or "", step.target, str(step.attempt), step.reason)
    out.print(table)


@app.command("metrics")
def metrics_command(db: DatabaseOption = DEFAULT_DATABASE, as_json: JsonOption = False) -> None:
    """Show the metrics, read from the database; a server may be running over it."""
    with _reader(db) as database:
        metrics = OrderMetrics.of(queries.totals(database))
    if as_json:
        print_json(metrics)
        return
    table = Table("Metric", "Value")
    table.add_row("total orders processed", str(metrics.total_orders_processed))
    table.add_row("average processing time", f"{metrics.average_processing_time_seconds:.6f} s")
    for status, count in metrics.orders_by_status.items():
        table.add_row(f"orders {status}", str(count))
    out.print(table)


@app.command("verify")
def verify_command(db: DatabaseOption = DEFAULT_DATABASE, as_json: JsonOption = False) -> None:
    """Check the whole database: every history, every total, the file itself. Exit code 1 where anything is wrong."""
    with _reader(db) as database, Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("Orders", total=None)
        result = audit(database, lambda done, total: progress.update(task, completed=done, total=total))
    if as_json:
        print_json({"orders": result.orders, "faults": result.faults})
    else:
        for fault in result.faults:
            out.print(fault, style="red", highlight=False, soft_wrap=True)
        verdict = f"{len(result.faults)} faults" if result.faults else "everything agrees"
        out.print(f"{result.orders} orders: {verdict}.", highlight=False)
    if result.faults:
        raise typer.Exit(1)


@app.command("backup")
def backup_command(
    target: Annotated[Path, typer.Argument(help="The file to make.")], db: DatabaseOption = DEFAULT_DATABASE
) -> None:
    """Make a consistent copy of the database; a server may be running over it."""
    with (
        _reader(db, any_version=True) as database,
        Progress(console=err, transient=True, disable=not err.is_terminal) as progress,
    ):
        task = progress.add_task("Pages", total=None)
        back_up(database, target, lambda done, total: progress.update(task, completed=done, total=total))
    out.print(f"{target} is a copy of {store.locate(db)}; check it with `ordermill verify`.", highlight=False)


@contextmanager
def _writer(path: Path, *, skip_upgrade_copy: bool = False) -> Iterator[SqliteDatabase]:
    lock = store.lock_for_engine(path)
    try:
        database = store.open_writer(path, Durability.FULL, skip_upgrade_copy=skip_upgrade_copy)
        try:
            yield database
        finally:
            database.close()
    finally:
        lock.release()


@contextmanager
def _reader(address: str, *, any_version: bool = False) -> Iterator[Database]:
    database = store.open_readers(store.locate(address), max_connections=1, any_version=any_version)
    try:
        with database.connection_context():
            yield database
    finally:
        database.close_all()
