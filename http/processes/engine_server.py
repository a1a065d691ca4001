"""The near end of the channel: in the engine's process, for each process that serves HTTP."""

from __future__ import annotations

import logging
import pickle
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from ...engine import EngineStopped, OrderEngine, Reply
from ...engine.execution.handler import describe
from ...engine.reply import answer, fail
from ...engine.requests import SubmitOrders, Wait
from ..transport.bounded_log import BoundedLog
from .channel import Channel, ChannelLoop
from .messages import (
    Announced,
    Answered,
    Asked,
    Ended,
    EngineHealth,
    Failed,
    Forgotten,
    FromEngine,
    FromWorker,
    Stopping,
    Submitted,
    accepted,
    decode_from_worker,
    encode,
    request_of,
)

_TELL_SECONDS = 1.0


class EngineServer:
    """The engine's end: answers what a process that serves HTTP asks for, and tells it how the engine is.

    Args:
        engine: running.
        channels: the loop that all is done in.
        end: of the pair of sockets.
    """

    def __init__(self, engine: OrderEngine, channels: ChannelLoop, end: socket.socket) -> None:
        self._engine = engine
        self._channels = channels
        self._channel = Channel(self._take, self._lose)
        self.announced: Reply[None] = Reply()
        """Set when the other process takes requests."""
        self.ended = threading.Event()
        """Set when it has gone, or has closed its end."""
        self._waits: dict[int, Reply[Any]] = {}
        self._errors = BoundedLog(logging.getLogger("ordermill.http.processes"))
        channels.wake_ups.call(partial(self._begin, end))

    def tell_stop(self) -> None:
        """Tell the other process that a stop has begun. From any thread; whatever is refused then comes behind."""
        self._send(Stopping())

    def tell_end(self) -> None:
        """Have the other process told to end, after all answers that are there. From any thread."""
        self._channels.wake_ups.call(partial(self._send, Ended()))

    def close(self) -> None:
        """Let go of the other process. From any thread."""
        self._channels.wake_ups.call(self._channel.close)
        self.ended.wait()

    # In the loop.

    def _begin(self, end: socket.socket) -> None:
        self._channel.open(self._channels.loop, end, self._attend)
        self._tell_health()

    def _attend(self, end: socket.socket, read: Callable[[], bool]) -> None:
        with suppress(EngineStopped):  # the loop reads, and says so to whoever asks
            self._engine.attend(end, read)

    def _lose(self) -> None:
        for reply in list(self._waits.values()):
            answer(reply, None)
        self.ended.set()

    def _send(self, message: FromEngine) -> None:
        self._channel.send(encode(message))

    def _take(self, content: memoryview) -> None:
        message = decode_from_worker(content)
        if isinstance(message, Submitted):
            self._ask(message)
        else:  # none of the recorder's business
            self._channels.wake_ups.call(partial(self._take_other, message))

    def _take_other(self, message: FromWorker) -> None:
        match message:
            case Asked():
                self._ask(message)
            case Forgotten(number):
                if (reply := self._waits.get(number)) is not None:
                    answer(reply, None)
            case Announced():
                answer(self.announced, None)

    def _tell_health(self) -> None:
        if self.ended.is_set():
            return
        self._channels.loop.call_later(_TELL_SECONDS, self._tell_health)
        if self._channel.is_behind:  # who does not read need not be told again and again
            return
        engine = self._engine
        try:
            health = EngineHealth(engine.unready_reasons(), engine.dead_actors(), engine.incidents(), engine.warnings())
        except Exception as error:  # requests are served on
            self._errors.error("the engine cannot say how it is", error)
            words = ("the engine cannot say how it is: the log says why",)
            health = EngineHealth(words, words, {}, ())
        self._send(health)

    def _ask(self, message: Submitted | Asked) -> None:
        number = message.number
        reply = Reply[Any]()
        request = request_of(message, reply)
        if isinstance(request, Wait):
            self._waits[number] = reply
        if isinstance(request, SubmitOrders):
            # In the thread that has stored them: to wake up the loop's takes longer than to write how that went.
            reply.when_done(partial(self._answer, number, reply, accepted))
        else:
            answering = partial(self._answer, number, reply, _answered)
            reply.when_done(partial(self._channels.wake_ups.call, answering))
        try:
            self._engine.hand_in(request) if isinstance(request, SubmitOrders) else self._engine.send(request)
        except Exception as error:  # it belongs to whoever asked
            fail(reply, error)

    def _answer(self, number: int, reply: Reply[Any], tell: Callable[[int, Any], FromEngine]) -> None:
        self._waits.pop(number, None)
        try:
            value = reply.get()
        except BaseException as error:  # likewise
            self._send(Failed(number, pickle.dumps(_that_travels(error))))
        else:
            self._send(tell(number, value))


def _answered(number: int, value: object) -> Answered:
    return Answered(number, pickle.dumps(value))


def _that_travels(error: BaseException) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a class of somebody else's
        return RuntimeError(describe(error))
    # A SystemExit of the engine's must not end a server.
    return error if isinstance(error, Exception) else RuntimeError(describe(error))
