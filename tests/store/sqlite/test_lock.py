"""One file, one engine: whatever name it is opened by, and whatever happens to the file of the lock."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ordermill.engine import OrderEngine
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.errors import DatabaseRefused
from ordermill.store.sqlite.database import open_writer
from ordermill.store.sqlite.lock import EngineLock

TAKE = (
    "import os, sys; from pathlib import Path; from ordermill.store.sqlite.lock import EngineLock; "
    "lock = EngineLock(Path(sys.argv[1]))"
)


def take_elsewhere(path: Path) -> subprocess.CompletedProcess[str]:
    """Try to take the lock in another process."""
    return subprocess.run(
        [sys.executable, "-c", TAKE, str(path)], capture_output=True, text=True, timeout=30, check=False
    )


def open_descriptors() -> int:
    """How many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def as_it_is(database: Path) -> Path:
    return database


def by_a_hard_link(database: Path) -> Path:
    other = database.with_name("other.db")
    other.hardlink_to(database)
    return other


def without_its_lock_file(database: Path) -> Path:
    Path(f"{database}.lock").unlink()
    return database


WAYS = pytest.mark.parametrize("way", [as_it_is, by_a_hard_link, without_its_lock_file])


@WAYS
def test_a_second_lock_is_refused(database: Path, way: Callable[[Path], Path]) -> None:
    lock = EngineLock(database)

    with pytest.raises(DatabaseRefused, match=f"already \\(process {os.getpid()} on "):
        EngineLock(way(database))
    lock.release()


@WAYS
def test_another_process_is_refused_too(database: Path, way: Callable[[Path], Path]) -> None:
    lock = EngineLock(database)

    assert "DatabaseRefused: An engine is running over" in take_elsewhere(way(database)).stderr
    lock.release()


def test_another_process_is_told_who_has_it(database: Path) -> None:
    with OrderEngine(database):
        error = take_elsewhere(database).stderr

    assert f"{database} already (process {os.getpid()} on " in error


def test_many_attempts_leave_no_descriptor_open(database: Path) -> None:
    lock = EngineLock(database)
    writer = open_writer(database, Durability.NORMAL)
    before = open_descriptors()
    for _ in range(20):
        with pytest.raises(DatabaseRefused):
            EngineLock(database)
    assert open_descriptors() == before
    lock.release()
    for _ in range(20):
        EngineLock(database).release()
    # SQLite itself keeps the last one for as long as the other connection has locks on the file.
    assert open_descriptors() <= before
    writer.close()


def test_the_locks_of_other_connections_are_kept(database: Path) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN IMMEDIATE")
        lock = EngineLock(database)
        with pytest.raises(DatabaseRefused):
            EngineLock(database)
        lock.release()
        write = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
        done = subprocess.run(
            [sys.executable, "-c", write, str(database)], capture_output=True, text=True, timeout=30, check=False
        )

    assert "database is locked" in done.stderr


def test_the_lock_of_a_process_that_died_is_free(database: Path) -> None:
    done = subprocess.run([sys.executable, "-c", f"{TAKE}; os._exit(9)", str(database)], timeout=30, check=False)
    assert done.returncode == 9

    EngineLock(database).release()


def test_a_lock_may_be_released_in_another_thread_and_twice(database: Path) -> None:
    lock = EngineLock(database)
    releaser = threading.Thread(target=lock.release)
    releaser.start()
    releaser.join()
    lock.release()

    assert take_elsewhere(database).stderr == ""


def test_the_lock_is_free_after_a_stop_though_others_have_the_file_open(database: Path) -> None:
    with OrderEngine(database):
        other = sqlite3.connect(database)
        other.execute("SELECT count(*) FROM orders").fetchone()

    assert take_elsewhere(database).stderr == ""
    other.close()


def test_nothing_is_left_of_a_lock_that_was_released(database: Path) -> None:
    EngineLock(database).release()

    assert list(database.parent.iterdir()) == []


def test_a_stopped_engine_leaves_its_database_alone(database: Path) -> None:
    with OrderEngine(database):
        pass

    assert list(database.parent.iterdir()) == [database]


def test_a_refused_start_leaves_nothing_behind_and_nothing_locked(database: Path) -> None:
    database.write_text("no database at all, but long enough to be looked at\n" * 20)
    with pytest.raises(DatabaseRefused, match="file is not a database"):
        OrderEngine(database).start()

    assert list(database.parent.iterdir()) == [database]
    EngineLock(database).release()


def test_a_missing_folder_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefused, match="no folder"):
        OrderEngine(tmp_path / "missing" / "orders.db").start()

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused(database: Path) -> None:
    Path(f"{database}.lock").mkdir()

    with pytest.raises(DatabaseRefused, match="Cannot lock"):
        EngineLock(database)


def test_a_file_with_other_names_is_refused_since_their_logs_would_differ(database: Path) -> None:
    with OrderEngine(database):
        pass
    by_a_hard_link(database)

    with pytest.raises(DatabaseRefused, match=r"other names, by hard links.*orders could be lost"):
        OrderEngine(database).start()


def test_a_file_that_takes_the_place_of_one_in_use_is_refused(database: Path) -> None:
    with OrderEngine(database):
        moved = database.rename(f"{database}.bak")
        try:
            error = take_elsewhere(database).stderr
            assert not database.exists()
        finally:
            moved.rename(database)

    assert f"already (process {os.getpid()} on " in error


def test_a_note_that_cannot_be_written_stops_nobody(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)

    EngineLock(database).release()


def test_a_forked_child_does_not_keep_the_lock(database: Path) -> None:
    lock = EngineLock(database)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    os.close(read_end)
    try:
        assert "already" in take_elsewhere(database).stderr
        lock.release()
        assert take_elsewhere(database).stderr == ""
    finally:
        os.close(write_end)
        os.waitpid(child, 0)


def test_a_forked_child_does_not_open_what_its_parent_had_open(database: Path) -> None:
    lock = EngineLock(database)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        lock.release()  # which is the parent's
        try:
            EngineLock(database)
        except DatabaseRefused as error:
            os.write(write_end, str(error).encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)

    with os.fdopen(read_end) as answer:
        assert "open when this process was forked" in answer.read()
    assert "already" in take_elsewhere(database).stderr
    lock.release()
