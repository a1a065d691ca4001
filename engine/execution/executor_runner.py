"""Executor runner: the handler runs in an executor of the user's."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import BrokenExecutor, Executor, Future
from enum import Enum, auto
from functools import partial
from typing import Any, ClassVar

from ...store.domain.order import Order
from .attempt import Lost, NotBegun, Outcome, Returned, attempt, within
from .handler import Handler, describe
from .pickled_handler import PickledHandler
from .runner import Begin, Runner
from .trace_carrier import Carrier, carry_trace, trace_of


class ExecutorRunner(Runner):
    """In an executor of the user's, which others may use too: it is not shut down here.

    Args:
        handler: called with each order.
        executor: what calls it.
        sent: all calls that are in that executor.
        timeout: the seconds that the handler may take where its beginning cannot be observed; None for any time.
    """

    begins_at_once: ClassVar[bool] = False

    def __init__(
        self, handler: Handler | PickledHandler, executor: Executor, sent: SentCalls, timeout: float | None
    ) -> None:
        self._handler = handler
        self._executor = executor
        self._sent = sent
        self._timeout = timeout
        self._lock = threading.Lock()
        self._is_doubtful = True
        self._is_withdrawn = False
        self._call: _Call | None = None
        self._future: Future[Outcome] | None = None

    def prepare(self) -> str | None:
        """Find out whether the executor works: have it make a call that does nothing."""
        if not self._is_doubtful:
            return None
        match self._make(_Call(self._handler, None, self._timeout)):
            case Returned():
                self._is_doubtful = False
                return None
            case Lost(trouble) | NotBegun(str(trouble)):
                return trouble
            case _:
                return "the engine stops"

    def run(self, order: Order, begin: Begin) -> Outcome:
        """Put an order through the handler."""
        outcome = self._make(_Call(self._handler, order, self._timeout, begin))
        self._is_doubtful = isinstance(outcome, Lost | NotBegun)
        return outcome

    def withdraw(self) -> None:
        """Cancel a call that has not begun, and make no other."""
        with self._lock:
            self._is_withdrawn = True
            is_withdrawn = self._call is not None and self._call.withdraw()
            future = self._future
        if is_withdrawn and future is not None:
            future.cancel()

    def kill(self) -> None:
        """Cancel the call, whether it has begun or not."""
        self.withdraw()
        if (future := self._future) is not None:
            future.cancel()

    def close(self) -> None:
        """Forget the executor."""

    def _make(self, call: _Call) -> Outcome:
        with self._lock:
            self._call, self._future = call, None
            if self._is_withdrawn:
                call.withdraw()
        self._sent.add(call)
        try:
            future = self._executor.submit(call)
            with self._lock:
                self._future = future
            if self._is_withdrawn:  # meanwhile
                self.withdraw()
            return future.result()
        except BaseException as error:
            if call.withdraw():
                return NotBegun(None if self._is_withdrawn else f"the executor does not take it: {_in_one_line(error)}")
            return Lost(f"the executor lost it: {_in_one_line(error)}", self._sent.is_lost_with_others(call, error))
        finally:
            self._sent.remove(call)


def _in_one_line(error: BaseException) -> str:
    return " ".join(describe(error).split())


class _State(Enum):
    WAITING = auto()
    WITHDRAWN = auto()
    BEGUN = auto()
    SENT = auto()
    """To another process: nobody here can tell whether it has begun there."""


class _Call:
    """What an executor is given: a call of the handler that cannot fail.

    In this process it tells of its beginning. What is pickled does the same work, and tells nothing.

    Args:
        handler: what to call.
        order: what to call it with; without one, nothing is called.
        timeout: the seconds that it may take in another process.
        begin: told that the handler begins.
    """

    def __init__(
        self,
        handler: Handler | PickledHandler,
        order: Order | None,
        timeout: float | None = None,
        begin: Begin = lambda **_: None,
    ) -> None:
        self._handler = handler
        self._order = order
        self._timeout = timeout
        self._begin = begin
        # There are executors for which equal calls are one, whose result they know: each of ours is a call of its own.
        self._token = uuid.uuid4().hex
        self._trace = carry_trace()
        self._lock = threading.Lock()
        self._state = _State.WAITING

    @property
    def is_sent(self) -> bool:
        """Whether an order is with another process, for all that is known here."""
        return self._state is _State.SENT and self._order is not None

    def __call__(self) -> Outcome:
        with self._lock:
            if self._state is _State.WITHDRAWN:
                return NotBegun()
            self._state = _State.BEGUN
        self._begin(is_observed=True)
        return attempt_anywhere(self._handler, self._order, self._trace)

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            if self._state is _State.WITHDRAWN:
                return partial, (NotBegun,)
            if self._state is _State.WAITING:
                self._begin(is_observed=False)
                self._state = _State.SENT
        return partial, (attempt_anywhere, self._handler, self._order, self._trace, self._timeout, self._token)

    def withdraw(self) -> bool:
        """Have it never begin; whether that can be promised."""
        with self._lock:
            if self._state is _State.WAITING:
                self._state = _State.WITHDRAWN
            return self._state is _State.WITHDRAWN


class SentCalls:
    """The calls that are in one executor. When it breaks, any of those in other processes may be the reason."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: set[_Call] = set()
        self._lost: set[_Call] = set()

    def add(self, call: _Call) -> None:
        """It is being submitted."""
        with self._lock:
            self._calls.add(call)

    def remove(self, call: _Call) -> None:
        """It is over."""
        with self._lock:
            self._calls.discard(call)
            self._lost.discard(call)

    def is_lost_with_others(self, call: _Call, error: BaseException) -> bool:
        """Whether a call that ended with this error was not the only one that it ended."""
        with self._lock:
            if isinstance(error, BrokenExecutor) and call not in self._lost:
                lost = {other for other in self._calls if other.is_sent}
                if len(lost) > 1:
                    self._lost |= lost
            return call in self._lost


def attempt_anywhere(
    handler: Handler | PickledHandler,
    order: Order | None,
    trace: Carrier,
    timeout: float | None = None,
    token: str = "",  # noqa: ARG001  # makes it another call than all before
) -> Outcome:
    loaded = handler.load() if isinstance(handler, PickledHandler) else handler
    if isinstance(loaded, NotBegun):
        return loaded
    return within(timeout, Returned if order is None else partial(_attempt_traced, trace, loaded, order))


def _attempt_traced(trace: Carrier, handler: Handler, order: Order) -> Outcome:
    with trace_of(trace):
        return attempt(handler, order)
