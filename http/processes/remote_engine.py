"""The far end of the channel: the engine, as a process that serves HTTP has it."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from ...engine import Engine, EngineStopped, Reply
from ...engine.reply import answer, fail
from ...engine.requests import Request, Wait
from ...engine.startup import MAX_READERS
from ...store.connect import connect
from ...store.reader import Reader
from ...store.statements import Database
from .channel import AnnounceFacade, Answer, Asked, EngineHealth, Forgotten, Sender, Sent

T = TypeVar("T")

_SILENT_SECONDS = 3.0


class RemoteEngine(Engine):
    """An engine in another process. What can be read is read straight from the database.

    Args:
        connection: to that process.
        path: the engine's database.
    """

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection = connection
        self._reader = Reader(connect(path), MAX_READERS)
        self._numbers = itertools.count()
        self._asked: dict[int, Asked] = {}
        self._is_closed = False
        self._may_wait = True
        words = ("the engine's process has said nothing yet",)
        self._health = EngineHealth(words, words, Counter(), ())
        self._heard_at = time.monotonic()
        self._sender = Sender(connection)

    def serve(self) -> None:
        """Take answers until the engine's process says that it stops, or has gone."""
        with suppress(EOFError, OSError):
            while self._take(self._connection.recv()):
                pass

    def close(self) -> None:
        """Ask nothing more. Whoever waits for an answer is told that the engine has stopped."""
        self._is_closed = True
        self._sender.end()
        self._connection.close()
        for number in list(self._asked):
            self._settle(Answer(number, None, EngineStopped()))
        self._reader.close()

    def announce(self) -> None:
        """Tell the engine's process that this facade takes requests."""
        self._send(AnnounceFacade(Reply()))

    def unready_reasons(self) -> tuple[str, ...]:
        """Why the engine is not ready to take orders, in words for people; empty while it is."""
        return self._current().unready_reasons

    def dead_actors(self) -> tuple[str, ...]:
        """Actors that have died, which none should, in words for people; empty while all live."""
        return self._current().dead_actors

    def incidents(self) -> Counter[str]:
        """Unexpected errors since the start, by actor; each was logged, and the actor went on."""
        return self._current().incidents

    def warnings(self) -> tuple[str, ...]:
        """What an operator should mend although orders are taken, in words for people; empty where there is nothing."""
        return self._current().warnings

    def interrupt_waits(self) -> None:
        """Have every wait end with EngineStopped, now and from now on."""
        self._may_wait = False
        for number, request in list(self._asked.items()):
            if isinstance(request, Wait):
                self._settle(Answer(number, None, EngineStopped()))

    def send(self, request: Request) -> None:
        """Pass on a request, whose reply will be set.

        Raises:
            EngineStopped: the engine has stopped.
        """
        if isinstance(request, Wait) and not self._may_wait:
            raise EngineStopped
        self._send(request)

    def _send(self, request: Asked) -> None:
        number = next(self._numbers)
        self._asked[number] = request
        if self._is_closed:
            del self._asked[number]
            raise EngineStopped
        if isinstance(request, Wait):
            request.reply.when_done(partial(self._forget, number))
        self._sender.send(Sent(number, request._replace(reply=None)))  # type: ignore[arg-type]  # it stays here

    def _forget(self, number: int) -> None:
        if self._asked.pop(number, None) is not None:  # who waited waits no longer, though no answer has come
            self._sender.send(Forgotten(number))

    def _take(self, messages: Sequence[Answer | EngineHealth | None]) -> bool:
        self._heard_at = time.monotonic()
        for message in messages:
            if message is None:
                return False
            if isinstance(message, EngineHealth):
                self._health = message
            else:
                self._settle(message)
        return True

    def _settle(self, result: Answer) -> None:
        request = self._asked.pop(result.number, None)
        if request is None:
            return
        if result.error is None:
            answer(request.reply, result.value)
        else:
            fail(request.reply, result.error)

    def _current(self) -> EngineHealth:
        silent = time.monotonic() - self._heard_at
        if silent <= _SILENT_SECONDS and not self._is_closed:
            return self._health
        words = (f"the engine's process has said nothing for {silent:.0f} s",)
        return self._health._replace(unready_reasons=words, dead_actors=words)

    def _read(self, query: Callable[[Database], T]) -> T:
        if self._is_closed:
            raise EngineStopped
        return self._reader.read(query)
