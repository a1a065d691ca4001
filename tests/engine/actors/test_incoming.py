"""Whoever is about to commit may wait a moment for orders that a server is reading."""

from __future__ import annotations

import threading

from ordermill.engine.actors.incoming import Incoming


def test_nobody_waits_where_none_are_expected() -> None:
    assert not Incoming().wait(60)


def test_they_are_waited_for_until_they_have_come() -> None:
    incoming = Incoming()
    incoming.expect()
    waited: list[bool] = []
    waiter = threading.Thread(target=lambda: waited.append(incoming.wait(60)))
    waiter.start()
    waiter.join(0.05)
    assert waited == []

    incoming.end()

    waiter.join(60)
    assert waited == [True]


def test_they_are_waited_for_so_long_at_the_most_and_not_again() -> None:
    incoming = Incoming()
    incoming.expect()

    assert incoming.wait(0)
    assert not incoming.wait(60)  # as from a server that has stopped meanwhile

    incoming.expect()
    assert incoming.wait(0)
