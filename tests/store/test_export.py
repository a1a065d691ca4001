"""The export grows by whole lines of orders that are gone, whatever happened to the one who wrote it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest

from ordermill.engine.testing import START_US, make_order
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import OrderRecord, Transition
from ordermill.store.export import append, mend

STEP = Transition(None, OrderStatus.PENDING, START_US, 0, "accepted", "r-1", "shop")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the export goes."""
    return tmp_path / "removed.ndjson"


def record_of(order_id: str, items: int = 1) -> OrderRecord:
    order = make_order(order_id, item_ids=("sku" * 20,) * items)
    return OrderRecord(order, 1, OrderStatus.FAILED, 2, 1, START_US, START_US + 1, None, "boom")


def append_all(path: Path, *order_ids: str, items: int = 1) -> None:
    append(path, [(record_of(order_id, items), [STEP]) for order_id in order_ids])


def mend_with(path: Path, *, stored: Collection[str] = (), most: int = 10) -> None:
    mend(path, most, lambda order_id, *_: order_id in stored)


def ids_in(path: Path) -> list[str]:
    text = path.read_text()
    assert text.endswith("\n") or not text
    return [json.loads(line)["order_id"] for line in text.splitlines()]


def test_an_order_is_a_line_with_all_that_is_known_of_it(path: Path) -> None:
    append_all(path, "a")

    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "order_id": "a",
        "user_id": "u-1",
        "item_ids": ["sku" * 20],
        "total_amount": "19.99",
        "status": "Failed",
        "attempts": 2,
        "failures": 1,
        "last_error": "boom",
        "created_at": "2027-01-15T08:00:00.000000Z",
        "updated_at": "2027-01-15T08:00:00.000001Z",
        "transitions": [
            {
                "from": None,
                "to": "Pending",
                "at": "2027-01-15T08:00:00.000000Z",
                "attempt": 0,
                "reason": "accepted",
                "request_id": "r-1",
                "by": "shop",
            }
        ],
    }


def test_it_grows_by_what_is_appended(path: Path) -> None:
    append_all(path, "a", "b")
    append_all(path, "c")

    assert ids_in(path) == ["a", "b", "c"]


@pytest.mark.parametrize("items", [1, 100])
@pytest.mark.parametrize("cut", [1, 2, 30, 200, 5_000])
def test_a_line_that_is_cut_short_is_removed(path: Path, items: int, cut: int) -> None:
    append_all(path, *"abc", items=items)
    size = path.stat().st_size
    append_all(path, "d", items=items)
    length = path.stat().st_size - size
    with path.open("r+b") as file:
        file.truncate(size + min(cut, length - 2))

    mend_with(path)

    assert ids_in(path) == ["a", "b", "c"]
    assert path.stat().st_size == size


def test_a_line_longer_than_what_is_read_at_once_is_removed_as_well(path: Path) -> None:
    append_all(path, "a")
    with path.open("ab") as file:
        file.write(b'{"order_id":"' + b"x" * 300_000)

    mend_with(path)

    assert ids_in(path) == ["a"]


def test_a_last_line_that_lacks_only_its_end_gets_it(path: Path) -> None:
    append_all(path, "a", "b")
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))

    mend_with(path)

    assert ids_in(path) == ["a", "b"]


def test_lines_of_orders_that_are_still_stored_are_taken_back(path: Path) -> None:
    append_all(path, *"abcde")
    with path.open("ab") as file:
        file.write(b'{"order_')

    mend_with(path, stored="bde")

    assert ids_in(path) == ["a", "b", "c"]


def test_no_more_lines_are_taken_back_than_were_appended_at_once(path: Path) -> None:
    append_all(path, *"abcde")

    mend_with(path, stored="abcde", most=2)

    assert ids_in(path) == ["a", "b", "c"]


@pytest.mark.parametrize("content", ["", "\n", "# a remark\n", '{"order_id": 5}\n', '["a"]\n', "null\n"], ids=repr)
def test_whole_lines_of_somebody_else_stay(path: Path, content: str) -> None:
    path.write_text(content)

    mend_with(path)

    assert path.read_text() == content


def test_there_is_nothing_to_mend_where_there_is_no_file(path: Path) -> None:
    mend_with(path)

    assert not path.exists()


def test_a_full_disk_is_an_error(path: Path) -> None:
    path.symlink_to("/dev/full")

    with pytest.raises(OSError, match="No space left"):
        append_all(path, "a")
