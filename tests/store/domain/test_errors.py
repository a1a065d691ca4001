"""Every error says what was wrong, and whoever embeds the engine can catch them all as one."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from ordermill.store.domain import errors


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.InvalidOrder((errors.FieldFault("/user_id", "missing"),)), ["/user_id", "missing"]),
        (errors.InvalidOrder((errors.FieldFault("", "not an object"),)), ["order: not an object"]),
        (errors.OrderNotFound("o-1"), ["'o-1'"]),
        (errors.OrderConflict("o-1"), ["'o-1'", "other content"]),
        (errors.TransitionRefused("o-1", "Completed", "Cancelled"), ["'o-1'", "Completed", "Cancelled"]),
        (errors.BacklogFull(9, 2, 10), ["9", "2", "10", "later"]),
        (errors.EngineStopped(), ["stopping"]),
        (errors.StoreUnavailable(OSError("disk full")), ["disk full", "nothing was changed"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_says_what_was_wrong(error: Exception, words: list[str]) -> None:
    assert [word for word in words if word not in str(error)] == []


def test_all_errors_have_one_base() -> None:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)]

    assert len(classes) > 8
    assert all(issubclass(kind, errors.OrdermillError) for kind in classes)


@pytest.mark.parametrize(
    "error",
    [
        errors.BacklogFull(5, 1, 5),
        errors.UserBacklogFull("u-1", 5, 1, 5, 3),
        errors.EngineStopped(),
        errors.StoreUnavailable(OSError("disk full")),
    ],
)
def test_errors_that_pass_say_when_to_try_again(error: Any) -> None:
    assert error.retry_after_seconds > 0
