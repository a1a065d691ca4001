"""The kind of event loop: uvloop's where there is one, and asyncio's where there is none."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from ordermill.http.transport import loops


@pytest.fixture
def without_uvloop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As it is where uvloop is not installed."""
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "uvloop", None)
        importlib.reload(loops)
        yield
    importlib.reload(loops)


def test_uvloop_makes_the_loop_where_there_is_one() -> None:
    uvloop = pytest.importorskip("uvloop")

    with closing(loops.new_event_loop()) as loop:
        assert isinstance(loop, uvloop.Loop)


@pytest.mark.usefixtures("without_uvloop")
def test_without_it_asyncio_does() -> None:
    with closing(loops.new_event_loop()) as loop:
        assert isinstance(loop, asyncio.BaseEventLoop)
        assert loop.run_until_complete(asyncio.sleep(0, "ran")) == "ran"
