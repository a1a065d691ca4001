"""What a handler may raise, and the one that stands in for it."""

from __future__ import annotations

import time

import pytest

from ordermill.engine import OrdermillError, Reject
from ordermill.engine.handler import Simulated
from ordermill.engine.testing import make_order


def test_a_rejection_has_its_reason() -> None:
    rejection = Reject("the card was declined")

    assert (rejection.reason, str(rejection)) == ("the card was declined",) * 2
    assert isinstance(rejection, OrdermillError)


@pytest.mark.parametrize(("seconds", "slept"), [(0, []), (0.25, [0.25])])
def test_the_simulated_handler_only_takes_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, slept: list[float]
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(time, "sleep", asked.append)

    Simulated(seconds)(make_order())

    assert asked == slept
