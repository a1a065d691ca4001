"""A reason is a line for people that can be stored and shown."""

from __future__ import annotations

import pytest

from ordermill.store.domain.errors import FieldFault
from ordermill.store.domain.reason import reason_faults

FAULT = FieldFault("/reason", "must be a string of 1 to 500 characters, none of them a control or a mark of direction")


@pytest.mark.parametrize("reason", ["x", "ordered twice", "Größe falsch 😀", '"', "x" * 500])
def test_a_reason_is_a_line_of_text(reason: str) -> None:
    assert reason_faults(reason) == []


@pytest.mark.parametrize(
    "reason",
    [None, "", "x" * 501, "a\nb", "\x00", "\x7f", "\x85", "\ud800", "\x9b2K", "\u202egnp", "a\u2028b", 5, b"x", ["x"]],
    ids=repr,
)
def test_anything_else_is_refused(reason: object) -> None:
    assert reason_faults(reason) == [FAULT]
