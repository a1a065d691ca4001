"""What all tests share: a database, engines, a clock, and the check that nothing is left running."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pykka
import pytest

from ordermill.engine import Order, OrderEngine
from ordermill.engine.testing import ManualClock

# How wide the terminal is that the tests are watched at must not decide how wide our output is.
os.environ.pop("COLUMNS", None)


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
def database(tmp_path: Path) -> Path:
    """Where a test's database goes."""
    return tmp_path / "orders.db"


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
        with closing(sqlite3.connect(database)) as connection, connection:
            return connection.execute(statement).fetchall()

    return run
