"""A cheap call waits for what another one does in one go: nothing that is asked for takes the interpreter for long.

What is measured is processor time of the longest call into C, and of the collector's: between these the interpreter
gives others their turn.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from ordermill.engine import OrderEngine
from ordermill.http.application import wsgi_application

BOUND_SECONDS = 0.1
MEBIBYTE = 1024 * 1024


class Longest:
    """The longest that this thread kept the interpreter to itself, in seconds of processor time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.what = ""
        self._began: list[float] = []

    def profile(self, _: FrameType, event: str, what: Any) -> None:
        """What `sys.setprofile` calls."""
        if event == "c_call":
            self._began.append(time.thread_time())
        elif event in ("c_return", "c_exception") and self._began:
            self._note(getattr(what, "__qualname__", str(what)))

    def collect(self, phase: str, _: dict[str, int]) -> None:
        """What the collector calls."""
        if phase == "start":
            self._began.append(time.thread_time())
        elif self._began:
            self._note("the collector")

    def _note(self, what: str) -> None:
        seconds = time.thread_time() - self._began.pop()
        if not self._began and seconds > self.seconds:
            self.seconds, self.what = seconds, what


@contextmanager
def watched() -> Iterator[Longest]:
    """Watch what is done in this thread."""
    longest = Longest()
    gc.callbacks.append(longest.collect)
    sys.setprofile(longest.profile)
    try:
        yield longest
    finally:
        sys.setprofile(None)
        gc.callbacks.remove(longest.collect)


def assert_short(call: Callable[[], None]) -> None:
    """Nothing in it takes long; seen several times, where it did: a machine may stand still for a moment."""
    for _ in range(3):
        with watched() as longest:
            call()
        if longest.seconds < BOUND_SECONDS:
            return
    raise AssertionError(f"{longest.what} took {longest.seconds} s")


UNKNOWN = b"{" + b",".join(b'"%x":1' % number for number in range(5_000)) + b"}"
NAMED_TWICE = b'{"order_id":"o-1",' + b",".join([b'"user_id":"u-1"'] * 60_000) + b"}"
NESTED = b"[" * 30 + b"]" * 30
GOOD = json.dumps(
    {"order_id": "o-%d", "user_id": "u-1", "item_ids": ["x" * 64] * 100, "total_amount": 1}, separators=(",", ":")
).encode()


def fill(line: bytes, before: bytes = b"", between: bytes = b"\n", after: bytes = b"") -> bytes:
    """16 MiB of a line, again and again."""
    lines = min(10_000, 15 * MEBIBYTE // len(line))
    return before + between.join([line.replace(b"%d", b"%d" % number) for number in range(lines)]) + after


BULKS = {
    "lines of unknown fields": ("application/x-ndjson", fill(UNKNOWN)),
    "an array of unknown fields": ("application/json", fill(UNKNOWN, b"[", b",", b"]")),
    "fields that are named twice": ("application/json", fill(NAMED_TWICE, b"[", b",", b"]")),
    "nested lists": ("application/x-ndjson", fill(NESTED)),
    "large orders": ("application/json", fill(GOOD, b"[", b",", b"]")),
    "empty lines": ("application/x-ndjson", b"\n" * 15 * MEBIBYTE),
    "one line": ("application/x-ndjson", b"a" * 15 * MEBIBYTE),
    "one string": ("application/json", b'["' + b"a" * 15 * MEBIBYTE + b'"]'),
    "numbers": ("application/json", b"[" + b"1," * (7 * MEBIBYTE) + b"1]"),
    "an order of one long number": ("application/json", b'[{"total_amount":' + b"1" * 15 * MEBIBYTE + b"}]"),
}


Ask = Callable[..., tuple[str, bytes]]


@pytest.fixture
def ask(start_engine: Callable[..., OrderEngine]) -> Ask:
    """Asks the API, in this thread."""
    engine = start_engine()
    application = wsgi_application(engine)

    def send(method: str, path: str, body: bytes = b"", media_type: str = "application/json") -> tuple[str, bytes]:
        told: list[str] = []

        def begin(status: str, *_: Any) -> Callable[[bytes], object]:
            told.append(status)
            return lambda _: None

        name, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": name,
            "QUERY_STRING": query,
            "CONTENT_TYPE": media_type,
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
        }
        parts = application(environ, begin)
        return told[0], b"".join(parts)

    send("GET", "/healthz")  # whatever is done once, and not again
    return send


@pytest.mark.parametrize("name", BULKS)
def test_no_bulk_keeps_others_from_their_turn(ask: Ask, name: str) -> None:
    media_type, body = BULKS[name]

    def send() -> None:
        status, _ = ask("POST", "/orders/bulk", body, media_type)
        assert status[:3] in ("200", "400", "413", "422")

    assert_short(send)


def test_no_list_keeps_others_from_their_turn(ask: Ask) -> None:
    for batch in range(10):
        orders = [GOOD.replace(b"%d", b"%d-%d" % (batch, number)) for number in range(100)]
        ask("POST", "/orders/bulk", b"[%b]" % b",".join(orders))

    def read() -> None:
        status, answer = ask("GET", "/orders?limit=1000")
        assert (status, len(answer) > MEBIBYTE) == ("200 OK", True)

    assert_short(read)
