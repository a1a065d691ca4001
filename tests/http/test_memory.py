"""What connections may hold in memory."""

from __future__ import annotations

from ordermill.http.memory import OWN_BYTES, Loan, Memory


def test_each_holds_a_little_without_asking() -> None:
    memory = Memory(0)

    assert Loan(memory).grow(OWN_BYTES)
    assert Loan(memory).grow(OWN_BYTES)
    assert not Loan(memory).grow(OWN_BYTES + 1)


def test_what_is_beyond_that_is_shared() -> None:
    memory = Memory(100)
    first, second = Loan(memory), Loan(memory)

    assert first.grow(OWN_BYTES - 1)
    assert first.grow(61)
    assert second.grow(OWN_BYTES)
    assert not second.grow(41)
    assert second.grow(40)
    assert not first.grow(1)


def test_what_is_given_back_is_there_for_others() -> None:
    memory = Memory(100)
    first, second = Loan(memory), Loan(memory)
    assert first.grow(OWN_BYTES + 100)

    for _ in range(3):
        assert not second.grow(OWN_BYTES + 1)
        first.end()
        first.end()
        assert second.grow(OWN_BYTES + 100)
        first, second = second, first
