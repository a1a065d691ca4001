"""What has begun: a small file beside the database that outlives the process, and costs no commit.

An order is Processing before its handler runs, and stays so until its result is recorded. After a crash the database
cannot tell the orders whose handler ran from those that were next. This file can: a processor notes there what it
begins, in memory that the file is mapped to. The kernel keeps that when the process dies, however it dies; it may be
lost when the machine does. So the file is believed only where it is of the very run whose orders are Processing, over
the very database, and the machine has run on since.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from ...store.domain.record import Attempt, OrderRecord
from ...store.files import create

_MAGIC = b"ORMLBGN1"
_HEADER = struct.Struct("=8s36sqqqqB")
_HEADER_SIZE = 128
_SLOT = struct.Struct("=qq")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Progress(IntEnum):
    """How far the handler of a begun order was."""

    RUNS = 1
    """It ran, or was about to."""
    RUNS_ALONE = 2
    """Likewise, of an order that is suspected to kill the process, and runs alone therefore."""
    ENDED = 3
    """It had ended; only its result was not recorded yet."""


_RUNS, _RUNS_ALONE, _ENDED = (progress.value for progress in Progress)


class Begun(NamedTuple):
    """What a run had begun when it ended."""

    attempts: dict[Attempt, Progress] | None
    """Orders that were begun, and some whose results were recorded; None where nobody knows."""
    has_crashed: bool
    """Whether an order may have ended it: neither a stop nor a restart of the machine did."""


class BegunFile:
    """The notes of the run at work. Several threads may use it.

    Args:
        database: the file of the database, which is there.
        run_id: of this run, as the database has it.
        size: how many orders may be Processing at once.

    Raises:
        OSError: there is no room for the file, or no right to write it.
    """

    def __init__(self, database: Path, run_id: int, size: int) -> None:
        self._path = _path(database)
        self._free = list(range(size))
        self._slots: dict[int, int] = {}  # by sequence
        self._is_complete = True
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        create(new)
        new.write_bytes(bytes(_HEADER_SIZE + size * _SLOT.size))  # all of it: a full disk is found out here, not later
        with new.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._numbers = memoryview(self._map)[_HEADER_SIZE:].cast("q")
        self._identity = (_boot_id(), *_identity(database), run_id, size)
        self._write_header(is_crash=True)
        new.replace(self._path)

    def begin(self, record: OrderRecord, *, alone: bool) -> int | None:
        """Note that the handler is about to run for an order. Returns where, for `end`."""
        try:
            slot = self._free.pop()
        except IndexError:  # more than were expected: better nothing is believed than something wrong
            self._is_complete = False
            self._write_header(is_crash=True)
            return None
        sequence = record.sequence
        self._slots[sequence] = slot
        self._numbers[2 * slot] = sequence
        self._numbers[2 * slot + 1] = record.attempts << 2 | (_RUNS_ALONE if alone else _RUNS)
        return slot

    def end(self, slot: int | None) -> None:
        """Note that the handler has ended, of an order that has not moved on without it."""
        if slot is not None:
            self._numbers[2 * slot + 1] |= _ENDED

    def forget(self, records: Iterable[OrderRecord]) -> None:
        """The outcomes of these attempts are recorded; nothing happens where one was not begun."""
        slots, numbers, free = self._slots, self._numbers, self._free
        for record in records:
            slot = slots.get(record.sequence)
            if slot is not None and numbers[2 * slot + 1] >> 2 == record.attempts:
                del slots[record.sequence]
                free.append(slot)  # what stands there names an attempt that is over: it may stay

    def close(self, *, is_all_recorded: bool) -> None:
        """An orderly end. The file stays where orders are Processing still: the next run reads it.

        Args:
            is_all_recorded: whether everything was recorded that has happened to orders.
        """
        if self._slots or not is_all_recorded:
            self._write_header(is_crash=False)
        else:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _write_header(self, *, is_crash: bool) -> None:
        boot_id, device, inode, run_id, size = self._identity
        flags = is_crash | self._is_complete << 1
        _HEADER.pack_into(self._map, 0, _MAGIC, boot_id, device, inode, run_id, size, flags)


def read(database: Path | None, run_id: int) -> Begun:
    """What the last run over a database had begun.

    Args:
        database: its file; None where a server has it, and nothing is noted therefore.
        run_id: of the last run, as the database has it.
    """
    unknown = Begun(None, has_crashed=True)
    if database is None:
        return unknown
    try:
        content = _path(database).read_bytes()
        magic, boot_id, *identity, size, flags = _HEADER.unpack_from(content)
        own = (*_identity(database), run_id)
    except (OSError, struct.error):
        return unknown
    length = _HEADER_SIZE + size * _SLOT.size
    if magic != _MAGIC or tuple(identity) != own or len(content) != length or not any(boot_id):
        return unknown
    if boot_id != _boot_id():
        return Begun(None, has_crashed=False)
    is_crash, is_complete = flags & 1, flags & 2
    if not is_complete:
        return Begun(None, has_crashed=bool(is_crash))
    slots = _SLOT.iter_unpack(content[_HEADER_SIZE:])
    attempts = {Attempt(sequence, noted >> 2): Progress(noted & 3) for sequence, noted in slots if noted}
    return Begun(attempts, has_crashed=bool(is_crash))


def _path(database: Path) -> Path:
    return database.with_name(f"{database.name}.begun")


def _identity(database: Path) -> tuple[int, int]:
    found = database.stat()
    return found.st_dev, found.st_ino


def _boot_id() -> bytes:
    """Differs after each start of the machine; zeros where that cannot be found out."""
    try:
        return _BOOT_ID.read_bytes().strip().ljust(36, b"\0")[:36]
    except OSError:
        return bytes(36)
