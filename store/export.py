"""The export: a file of removed orders as JSON, one a line. It grows by whole lines, each of an order that is gone."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from .domain.order_fields import order_fields
from .domain.record import OrderRecord, Transition, rfc3339
from .files import OWNER_ONLY, sync

_BLOCK = 64 * 1024
_encode = msgspec.json.Encoder().encode


class _Line(msgspec.Struct):
    """What has to be known of a line."""

    order_id: str
    created_at: str
    updated_at: str


_decode = msgspec.json.Decoder(_Line).decode


def append(path: Path, removed: Iterable[tuple[OrderRecord, Sequence[Transition]]]) -> None:
    """Append orders with their histories; returns when they are on disk.

    Raises:
        OSError: the file did not take them, or not all of them: see `mend`.
    """
    is_new = not path.exists()
    # Without a buffer: what was not written when an error came is not written afterwards.
    with open(path, "ab", buffering=0, opener=_open_as_owner) as file:  # Path.open takes no opener
        for record, history in removed:
            _write(file, _encode(_exported(record, history)) + b"\n")
        os.fsync(file.fileno())
    if is_new:
        sync(path.parent)


def mend(path: Path, most: int, is_stored: Callable[[str, str, str], bool]) -> None:
    """Take back what was appended for a removal that did not come about: the disk was full, or the process died.

    A line that is cut short is removed, and so are the last ones whose orders are still stored. A last line that only
    lacks its end gets it.

    Args:
        path: the file; nothing happens where it does not exist.
        most: how many lines are removed at the most: as many as are appended at once.
        is_stored: whether the database has an order, by its id, `created_at` and `updated_at`.

    Raises:
        OSError: the file cannot be read or written.
    """
    if not path.exists():
        return
    with path.open("r+b", buffering=0) as file:
        size = end = file.seek(0, os.SEEK_END)
        for _ in range(most):
            begin = _begin_of_last_line(file, end)
            line = _read(file, begin, end)
            if not _is_void(line, is_stored):
                break
            end = begin
        if end != size:
            file.truncate(end)
        if end and _read(file, end - 1, end) != b"\n":
            file.seek(end)
            _write(file, b"\n")
        elif end == size:
            return
        os.fsync(file.fileno())


def _open_as_owner(path: str, flags: int) -> int:
    return os.open(path, flags, OWNER_ONLY)


def _is_void(line: bytes, is_stored: Callable[[str, str, str], bool]) -> bool:
    try:
        order = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return bool(line) and not line.endswith(b"\n")
    return is_stored(order.order_id, order.created_at, order.updated_at)


def _begin_of_last_line(file: io.FileIO, end: int) -> int:
    before = end - 1  # the line's own end does not count
    while before > 0:
        begin = max(0, before - _BLOCK)
        found = _read(file, begin, before).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        before = begin
    return 0


def _read(file: io.FileIO, begin: int, end: int) -> bytes:
    file.seek(begin)
    read = bytearray()
    while len(read) < end - begin and (part := file.read(end - begin - len(read))):
        read += part
    return bytes(read)


def _write(file: io.FileIO, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]


def _exported(record: OrderRecord, history: Sequence[Transition]) -> dict[str, object]:
    fields = order_fields(record)
    del fields["ready_at"]  # which an order that is over has not
    return fields | {
        "transitions": [
            {
                "from": step.from_status,
                "to": step.to_status,
                "at": rfc3339(step.at_us),
                "attempt": step.attempt,
                "reason": step.reason,
                "request_id": step.request_id,
                "by": step.acted_by,
            }
            for step in history
        ],
    }
