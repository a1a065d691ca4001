"""A handler to hold, for users' tests of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ordermill.engine import OrderEngine, OrderStatus
from ordermill.engine.testing import Held, handlers, make_order


def test_a_held_handler_holds_every_order_until_it_is_released(start_engine: Callable[..., OrderEngine]) -> None:
    handler = Held()
    engine = start_engine(handler, processors=2)
    receipts = engine.submit_many([make_order("o-1"), make_order("o-2")])

    assert {handler.begun(), handler.begun()} == {"o-1", "o-2"}
    assert not handler.has_begun_more()
    assert engine.status("o-1") is engine.status("o-2") is OrderStatus.PROCESSING
    handler.release()
    assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.COMPLETED}
    assert engine.submit(make_order("o-3")).wait(timeout=60) is OrderStatus.COMPLETED
    assert handler.has_begun_more()


def test_a_held_handler_says_that_it_was_not_called() -> None:
    with pytest.raises(TimeoutError, match="not called with a further order"):
        Held().begun(timeout=0)


def test_a_handler_that_nobody_releases_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "_SECONDS", 0)

    with pytest.raises(TimeoutError, match="has not released the handler"):
        Held()(make_order())
