"""Work in slices: what takes a thread long leaves the interpreter to those who need it for a moment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_SLICE_SECONDS = 0.00015
_SLICES_WITH_RESTS = 20
_LONGEST_REST_SECONDS = 0.005
_INTERRUPTED = 1.2
"""A slice that takes so many times its own processor time has waited for others."""


def in_slices(items: Iterable[T], rests: float) -> Iterator[T]:
    """The same items, with rests in between while others need the interpreter.

    One thread runs Python at a time. Whoever needs it from one that has much to do gets it after the switch interval,
    half a millisecond, and again for each piece of a request and each statement of a transaction. So who has much to
    do looks whether it was interrupted, and if so it rests after each slice for a while, and then looks again.

    Args:
        items: what is done between two of them takes some microseconds; one that takes longer is a slice of its own.
        rests: how many times as long as a slice a rest takes.
    """
    left = 0
    began, used_before = time.perf_counter(), time.thread_time()
    for item in items:
        yield item
        took = time.perf_counter() - began
        if took < _SLICE_SECONDS:
            continue
        used = time.thread_time() - used_before
        if took > _INTERRUPTED * used:
            left = _SLICES_WITH_RESTS
        if left:
            left -= 1
            time.sleep(min(rests * used, _LONGEST_REST_SECONDS))
        began, used_before = time.perf_counter(), time.thread_time()
