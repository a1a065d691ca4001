"""Work that a processor takes from the left and the pool takes back from the right."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from ordermill.engine.testing import START_US, make_order
from ordermill.engine.work import InHand, Work
from ordermill.store.lifecycle import OrderStatus
from ordermill.store.record import OrderRecord


def records(count: int) -> list[OrderRecord]:
    return [
        OrderRecord(make_order(f"o-{i}"), i, OrderStatus.PROCESSING, 1, 0, START_US, START_US, None)
        for i in range(count)
    ]


def test_orders_are_begun_in_their_sequence() -> None:
    given = records(2)
    work = Work(given)
    assert work.in_hand is None

    assert work.begin(5) is given[0]
    assert work.in_hand == InHand(given[0], 5)
    assert work.begin(6) is given[1]
    assert work.in_hand == InHand(given[1], 6)
    assert work.begin(7) is None
    assert work.in_hand is None


def test_what_is_not_begun_is_taken_back_in_its_sequence() -> None:
    given = records(4)
    work = Work(given)
    work.begin(5)

    assert work.take_back() == given[1:]
    assert work.take_back() == []
    assert work.in_hand == InHand(given[0], 5)
    assert work.begin(6) is None


def test_no_order_is_both_begun_and_taken_back() -> None:
    for _ in range(20):
        given = records(500)
        work = Work(given)
        both = threading.Barrier(2)

        def begin_all(work: Work = work, both: threading.Barrier = both) -> list[OrderRecord]:
            both.wait(timeout=5)
            begun = []
            while (record := work.begin(5)) is not None:
                begun.append(record)
            return begun

        with ThreadPoolExecutor(1) as threads:
            future = threads.submit(begin_all)
            both.wait(timeout=5)
            taken = work.take_back()
            begun = future.result(timeout=5)

        assert begun + taken == given
