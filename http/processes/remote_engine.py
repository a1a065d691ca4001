"""The far end of the channel: the engine, as a process that serves HTTP has it."""

from __future__ import annotations

import itertools
import pickle
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ...engine import Engine, EngineStopped
from ...engine.reply import Reply, answer, fail
from ...engine.requests import Request, SubmitOrders, Wait
from ...engine.startup import MAX_READERS
from ...store.connect import connect
from ...store.reader import Reader
from ...store.statements import Database
from ..transport.server import HttpServer
from .channel import Channel
from .messages import (
    Accepted,
    Announced,
    Answered,
    Ended,
    EngineHealth,
    Failed,
    Forgotten,
    FromWorker,
    Stopping,
    acceptances_of,
    decode_from_engine,
    encode,
    message_of,
)

T = TypeVar("T")

_SILENT_SECONDS = 3.0


class RemoteEngine(Engine):
    """An engine in another process. What can be read is read straight from the database.

    What is asked of it may be asked from any thread; it is sent, and answered, in the loop of a server.

    Args:
        address: the engine's database.
    """

    def __init__(self, address: str) -> None:
        self._reader = Reader(connect(address), MAX_READERS)
        self._channel = Channel(self._take, self._lose)
        self._numbers = itertools.count()
        self._asked: dict[int, Request] = {}
        self._waits: set[int] = set()
        self._is_closed = False
        self._may_wait = True
        words = ("the engine's process has said nothing yet",)
        self._health = EngineHealth(words, words, {}, ())
        self._heard_at = time.monotonic()
        self.stopping: Reply[None] = Reply()
        """Set when the engine's process says that a stop has begun, or has gone."""
        self.ended = threading.Event()
        """Set when it says that the engine has stopped, or has gone."""

    def serve(self, server: HttpServer, end: socket.socket) -> None:
        """Answer what is asked through a server, and tell the engine's process once that takes requests.

        Args:
            server: it; not started yet.
            end: of the pair of sockets that lead to the engine's process.
        """
        self._call_in_loop = server.wake_ups.call
        self._call_in_loop(lambda: self._channel.open(server.loop, end))
        self._send(Announced())

    def close(self) -> None:
        """Ask nothing more. Whoever waits for an answer is told that the engine has stopped."""
        self._is_closed = True
        self._call_in_loop(self._end)
        self._reader.close()

    def unready_reasons(self) -> tuple[str, ...]:
        """Why the engine is not ready to take orders, in words for people; empty while it is."""
        return self._current().unready_reasons

    def dead_actors(self) -> tuple[str, ...]:
        """Actors that have died, which none should, in words for people; empty while all live."""
        return self._current().dead_actors

    def incidents(self) -> Counter[str]:
        """Unexpected errors since the start, by actor; each was logged, and the actor went on."""
        return Counter(self._current().incidents)

    def warnings(self) -> tuple[str, ...]:
        """What an operator should mend although orders are taken, in words for people; empty where there is nothing."""
        return self._current().warnings

    def interrupt_waits(self) -> None:
        """Have every wait end with EngineStopped, now and from now on."""
        self._may_wait = False
        for number in list(self._waits):
            self._settle(number, error=EngineStopped())

    def expect_orders(self, *, are_coming: bool) -> None:
        """Nothing: each of several processes reads for itself, and the engine's need not wait for all of them."""

    def send(self, request: Request) -> None:
        """Pass on a request, whose reply will be set.

        Raises:
            EngineStopped: the engine has stopped.
        """
        if isinstance(request, Wait) and not self._may_wait:
            raise EngineStopped
        number = next(self._numbers)
        self._asked[number] = request
        if self._is_closed:  # looked at afterwards, so that nothing is left unanswered
            del self._asked[number]
            raise EngineStopped
        if isinstance(request, Wait):
            self._waits.add(number)
            request.reply.when_done(partial(self._forget, number))
        self._send(message_of(number, request))

    def _send(self, message: FromWorker) -> None:
        self._channel.send(encode(message))

    def _forget(self, number: int) -> None:
        self._waits.discard(number)
        if self._asked.pop(number, None) is not None:  # who waited waits no longer, though no answer has come
            self._send(Forgotten(number))

    # In the loop.

    def _take(self, content: memoryview) -> None:
        self._heard_at = time.monotonic()
        message = decode_from_engine(content)
        match message:
            case Accepted(number):
                if isinstance(request := self._asked.get(number), SubmitOrders):
                    self._settle(number, acceptances_of(message, request.orders))
            case Answered(number, value):
                self._settle(number, pickle.loads(value))
            case Failed(number, error):
                self._settle(number, error=pickle.loads(error))
            case EngineHealth():
                self._health = message
            case Stopping():
                answer(self.stopping, None)
            case Ended():
                self._lose()

    def _settle(self, number: int, value: object = None, *, error: Exception | None = None) -> None:
        request = self._asked.pop(number, None)
        if request is None:
            return
        if error is None:
            answer(request.reply, value)
        else:
            fail(request.reply, error)

    def _lose(self) -> None:
        answer(self.stopping, None)
        self.ended.set()

    def _end(self) -> None:
        self._channel.close()
        for number in list(self._asked):
            self._settle(number, error=EngineStopped())

    def _current(self) -> EngineHealth:
        silent = time.monotonic() - self._heard_at
        if silent <= _SILENT_SECONDS and not self._is_closed:
            return self._health
        words = (f"the engine's process has said nothing for {silent:.0f} s",)
        return EngineHealth(words, words, self._health.incidents, self._health.warnings)

    def _read(self, query: Callable[[Database], T]) -> T:
        if self._is_closed:
            raise EngineStopped
        return self._reader.read(query)
