"""The near end of the channel: in the engine's process, for each process that serves HTTP."""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from ...engine import OrderEngine, Reply
from ...engine.execution.handler import describe
from ...engine.reply import answer, fail
from ...engine.requests import Wait
from ..transport.bounded_log import BoundedLog
from .channel import AnnounceFacade, Answer, Asked, EngineHealth, Forgotten, Sender, Sent

_TELL_SECONDS = 1.0


class EngineServer:
    """The engine's end: answers what a facade asks for.

    Args:
        engine: running.
        connection: to the facade's process.
    """

    def __init__(self, engine: OrderEngine, connection: Connection) -> None:
        self._engine = engine
        self._connection = connection
        self._sender = Sender(connection)
        self.announced: Reply[None] = Reply()
        """Set when the facade takes requests."""
        self._waits: dict[int, Reply[Any]] = {}
        self._errors = BoundedLog(logging.getLogger("ordermill.http.processes"))

    def serve(self) -> None:
        """Answer until the facade says that it stops, or has gone; tell it meanwhile how the engine is."""
        tell_at = time.monotonic()
        with suppress(EOFError, OSError):
            while True:
                now = time.monotonic()
                if now >= tell_at:
                    self._tell_health()
                    tell_at = now + _TELL_SECONDS
                if self._connection.poll(tell_at - now) and not self._take(self._connection.recv()):
                    return

    def tell_end(self) -> None:
        """Have the facade told to stop, after all answers that are there."""
        self._sender.tell_end()

    def close(self) -> None:
        """Let go of the facade, after it has gone."""
        self._sender.end()
        self._connection.close()

    def _take(self, batch: Sequence[Sent | Forgotten | None]) -> bool:
        for message in batch:
            match message:
                case None:
                    return False
                case Sent(number, request):
                    self._ask(number, request)
                case Forgotten(number):
                    if (reply := self._waits.get(number)) is not None:
                        answer(reply, None)
        return True

    def _tell_health(self) -> None:
        if self._sender.is_behind:  # a facade that does not read need not be told again and again
            return
        engine = self._engine
        try:
            health = EngineHealth(engine.unready_reasons(), engine.dead_actors(), engine.incidents(), engine.warnings())
        except Exception as error:  # the facade is served on
            self._errors.error("the engine cannot say how it is", error)
            words = ("the engine cannot say how it is: the log says why",)
            health = EngineHealth(words, words, Counter(), ())
        self._sender.send(health)

    def _ask(self, number: int, request: Asked) -> None:
        reply = Reply[Any]()
        if isinstance(request, Wait):
            self._waits[number] = reply
        reply.when_done(partial(self._answer, number, reply))
        self._pass_on(request._replace(reply=reply))

    def _pass_on(self, request: Asked) -> None:
        match request:
            case AnnounceFacade(reply):
                answer(self.announced, None)
                reply.set()
            case _:
                try:
                    self._engine.send(request)
                except Exception as error:  # it belongs to whoever asked
                    fail(request.reply, error)

    def _answer(self, number: int, reply: Reply[Any]) -> None:
        self._waits.pop(number, None)
        try:
            result = Answer(number, reply.get(), None)
        except BaseException as error:  # likewise
            result = Answer(number, None, _that_travels(error))
        self._sender.send(result)


def _that_travels(error: BaseException) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a class of somebody else's
        return RuntimeError(describe(error))
    # A SystemExit of the engine's must not end a facade.
    return error if isinstance(error, Exception) else RuntimeError(describe(error))
