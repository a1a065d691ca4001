"""The engine as handlers in a loop see it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from ..engine import Engine, EngineStopped, IdempotencyKey, Order, Reply, StoreUnavailable
from ..engine.execution.handler import describe
from ..engine.reply import answer, fail
from ..engine.requests import Request, SubmitOrders, Wait
from ..store.domain.outcome import Acceptance
from ..store.domain.record import ENGINE, Cause
from ..store.statements import Database

T = TypeVar("T")


class LoopEngine(Engine):
    """Passes on to an engine what its callers want, and has all replies come in the loop.

    The single orders that are submitted in one turn of the loop become one message, and one transaction's replies come
    back with one wake-up: under load, hardly anything is left to do for each of them but to read and to write it.

    Args:
        engine: in this process or in another.
        call_in_loop: has a function called in the loop, in its next turn; from any thread.
    """

    def __init__(self, engine: Engine, call_in_loop: Callable[[Callable[[], object]], object]) -> None:
        self._engine = engine
        self._call_in_loop = call_in_loop
        self._gathered: deque[_Single] = deque()
        self._is_gathering = False

    def begin_submit(
        self, orders: Iterable[Order], cause: Cause | None = None, idempotency: IdempotencyKey | None = None
    ) -> Reply[list[Acceptance]]:
        """As any engine; a tuple of one order goes with the others of this turn. Handlers have checked what they pass.

        Where the engine is not running, the reply of such an order says so.
        """
        if idempotency is not None or type(orders) is not tuple or len(orders) != 1:
            return super().begin_submit(orders, cause, idempotency)
        reply: Reply[list[Acceptance]] = Reply()
        self._gathered.append(_Single(orders[0], cause or ENGINE, reply))
        if not self._is_gathering:
            self._is_gathering = True
            self._call_in_loop(self._send_gathered)
        return reply

    def expect_orders(self, *, are_coming: bool) -> None:
        """As any engine."""
        self._engine.expect_orders(are_coming=are_coming)

    def send(self, request: Request) -> None:
        """Pass on a request, whose reply will be set in the loop.

        Raises:
            EngineStopped: the engine is not running.
        """
        outer = request.reply
        inner: Reply[Any] = Reply()
        inner.when_done(lambda: self._call_in_loop(partial(_pass_on, inner, outer)))
        if isinstance(request, Wait):
            request.reply.when_done(lambda: answer(inner, None))  # where the caller waits no longer
        self._engine.send(request._replace(reply=inner))

    def unready_reasons(self) -> tuple[str, ...]:
        """Why the engine is not ready to take orders, in words for people; empty while it is."""
        return self._engine.unready_reasons()

    def warnings(self) -> tuple[str, ...]:
        """What an operator should mend although orders are taken, in words for people; empty where there is nothing."""
        return self._engine.warnings()

    def dead_actors(self) -> tuple[str, ...]:
        """Actors that have died, which none should, in words for people; empty while all live."""
        return self._engine.dead_actors()

    def incidents(self) -> Counter[str]:
        """Unexpected errors since the start, by actor; each was logged, and the actor went on."""
        return self._engine.incidents()

    def interrupt_waits(self) -> None:
        """Have every wait end with EngineStopped, now and from now on: for a server that is about to stop."""
        self._engine.interrupt_waits()

    def _read(self, query: Callable[[Database], T]) -> T:
        return self._engine._read(query)

    def _send_gathered(self) -> None:
        self._is_gathering = False
        batch = [self._gathered.popleft() for _ in range(len(self._gathered))]
        promised = [single for single in batch if single.order.complete_by is not None]
        # These need not wait until it is known whether the others will be in time.
        plain = [single for single in batch if single.order.complete_by is None]
        for together in (promised, plain):
            if together:
                self._send_together(together)
        self._engine.expect_orders(are_coming=False)

    def _send_together(self, batch: Sequence[_Single]) -> None:
        together: Reply[Any] = Reply()
        together.when_done(partial(self._take, batch, together))
        orders = tuple([single.order for single in batch])
        causes = tuple([single.cause for single in batch])
        try:
            self._engine.send(SubmitOrders(orders, together, causes))
        except Exception as error:
            for single in batch:
                fail(single.reply, error)

    def _take(self, batch: Sequence[_Single], together: Reply[Any]) -> None:
        # Clients that are answered send their next orders, which are read in the next turn of the loop.
        self._engine.expect_orders(are_coming=True)
        self._call_in_loop(partial(self._share_out, batch, together))
        self._call_in_loop(partial(self._call_in_loop, self._end_turn))

    def _end_turn(self) -> None:
        if not self._is_gathering:
            self._engine.expect_orders(are_coming=False)

    def _share_out(self, batch: Sequence[_Single], together: Reply[Any]) -> None:
        try:
            acceptances = together.get()
        except BaseException as error:
            if len(batch) == 1 or isinstance(error, EngineStopped | StoreUnavailable):
                for single in batch:
                    fail(single.reply, _harmless(error))
                return
            # There is no room for all of them, or one cannot be stored: now each by itself.
            for single in batch:
                try:
                    self.send(SubmitOrders((single.order,), single.reply, (single.cause,)))
                except Exception as its_own:
                    fail(single.reply, its_own)
            return
        for single, acceptance in zip(batch, acceptances, strict=True):
            single.reply.set([acceptance])


class _Single(msgspec.Struct, frozen=True):
    """An order that is submitted by itself."""

    order: Order
    cause: Cause
    reply: Reply[list[Acceptance]]


def _pass_on(inner: Reply[Any], outer: Any) -> None:
    try:
        result = inner.get()
    except BaseException as error:  # it belongs to whoever asked
        fail(outer, _harmless(error))
    else:
        answer(outer, result)


def _harmless(error: BaseException) -> Exception:
    # A SystemExit of the engine's must not end the server.
    return error if isinstance(error, Exception) else RuntimeError(describe(error))
