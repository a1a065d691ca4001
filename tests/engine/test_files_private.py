"""Every file that is made is for its owner only, however much the umask allows others."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ordermill.engine import OrderEngine
from ordermill.engine.testing import Held, ManualClock, make_order
from ordermill.http.security.api_keys import Role, create_key
from ordermill.store.sqlite import database as opening
from ordermill.store.sqlite.backup import back_up

pytestmark = pytest.mark.sqlite  # whose files are ours

OLD_SCHEMA = Path(__file__).parents[1] / "store" / "sqlite" / "old_schemas" / "schema-1.sql"


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """A umask that forbids nobody anything."""
    before = os.umask(0)
    yield
    os.umask(before)


def readable_by_others(folder: Path) -> list[str]:
    """The files in a folder that others than their owner may read or write."""
    return [path.name for path in folder.iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_what_an_engine_makes_is_for_its_owner_only(
    start_engine: Callable[..., OrderEngine], tmp_path: Path, database: Path
) -> None:
    held = Held()
    engine = start_engine(held)
    engine.submit(make_order("o-1"))
    held.begun()

    names = {path.name for path in tmp_path.iterdir()}
    assert {f"orders.db{ending}" for ending in ("", "-wal", "-shm", ".begun", ".lock")} <= names
    assert readable_by_others(tmp_path) == []

    held.release()
    engine.stop()
    reader = opening.open_readers(database, 1)
    with reader.connection_context():
        back_up(reader, tmp_path / "backup.db")
    reader.close_all()
    assert readable_by_others(tmp_path) == []


def test_the_copy_that_an_upgrade_keeps_is_for_its_owner_only(
    start_engine: Callable[..., OrderEngine], tmp_path: Path, database: Path
) -> None:
    with closing(sqlite3.connect(database)) as old:
        old.executescript(OLD_SCHEMA.read_text(encoding="utf-8"))
    database.chmod(0o644)

    start_engine().stop()

    assert list(tmp_path.glob("orders.db.before-version-*")) != []
    assert readable_by_others(tmp_path) == ["orders.db"]  # which its owner has let others read


def test_an_export_is_for_its_owner_only(
    start_engine: Callable[..., OrderEngine], tmp_path: Path, clock: ManualClock
) -> None:
    engine = start_engine(clock=clock, retain_seconds=1, export_path=str(tmp_path / "export.ndjson"))
    engine.submit(make_order("o-1")).wait(timeout=60)

    while not (tmp_path / "export.ndjson").exists():
        clock.advance(60)

    assert readable_by_others(tmp_path) == []


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    create_key(tmp_path / "keys", [Role.READ])

    assert readable_by_others(tmp_path) == []


def test_a_database_that_others_were_allowed_to_read_stays_so(
    start_engine: Callable[..., OrderEngine], database: Path
) -> None:
    start_engine().stop()
    database.chmod(0o640)

    engine = start_engine()

    assert stat.S_IMODE(database.stat().st_mode) == 0o640
    assert stat.S_IMODE(Path(f"{database}-wal").stat().st_mode) == 0o640
    engine.stop()
