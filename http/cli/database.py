"""Commands that work on a database; a server may be running over it where they only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from ... import sql
from ...engine import Durability
from ...store import queries
from ...store.audit import audit
from ...store.backend import Backend
from ...store.connect import connect
from ...store.reader import Reader
from ...store.sqlite.backup import back_up
from ...store.statements import run_script
from ...store.writer import Writer
from .console import DEFAULT_DATABASE, DatabaseOption, JsonOption, err, print_json, print_line, stop

app = typer.Typer()


@app.command("init-db")
def init_command(
    db: DatabaseOption = DEFAULT_DATABASE,
    skip_upgrade_copy: Annotated[
        bool, typer.Option("--skip-upgrade-copy", help="Keep no copy of an older database that is upgraded.")
    ] = False,
) -> None:
    """Create an empty database, or upgrade the schema of an older one; nothing happens to one that is up to date."""
    backend = connect(db)
    with _writer(backend, skip_upgrade_copy=skip_upgrade_copy):
        print_line(f"{backend.name} is ready.")


@app.command("seed")
def seed_command(db: DatabaseOption = DEFAULT_DATABASE) -> None:
    """Fill an empty database with sample orders."""
    backend = connect(db)
    with _writer(backend) as database:
        if queries.last_sequence(database):
            stop(f"{backend.name} has orders already: sample orders go into an empty database only.")
        run_script(database, sql.read("sample_data.sql"))
        print_line(f"{backend.name} has {queries.last_sequence(database)} sample orders.")


@app.command("verify")
def verify_command(db: DatabaseOption = DEFAULT_DATABASE, as_json: JsonOption = False) -> None:
    """Check the whole database: every history, every total, the file itself. Exit code 1 where anything is wrong."""
    with open_reader(db) as reader, Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("Orders", total=None)
        result = reader.read(partial(audit, progress=partial(_show, progress, task)))
    if as_json:
        print_json({"orders": result.orders, "faults": result.faults})
    else:
        for fault in result.faults:
            print_line(fault, style="red")
        verdict = f"{len(result.faults)} faults" if result.faults else "everything agrees"
        print_line(f"{result.orders} orders: {verdict}.")
    if result.faults:
        raise typer.Exit(1)


@app.command("backup")
def backup_command(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The file to make.")],
    db: DatabaseOption = DEFAULT_DATABASE,
) -> None:
    """Make a consistent copy of the database; a server may be running over it."""
    if connect(db).path is None:
        stop("A server's database is copied with its own tools: use pg_dump.")
    with (
        open_reader(db, any_version=True) as reader,
        Progress(console=err, transient=True, disable=not err.is_terminal) as progress,
    ):
        task = progress.add_task("Pages", total=None)
        reader.read(partial(back_up, target=target, progress=partial(_show, progress, task)))
    print_line(f"{target} is a copy of {connect(db).name}; check it with `ordermill verify`.")


@contextmanager
def _writer(backend: Backend, *, skip_upgrade_copy: bool = False) -> Iterator[Writer]:
    lock = backend.lock()
    try:
        database = backend.open_writer(Durability.FULL, skip_upgrade_copy=skip_upgrade_copy)
        try:
            yield database
        finally:
            database.close()
    finally:
        lock.release()


def open_reader(address: str, *, any_version: bool = False) -> Reader:
    """What reads from a database; a server may be running over it.

    Args:
        address: its path or URL.
        any_version: whether it may have an older schema.

    Raises:
        DatabaseRefused: there is no database, or it is not usable.
    """
    return Reader(connect(address), max_connections=1, any_version=any_version)


def _show(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)
