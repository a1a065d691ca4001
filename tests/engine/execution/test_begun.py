"""The file of what has begun is believed where it can be, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ordermill.engine.execution import begun
from ordermill.engine.execution.begun import Begun, BegunFile, Progress, read
from ordermill.engine.testing import START_US, make_order
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import Attempt, OrderRecord

UNKNOWN = Begun(None, has_crashed=True)


def record(sequence: int, attempts: int = 1) -> OrderRecord:
    return OrderRecord(
        make_order(f"o-{sequence}"), sequence, OrderStatus.PROCESSING, attempts, 0, START_US, START_US, None
    )


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A file in place of a database."""
    path = tmp_path / "orders.db"
    path.touch()
    return path


def test_what_has_begun_is_read_back(database: Path) -> None:
    file = BegunFile(database, 7, 10)
    file.begin(record(1), alone=False)
    file.end(file.begin(record(2, 3), alone=False))
    file.begin(record(3), alone=True)

    assert read(database, 7) == Begun(
        {Attempt(1, 1): Progress.RUNS, Attempt(2, 3): Progress.ENDED, Attempt(3, 1): Progress.RUNS_ALONE},
        has_crashed=True,
    )


def test_it_outlives_a_process_that_is_killed(database: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from ordermill.engine.execution.begun import BegunFile
from tests.engine.execution.test_begun import record
BegunFile(Path(sys.argv[1]), 7, 10).begin(record(5), alone=False)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", program, database], env={**os.environ, "PYTHONPATH": str(root)}, check=False)

    assert read(database, 7).attempts == {Attempt(5, 1): Progress.RUNS}


def test_it_takes_no_more_room_for_orders_that_are_recorded(database: Path) -> None:
    file = BegunFile(database, 7, 2)
    file.begin(record(1000), alone=False)
    for sequence in range(1, 100):
        file.begin(record(sequence), alone=False)
        file.forget([record(sequence)])

    attempts = read(database, 7).attempts
    assert attempts is not None
    assert attempts[Attempt(1000, 1)] is Progress.RUNS


def test_a_late_record_of_an_earlier_attempt_does_not_make_it_forget_the_present_one(database: Path) -> None:
    file = BegunFile(database, 7, 1)
    file.begin(record(1, attempts=2), alone=False)
    file.forget([record(1, attempts=1)])
    file.forget([record(2)])

    file.begin(record(3), alone=False)

    assert read(database, 7).attempts is None, "there was no room, so nothing is known"


def test_nothing_is_believed_where_it_was_too_small(database: Path) -> None:
    file = BegunFile(database, 7, 1)
    file.begin(record(1), alone=False)
    assert file.begin(record(2), alone=False) is None
    file.end(None)

    assert read(database, 7) == UNKNOWN


def test_another_run_is_not_believed(database: Path) -> None:
    BegunFile(database, 7, 1)

    assert read(database, 8) == UNKNOWN
    assert read(database, 7).attempts == {}


def test_a_copy_of_the_database_is_another_one(database: Path, tmp_path: Path) -> None:
    BegunFile(database, 7, 1)
    copy = tmp_path / "copy.db"
    for name in ("orders.db", "orders.db.begun"):
        (tmp_path / name.replace("orders", "copy")).write_bytes((tmp_path / name).read_bytes())

    assert read(copy, 7) == UNKNOWN


def test_after_a_restart_of_the_machine_nothing_is_known_and_no_order_is_to_blame(
    database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boot_id = tmp_path / "boot_id"
    monkeypatch.setattr(begun, "_BOOT_ID", boot_id)
    boot_id.write_text("before\n")
    BegunFile(database, 7, 1).begin(record(1), alone=False)
    assert read(database, 7).attempts is not None

    boot_id.write_text("after\n")

    assert read(database, 7) == Begun(None, has_crashed=False)


def test_where_the_restarts_of_the_machine_cannot_be_told_apart_nothing_is_believed(
    database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(begun, "_BOOT_ID", tmp_path / "none")
    BegunFile(database, 7, 1)

    assert read(database, 7) == UNKNOWN


@pytest.mark.parametrize("length", [0, 10, 64, 130])
def test_a_torn_file_is_not_believed(database: Path, length: int) -> None:
    BegunFile(database, 7, 4)
    path = database.with_name("orders.db.begun")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:length])

    assert read(database, 7) == UNKNOWN


def test_a_foreign_or_a_missing_file_is_not_believed(database: Path) -> None:
    assert read(database, 7) == UNKNOWN
    database.with_name("orders.db.begun").write_bytes(b"\xff" * 1000)
    assert read(database, 7) == UNKNOWN


def test_an_orderly_end_removes_it_where_nothing_is_left(database: Path) -> None:
    file = BegunFile(database, 7, 4)
    file.begin(record(1), alone=False)
    file.forget([record(1)])

    file.close(is_all_recorded=True)

    assert [path.name for path in database.parent.iterdir()] == ["orders.db"]


@pytest.mark.parametrize("is_all_recorded", [True, False])
def test_an_orderly_end_that_leaves_something_says_that_it_was_no_crash(database: Path, is_all_recorded: bool) -> None:
    file = BegunFile(database, 7, 4)
    if is_all_recorded:
        file.begin(record(1), alone=False)

    file.close(is_all_recorded=is_all_recorded)

    expected = {Attempt(1, 1): Progress.RUNS} if is_all_recorded else {}
    assert read(database, 7) == Begun(expected, has_crashed=False)
