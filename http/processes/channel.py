"""The channel between an engine and a facade in another process.

Both ends send at once what has come up while the last message was under way. The engine's process says how the engine
is without being asked, so that a facade can tell at any moment, even where that process hangs. The channel is a pair of
connected sockets that only these two processes have. When one of them dies, however it dies, the other one knows at
once.
"""

from __future__ import annotations

import itertools
import logging
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from ...engine import Engine, EngineStopped, OrderEngine, Reply
from ...engine.execution.handler import describe
from ...engine.reply import answer, fail
from ...engine.requests import AwaitOrder, Request
from ...engine.startup import MAX_READERS
from ...store.sqlite.reader import Reader
from ...store.statements import Database
from ..transport.bounded_log import BoundedLog

T = TypeVar("T")

_MOST_AT_ONCE = 1_000
_PATIENCE_SECONDS = 10.0
_TELL_SECONDS = 1.0
_SILENT_SECONDS = 3.0


class EngineHealth(NamedTuple):
    """From the engine's process to a facade, every second: how the engine is."""

    trouble: tuple[str, ...]
    dead_actors: tuple[str, ...]
    incidents: Counter[str]
    warnings: tuple[str, ...]


class AnnounceFacade(NamedTuple):
    """From a facade to the engine's process: it takes requests from now on."""

    reply: Reply[None]
    """Set when that has been noted."""


Asked = Request | AnnounceFacade


class _Sent(NamedTuple):
    """A request on its way."""

    number: int
    request: Asked
    """Without its reply."""


class _Forgotten(NamedTuple):
    """Nobody waits for the answer to a request any more."""

    number: int


class _Answer(NamedTuple):
    """What became of a request."""

    number: int
    value: Any
    error: BaseException | None


_Message = _Sent | _Forgotten | _Answer | EngineHealth


class _Sender:
    """Sends messages from a thread of its own, all that wait at once.

    Args:
        connection: to the other process.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: SimpleQueue[_Message | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ordermill-channel", daemon=True)
        self._thread.start()

    def send(self, message: _Message) -> None:
        """Have a message sent; nothing happens when the other process has gone."""
        self._waiting.put(message)

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be sent."""
        return not self._waiting.empty()

    def tell_end(self) -> None:
        """Have what waits sent, and the other end told that this was all."""
        self._waiting.put(None)

    def end(self) -> None:
        """As `tell_end`, and end the thread."""
        self.tell_end()
        self._thread.join(_PATIENCE_SECONDS)  # not for ever: who does not read may never read again

    def _run(self) -> None:
        batch: list[_Message | None] = []
        with suppress(OSError):
            while None not in batch:
                batch = [self._waiting.get()]
                with suppress(Empty):
                    while len(batch) < _MOST_AT_ONCE:
                        batch.append(self._waiting.get_nowait())
                self._connection.send(batch)


class RemoteEngine(Engine):
    """The desk of an engine in another process. What can be read is read straight from the database.

    Args:
        connection: to that process.
        path: the engine's database.
    """

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection = connection
        self._reader = Reader(path, MAX_READERS)
        self._numbers = itertools.count()
        self._asked: dict[int, Asked] = {}
        self._is_closed = False
        self._may_wait = True
        words = ("the engine's process has said nothing yet",)
        self._health = EngineHealth(words, words, Counter(), ())
        self._heard_at = time.monotonic()
        self._sender = _Sender(connection)

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
            self._settle(_Answer(number, None, EngineStopped()))
        self._reader.close()

    def announce(self) -> None:
        """Tell the engine's process that this facade takes requests."""
        self._send(AnnounceFacade(Reply()))

    def trouble(self) -> tuple[str, ...]:
        """Why the engine is not ready to take orders, in words for people; empty while it is."""
        return self._current().trouble

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
        """Have every wait over this desk end with EngineStopped, now and from now on."""
        self._may_wait = False
        for number, request in list(self._asked.items()):
            if isinstance(request, AwaitOrder):
                self._settle(_Answer(number, None, EngineStopped()))

    def send(self, request: Request) -> None:
        """Pass on a request, whose reply will be set.

        Raises:
            EngineStopped: the engine has stopped.
        """
        if isinstance(request, AwaitOrder) and not self._may_wait:
            raise EngineStopped
        self._send(request)

    def _send(self, request: Asked) -> None:
        number = next(self._numbers)
        self._asked[number] = request
        if self._is_closed:
            del self._asked[number]
            raise EngineStopped
        if isinstance(request, AwaitOrder):
            request.reply.when_done(partial(self._forget, number))
        self._sender.send(_Sent(number, request._replace(reply=None)))  # type: ignore[arg-type]  # it stays here

    def _forget(self, number: int) -> None:
        if self._asked.pop(number, None) is not None:  # who waited waits no longer, though no answer has come
            self._sender.send(_Forgotten(number))

    def _take(self, messages: Sequence[_Answer | EngineHealth | None]) -> bool:
        self._heard_at = time.monotonic()
        for message in messages:
            if message is None:
                return False
            if isinstance(message, EngineHealth):
                self._health = message
            else:
                self._settle(message)
        return True

    def _settle(self, result: _Answer) -> None:
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
        return self._health._replace(trouble=words, dead_actors=words)

    def _read(self, query: Callable[[Database], T]) -> T:
        if self._is_closed:
            raise EngineStopped
        return self._reader.read(query)


class EngineServer:
    """The engine's end: answers what a facade asks for.

    Args:
        engine: running.
        connection: to the facade's process.
    """

    def __init__(self, engine: OrderEngine, connection: Connection) -> None:
        self._engine = engine
        self._connection = connection
        self._sender = _Sender(connection)
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

    def _take(self, batch: Sequence[_Sent | _Forgotten | None]) -> bool:
        for message in batch:
            match message:
                case None:
                    return False
                case _Sent(number, request):
                    self._ask(number, request)
                case _Forgotten(number):
                    if (reply := self._waits.get(number)) is not None:
                        answer(reply, None)
        return True

    def _tell_health(self) -> None:
        if self._sender.is_behind:  # a facade that does not read need not be told again and again
            return
        engine = self._engine
        try:
            health = EngineHealth(engine.trouble(), engine.dead_actors(), engine.incidents(), engine.warnings())
        except Exception as error:  # the facade is served on
            self._errors.error("the engine cannot say how it is", error)
            words = ("the engine cannot say how it is: the log says why",)
            health = EngineHealth(words, words, Counter(), ())
        self._sender.send(health)

    def _ask(self, number: int, request: Asked) -> None:
        reply = Reply[Any]()
        if isinstance(request, AwaitOrder):
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
            result = _Answer(number, reply.get(), None)
        except BaseException as error:  # likewise
            result = _Answer(number, None, _that_travels(error))
        self._sender.send(result)


def _that_travels(error: BaseException) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a class of somebody else's
        return RuntimeError(describe(error))
    # A SystemExit of the engine's must not end a facade.
    return error if isinstance(error, Exception) else RuntimeError(describe(error))
