"""The examples in the docstrings of the public names run as they stand, over a real database."""

from __future__ import annotations

import doctest
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ordermill import engine
from ordermill.engine import testing

NAMES: dict[str, Any] = {
    **{name: getattr(engine, name) for name in engine.__all__},
    **{name: getattr(testing, name) for name in testing.__all__},
    "Decimal": Decimal,
}
"""What an example may use without an import."""
WITH_EXAMPLE = (
    "BacklogFull",
    "DatabaseRefused",
    "Durability",
    "Effect",
    "EngineConfig",
    "EngineStopped",
    "Event",
    "EventStream",
    "FieldFault",
    "Held",
    "IdempotencyKey",
    "InvalidArgument",
    "InvalidConfiguration",
    "InvalidOrder",
    "ManualClock",
    "OnInterrupted",
    "Order",
    "OrderConflict",
    "OrderEngine",
    "OrderNotFound",
    "OrderRecord",
    "OrderStatus",
    "OrdermillError",
    "Outcome",
    "Receipt",
    "Recovered",
    "Reject",
    "Reply",
    "SubmissionTooLarge",
    "Transition",
    "TransitionRefused",
    "WatchedClock",
    "make_order",
)


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_the_example_of_a_public_name_runs_as_it_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.DocTestFinder().find(NAMES[name], name, globs=dict(NAMES))
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)

    assert sum(len(test.examples) for test in found) > 0
    for test in found:
        assert runner.run(test, out=said.append).failed == 0, "".join(said)
