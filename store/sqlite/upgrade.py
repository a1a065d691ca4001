"""Bringing a database of an older version up to date, with a copy of it kept beside the file."""

from __future__ import annotations

import itertools
import logging
import shutil
from functools import partial
from pathlib import Path

from peewee import SqliteDatabase

from ... import sql
from ..domain.errors import BackupFailed, DatabaseRefused
from ..domain.failure import error_name
from ..domain.order import Order
from ..statements import run_script
from .backup import back_up

_GROWTH = 3
"""How many times its size the database may need besides: tables are made anew, in the log and then in the file."""

_log = logging.getLogger("ordermill.store")


def upgrade(database: SqliteDatabase, path: Path, version: int, *, keep_copy: bool) -> None:
    """Bring the schema of a database up to date, version by version; nothing happens where it is.

    Each version is one transaction: a process that dies has upgraded to it, or has not.

    Args:
        database: the only connection that writes.
        path: its file.
        version: the version to reach.
        keep_copy: whether a copy of the database as it was is kept beside it, as `orders.db.before-version-N`.

    Raises:
        DatabaseRefused: there is no room for it, or the copy cannot be made; nothing was changed.
        peewee.DatabaseError, sqlite3.Error: it failed; the copy is gone where nothing was changed.
    """
    found = int(database.pragma("user_version"))
    if found >= version:
        return
    _check_room(database, path, keep_copy=keep_copy)
    copy = _copy(database, path, version) if keep_copy else None
    kept = "no copy of it was kept" if copy is None else f"as it was it is kept as {copy}"
    _log.warning("upgrading %s from schema version %d to %d; %s", path, found, version, kept)
    for name, attribute in (("error_name", "name"), ("error_kind", "kind")):
        database.register_function(partial(_error, attribute), name, 3)
    reached = found
    try:
        for reached in range(found + 1, version + 1):
            run_script(database, sql.read(f"upgrade-{reached}.sql"))
    except BaseException:
        if copy is not None and reached == found + 1:  # the database itself is as it was
            copy.unlink()
        raise
    _log.warning("%s has schema version %d now", path, version)


def _error(attribute: str, error: str | None, order_id: str, user_id: str) -> str | None:
    if error is None:
        return None
    name: str = getattr(error_name(error, Order.stored(order_id, user_id, (), 0)), attribute)
    return name


def _check_room(database: SqliteDatabase, path: Path, *, keep_copy: bool) -> None:
    size = int(database.pragma("page_count")) * int(database.pragma("page_size"))
    needed = size * (_GROWTH + keep_copy)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        without = ", or start with skip_upgrade_copy to keep no copy of it" if keep_copy else ""
        raise DatabaseRefused(
            f"Upgrading the schema of {path} takes {_mebibytes(needed)} MiB of its disk for some time, and "
            f"{_mebibytes(free)} are free: make room{without}."
        )


def _copy(database: SqliteDatabase, path: Path, version: int) -> Path:
    first = path.with_name(f"{path.name}.before-version-{version}")
    names = itertools.chain([first], (first.with_name(f"{first.name}.{number}") for number in itertools.count(2)))
    copy = next(name for name in names if not name.exists())
    try:
        back_up(database, copy)
    except BackupFailed as error:
        raise DatabaseRefused(f"The schema of {path} was not upgraded: no copy can be kept. {error}") from error
    return copy


def _mebibytes(size: int) -> int:
    return -(-size // 2**20)
