"""Hints: engines over one database tell each other that there is something new, so that they look at once.

A hint may be lost, or be swallowed by a pooler between an engine and the server: each engine looks by itself as well,
only less often.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

import psycopg

_CHANNEL = "ordermill"
GIVE = f"SELECT pg_notify('{_CHANNEL}', ?)"
"""Tells all who listen; its parameter is the run of the engine that does."""
_LISTEN = f"LISTEN {_CHANNEL}"
_DEAF_SECONDS = 0.2
"""After one was heard: those that come meanwhile are heard as one."""
_AGAIN_SECONDS = 5.0


class Hints:
    """Listens, in a thread of its own and with a session of its own.

    Args:
        parameters: of the connection, as libpq names them.
        own: gives the run of the engine that listens, whose own hints say nothing to it.
        hear: called in that thread.
    """

    def __init__(self, parameters: dict[str, Any], own: Callable[[], int], hear: Callable[[], None]) -> None:
        self._parameters = parameters
        self._own = own
        self._hear = hear
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="ordermill-hints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no longer."""
        self._end.close()
        self._thread.join()
        self._ended.close()

    def _run(self) -> None:
        while True:
            try:
                with psycopg.connect(**self._parameters, autocommit=True) as session:
                    session.execute(_LISTEN)
                    while self._waits(session):
                        if self._is_any_of_others(session):
                            self._hear()
                            if self._has_ended(_DEAF_SECONDS):
                                return
                    return
            except psycopg.Error:  # the engine itself says so where the server is away
                if self._has_ended(_AGAIN_SECONDS):
                    return

    def _waits(self, session: psycopg.Connection[Any]) -> bool:
        """Until something has come; False at the end."""
        return self._ended.fileno() not in wait([session.fileno(), self._ended.fileno()])

    def _has_ended(self, seconds: float) -> bool:
        return bool(wait([self._ended.fileno()], seconds))

    def _is_any_of_others(self, session: psycopg.Connection[Any]) -> bool:
        session.pgconn.consume_input()
        own, is_any = str(self._own()).encode(), False
        while (given := session.pgconn.notifies()) is not None:
            is_any = is_any or given.extra != own
        return is_any
