from __future__ import annotations

import sqlite3

import pytest
from peewee import DatabaseError, IntegrityError, OperationalError

from ordermill.store.domain.errors import StoreUnavailable
from ordermill.store.translation import translated_errors


@pytest.mark.parametrize("error", [OperationalError("busy"), DatabaseError("bad"), sqlite3.OperationalError("busy")])
def test_every_error_of_the_database_is_that_the_store_is_unavailable(error: Exception) -> None:
    with pytest.raises(StoreUnavailable, match=str(error)) as raised, translated_errors():
        raise error

    assert raised.value.__cause__ is error


def test_no_other_error_is_translated() -> None:
    with pytest.raises(OSError, match="full"), translated_errors():
        raise OSError("full")


def test_further_errors_are_translated_where_they_are_named() -> None:
    with pytest.raises(StoreUnavailable, match="full"), translated_errors(also=(OSError,)):
        raise OSError("full")


def test_an_error_that_is_left_out_is_raised_as_it_is() -> None:
    with pytest.raises(IntegrityError), translated_errors(but=(IntegrityError,)):
        raise IntegrityError("CHECK constraint failed")


def fail_to_roll_back() -> None:
    try:
        raise sqlite3.OperationalError("the disk is full")
    except sqlite3.Error:
        raise OperationalError("cannot rollback") from None


def test_a_rollback_that_fails_too_does_not_hide_the_reason() -> None:
    with pytest.raises(StoreUnavailable, match="the disk is full"), translated_errors():
        fail_to_roll_back()


def test_what_the_caller_was_handling_is_not_taken_for_the_reason() -> None:
    try:
        raise FileNotFoundError("the caller's own file")
    except FileNotFoundError:
        with pytest.raises(StoreUnavailable, match="busy"), translated_errors():
            fail_with("busy")


def fail_with(message: str) -> None:
    raise OperationalError(message)
