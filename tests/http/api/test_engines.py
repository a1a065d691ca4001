"""The engines over a database, over HTTP."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.http.conftest import Client

    from ordermill.engine.testing import Held

MakeOrder = Callable[..., dict[str, Any]]


def test_an_engine_says_where_it_works_and_on_how_much(held: Client, gate: Held, order: MakeOrder) -> None:
    held.post("/orders", order())
    gate.begun(60)

    (engine,) = held.get("/engines").json["engines"]

    assert engine.pop("started_at") <= engine.pop("heartbeat_at")
    processors = held.get("/control").json["processors"]
    assert engine == {
        "engine_id": "1",
        "host": platform.node(),
        "state": "running",
        "processors": processors,
        "processing": 1,
    }
