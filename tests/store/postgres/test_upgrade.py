"""A database of an older version is upgraded at the start, unless an engine of that version is at work over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from ordermill import sql
from ordermill.engine.testing import make_order
from ordermill.store import engines, queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.errors import DatabaseRefused
from ordermill.store.ledger import Ledger
from ordermill.store.reader import Reader
from ordermill.store.statements import run
from ordermill.store.writer import Writer

pytest.importorskip("psycopg", reason="the extra postgres is not installed")

from ordermill.store.postgres import database as postgres

FIRST_VERSION = 7
"""The first that there was for PostgreSQL."""


@pytest.fixture
def have_newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Has this Ordermill be one of two versions later, to which these scripts lead."""

    def have(*scripts: str) -> None:
        names = [f"upgrade-postgres-{postgres.SCHEMA_VERSION + number}.sql" for number in (1, 2)]
        given, read = dict(zip(names, scripts, strict=True)), sql.read
        monkeypatch.setattr(sql, "read", lambda name: given.get(name) or read(name))
        monkeypatch.setattr(postgres, "SCHEMA_VERSION", postgres.SCHEMA_VERSION + 2)

    return have


@pytest.fixture
def old(postgres_url: str) -> Iterator[Writer]:
    """A connection to a database with an order, of the version before the upgrade."""
    with closing(connect(postgres_url).open_writer(Durability.NORMAL)) as opened:
        Ledger(opened).record([make_order("o-1")], [], 10)
        yield opened


def test_each_version_has_a_script_that_leads_to_it() -> None:
    for version in range(FIRST_VERSION + 1, postgres.SCHEMA_VERSION + 1):
        assert sql.read(f"upgrade-postgres-{version}.sql")


def test_an_older_database_is_upgraded_version_by_version_and_keeps_what_it_had(
    old: Writer, postgres_url: str, have_newer: Callable[[str, str], None]
) -> None:
    have_newer("ALTER TABLE orders ADD COLUMN colour TEXT; SELECT 1;", "UPDATE orders SET colour = 'red'")

    with closing(connect(postgres_url).open_writer(Durability.NORMAL)) as upgraded:
        assert run(upgraded, "SELECT order_id, colour FROM orders").fetchall() == [("o-1", "red")]
        assert queries.find(upgraded, "o-1") == queries.find(old, "o-1")
    with Reader(connect(postgres_url), 1) as reader:
        assert reader.read(audit).faults == []


def test_an_upgrade_that_fails_changes_nothing(
    old: Writer, postgres_url: str, have_newer: Callable[[str, str], None]
) -> None:
    have_newer("ALTER TABLE orders ADD COLUMN colour TEXT", "UPDATE orders SET colour = 1 / 0")

    with pytest.raises(DatabaseRefused, match="division by zero"):
        connect(postgres_url).open_writer(Durability.NORMAL)

    (columns,) = run(old, "SELECT count(*) FROM information_schema.columns WHERE column_name = 'colour'").fetchone()
    assert columns == 0
    assert run(old, "SELECT version FROM ordermill_schema").fetchall() == [(postgres.SCHEMA_VERSION - 2,)]


def test_no_database_is_upgraded_while_an_engine_is_at_work_over_it(
    old: Writer, postgres_url: str, have_newer: Callable[[str, str], None]
) -> None:
    engine = engines.join(old, 10, None, 8, 600_000_000)
    have_newer("SELECT 1", "SELECT 1")

    with pytest.raises(DatabaseRefused, match=rf"engine {engine} on \S+ is at work over it: stop all engines"):
        connect(postgres_url).open_writer(Durability.NORMAL)
    engines.leave(old, engine)

    connect(postgres_url).open_writer(Durability.NORMAL).close()
    assert run(old, "SELECT version FROM ordermill_schema").fetchall() == [(postgres.SCHEMA_VERSION,)]


def test_who_only_reads_an_older_database_is_told_how_it_is_upgraded(
    old: Writer,  # noqa: ARG001  # makes it
    postgres_url: str,
    have_newer: Callable[[str, str], None],
) -> None:
    have_newer("SELECT 1", "SELECT 1")

    with pytest.raises(DatabaseRefused, match="upgrade it with `ordermill init-db`"):
        Reader(connect(postgres_url), 1)
    Reader(connect(postgres_url), 1, any_version=True).close()
