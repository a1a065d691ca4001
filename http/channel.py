"""The channel between an engine and a facade in another process.

Both ends gather what is to be sent while the last message is under way: under load one message, one wake-up and one
request to the engine stand for many orders. The channel is a pair of connected sockets that only these two processes
have. When one of them dies, however it dies, the other one knows at once.
"""

from __future__ import annotations

import itertools
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from peewee import Database
from pykka import Timeout

from ..engine import Desk, EngineStopped, OrderEngine, Reply, StoreUnavailable
from ..engine.handler import describe
from ..engine.messages import AwaitOrder, Request, SubmitOrders
from ..engine.reply import answer, fail
from ..engine.running import MAX_READERS
from ..store.reader import Reader
from ..store.record import ENGINE

T = TypeVar("T")

_MOST_AT_ONCE = 1_000
_PATIENCE_SECONDS = 10.0


class Condition(NamedTuple):
    """How an engine is."""

    trouble: tuple[str, ...]
    dead_actors: tuple[str, ...]
    incidents: Counter[str]
    warnings: tuple[str, ...]


class AskCondition(NamedTuple):
    """From a facade to the engine's process: say how the engine is."""

    reply: Reply[Condition]
    """Set with that."""


class AnnounceFacade(NamedTuple):
    """From a facade to the engine's process: it takes requests from now on."""

    reply: Reply[None]
    """Set when that has been noted."""


Asked = Request | AskCondition | AnnounceFacade


class _Sent(NamedTuple):
    """A request on its way."""

    number: int
    request: Asked
    """Without its reply."""


class _Answer(NamedTuple):
    """What became of a request."""

    number: int
    value: Any
    error: BaseException | None


class _Sender:
    """Sends messages from a thread of its own, all that wait at once.

    Args:
        connection: to the other process.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: SimpleQueue[_Sent | _Answer | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ordermill-channel", daemon=True)
        self._thread.start()

    def send(self, message: _Sent | _Answer) -> None:
        """Have a message sent; nothing happens when the other process has gone."""
        self._waiting.put(message)

    def tell_end(self) -> None:
        """Have what waits sent, and the other end told that this was all."""
        self._waiting.put(None)

    def end(self) -> None:
        """As `tell_end`, and end the thread."""
        self.tell_end()
        self._thread.join(_PATIENCE_SECONDS)  # not for ever: who does not read may never read again

    def _run(self) -> None:
        batch: list[_Sent | _Answer | None] = []
        with suppress(OSError):
            while None not in batch:
                batch = [self._waiting.get()]
                with suppress(Empty):
                    while len(batch) < _MOST_AT_ONCE:
                        batch.append(self._waiting.get_nowait())
                self._connection.send(batch)


class RemoteDesk(Desk):
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
        self._request(AnnounceFacade)

    def trouble(self) -> tuple[str, ...]:
        """Why the engine is not ready to take orders, in words for people; empty while it is."""
        return self._condition().trouble

    def dead_actors(self) -> tuple[str, ...]:
        """Actors that have died, which none should, in words for people; empty while all live."""
        return self._condition().dead_actors

    def incidents(self) -> Counter[str]:
        """Unexpected errors since the start, by actor; each was logged, and the actor went on."""
        return self._condition().incidents

    def warnings(self) -> tuple[str, ...]:
        """What an operator should mend although orders are taken, in words for people; empty where there is nothing."""
        return self._condition().warnings

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
        self._sender.send(_Sent(number, request._replace(reply=None)))  # type: ignore[arg-type]  # it stays here

    def _request(self, kind: Callable[[Reply[T]], AskCondition | AnnounceFacade]) -> Reply[T]:
        reply: Reply[T] = Reply()
        self._send(kind(reply))
        return reply

    def _take(self, answers: Sequence[_Answer | None]) -> bool:
        for result in answers:
            if result is None:
                return False
            self._settle(result)
        return True

    def _settle(self, result: _Answer) -> None:
        request = self._asked.pop(result.number, None)
        if request is None:
            return
        if result.error is None:
            answer(request.reply, result.value)
        else:
            fail(request.reply, result.error)

    def _condition(self) -> Condition:
        try:
            return self._request(AskCondition).get(timeout=_PATIENCE_SECONDS)
        except (EngineStopped, Timeout):
            words = ("the engine's process does not answer",)
            return Condition(words, words, Counter(), ())

    def _read(self, query: Callable[[Database], T]) -> T:
        if self._is_closed:
            raise EngineStopped
        return self._reader.read(query)


class FacadeLine:
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

    def serve(self) -> None:
        """Answer until the facade says that it stops, or has gone."""
        with suppress(EOFError, OSError):
            while self._take(self._connection.recv()):
                pass

    def tell_end(self) -> None:
        """Have the facade told to stop, after all answers that are there."""
        self._sender.tell_end()

    def close(self) -> None:
        """Let go of the facade, after it has gone."""
        self._sender.end()
        self._connection.close()

    def _take(self, batch: Sequence[_Sent | None]) -> bool:
        single: list[_Sent] = []
        goes_on = True
        for sent in batch:
            if sent is None:
                goes_on = False
            elif _is_plain(sent.request):
                single.append(sent)
            else:
                self._ask(sent)
        if single:
            self._submit_together(single)
        return goes_on

    def _submit_together(self, batch: Sequence[_Sent]) -> None:
        together = Reply[Any]()
        together.when_done(partial(self._share_out, batch, together))
        requests = [sent.request for sent in batch if isinstance(sent.request, SubmitOrders)]
        orders = tuple(chain.from_iterable(request.orders for request in requests))
        causes = tuple(chain.from_iterable(request.causes or (ENGINE,) for request in requests))
        self._pass_on(SubmitOrders(orders, together, causes))

    def _share_out(self, batch: Sequence[_Sent], together: Reply[Any]) -> None:
        try:
            acceptances = together.get()
        except (EngineStopped, StoreUnavailable) as error:
            for sent in batch:
                self._sender.send(_Answer(sent.number, None, error))
        except BaseException:  # there is no room for all of them, or one cannot be stored: each for itself
            for sent in batch:
                self._ask(sent)
        else:
            for sent, acceptance in zip(batch, acceptances, strict=True):
                self._sender.send(_Answer(sent.number, [acceptance], None))

    def _ask(self, sent: _Sent) -> None:
        reply = Reply[Any]()
        reply.when_done(partial(self._answer, sent.number, reply))
        self._pass_on(sent.request._replace(reply=reply))

    def _pass_on(self, request: Asked) -> None:
        match request:
            case AskCondition(reply):
                engine = self._engine
                reply.set(Condition(engine.trouble(), engine.dead_actors(), engine.incidents(), engine.warnings()))
            case AnnounceFacade(reply):
                answer(self.announced, None)
                reply.set()
            case _:
                try:
                    self._engine.send(request)
                except Exception as error:  # it belongs to whoever asked
                    fail(request.reply, error)

    def _answer(self, number: int, reply: Reply[Any]) -> None:
        try:
            result = _Answer(number, reply.get(), None)
        except BaseException as error:  # likewise
            result = _Answer(number, None, _that_travels(error))
        self._sender.send(result)


def _is_plain(request: Asked) -> bool:
    return isinstance(request, SubmitOrders) and len(request.orders) == 1 and request.idempotency is None


def _that_travels(error: BaseException) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a class of somebody else's
        return RuntimeError(describe(error))
    # A SystemExit of the engine's must not end a facade.
    return error if isinstance(error, Exception) else RuntimeError(describe(error))
