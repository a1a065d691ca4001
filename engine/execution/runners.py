"""Executor: where a processor runs the handler. In its own thread, in a process of its own, or where the user says."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from enum import Enum, auto
from functools import lru_cache, partial
from multiprocessing.connection import Connection, wait
from typing import Any, ClassVar, Protocol

from ...store.domain.errors import InvalidConfiguration
from ...store.domain.order import Order
from ..config import ExecutorKind
from ..output import outlive_output
from .attempt import Lost, NotBegun, Outcome, Returned, attempt, within
from .children import leave_stopping_to_parent, shielded
from .handler import Handler, describe


class Begin(Protocol):
    """Called, from any thread, before the handler is; several times where it was thought to begin and did not."""

    def __call__(self, *, is_observed: bool) -> object:
        """The handler is called now; or, where its beginning cannot be observed, at any time from now on."""


class Bench:
    """Where one processor runs the handler."""

    begins_at_once: ClassVar[bool] = True
    """Whether the handler begins as soon as `run` is called."""

    def check(self) -> str | None:
        """Find out, before there is a processor, whether it will work.

        Returns:
            What will keep it from working, in words for people; None where nothing does, or nobody can tell at once.
        """
        return None

    def prepare(self) -> str | None:
        """Get ready, at the start and after every trouble; in the processor's thread.

        Returns:
            What keeps it from working, in words for people; None where nothing does.
        """
        return None

    def run(self, order: Order, begin: Begin) -> Outcome:
        """Put an order through the handler, in the processor's thread.

        Args:
            order: the order.
            begin: told that the handler begins, where that is later.
        """
        raise NotImplementedError

    def withdraw(self) -> None:
        """Let nothing begin any more, as far as that is possible; from any thread."""

    def kill(self) -> None:
        """End what runs, where that is possible, and let nothing begin any more; from any thread."""

    def close(self) -> None:
        """Let go of everything, in the processor's thread."""


class ThreadBench(Bench):
    """In the processor's own thread.

    Args:
        handler: called with each order.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def run(self, order: Order, begin: Begin) -> Outcome:  # noqa: ARG002  # it begins at once
        """Put an order through the handler."""
        return attempt(self._handler, order)


class PickledHandler:
    """A handler on its way to other processes: one that cannot be loaded there does no harm to the process.

    Args:
        handler: what is called with each order.

    Raises:
        InvalidConfiguration: the handler cannot be sent to another process.
    """

    def __init__(self, handler: Handler) -> None:
        try:
            self._pickle = pickle.dumps(handler)
        except Exception as error:
            raise InvalidConfiguration(
                f"The handler cannot be sent to another process ({error}): write it as a function of a module."
            ) from error

    def load(self) -> Handler | NotBegun:
        """The handler; or why there is none, which is nothing that an order could do about."""
        try:
            return _load(self._pickle)
        except BaseException as error:
            return NotBegun(f"the handler cannot be loaded in another process: {describe(error)}")


@lru_cache(maxsize=1)
def _load(handler: bytes) -> Handler:
    loaded: Handler = pickle.loads(handler)
    return loaded


class ExecutorBench(Bench):
    """In an executor of the user's, which others may use too: it is not shut down here.

    Args:
        handler: called with each order.
        executor: what calls it.
        sent: all calls that are in that executor.
        timeout: the seconds that the handler may take where its beginning cannot be observed; None for any time.
    """

    begins_at_once: ClassVar[bool] = False

    def __init__(
        self, handler: Handler | PickledHandler, executor: Executor, sent: _Sent, timeout: float | None
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
        return _attempt_anywhere(self._handler, self._order)

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            if self._state is _State.WITHDRAWN:
                return partial, (NotBegun,)
            if self._state is _State.WAITING:
                self._begin(is_observed=False)
                self._state = _State.SENT
        return partial, (_attempt_anywhere, self._handler, self._order, self._timeout, self._token)

    def withdraw(self) -> bool:
        """Have it never begin; whether that can be promised."""
        with self._lock:
            if self._state is _State.WAITING:
                self._state = _State.WITHDRAWN
            return self._state is _State.WITHDRAWN


class _Sent:
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


def _attempt_anywhere(
    handler: Handler | PickledHandler,
    order: Order | None,
    timeout: float | None = None,
    token: str = "",  # noqa: ARG001  # makes it another call than all before
) -> Outcome:
    loaded = handler.load() if isinstance(handler, PickledHandler) else handler
    if isinstance(loaded, NotBegun):
        return loaded
    return within(timeout, Returned if order is None else partial(attempt, loaded, order))


class ProcessBench(Bench):
    """In a worker process, one order at a time: when the process dies, at most one order was in its hand.

    Args:
        handler: called with each order.
    """

    def __init__(self, handler: PickledHandler) -> None:
        self._handler = handler
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._is_killed = False

    def check(self) -> str | None:
        """Start the process, and see whether it gets on."""
        return self.prepare()

    def prepare(self) -> str | None:
        """Start the process, where there is none."""
        if self._worker is not None:
            return None
        try:
            worker = _Worker(self._handler)
        except OSError as error:
            return f"a worker process cannot be started: {describe(error)}"
        with self._lock:
            self._worker = worker
            if self._is_killed:
                worker.kill()
        if (trouble := worker.wait_until_ready()) is not None:
            self._let_go()
        return trouble

    def run(self, order: Order, begin: Begin) -> Outcome:
        """Put an order through the handler."""
        outcome: Outcome = NotBegun()
        for _ in range(2):  # a process may die while it has nothing to do: the order is for its successor
            if (trouble := self.prepare()) is not None:
                return NotBegun(trouble)
            assert self._worker is not None
            outcome = self._worker.run(order, begin)
            if isinstance(outcome, Lost | NotBegun):
                self._let_go()
            if not isinstance(outcome, NotBegun):
                break
        return outcome

    def kill(self) -> None:
        """End the process, whatever it does, and start no other."""
        with self._lock:
            self._is_killed = True
            if self._worker is not None:
                self._worker.kill()

    def close(self) -> None:
        """End the process for good."""
        self.kill()
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


class _Worker:
    """A process that runs the handler, and the pipe to it.

    Args:
        handler: what it runs.

    Raises:
        OSError: the system has no room for another process.
    """

    def __init__(self, handler: PickledHandler) -> None:
        # Never a fork: this process has threads.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, handler), name="ordermill-worker")
        try:
            with shielded():
                self._process.start()
        except BaseException:
            self._pipe.close()
            raise
        finally:
            theirs.close()

    def wait_until_ready(self) -> str | None:
        """Wait until it can take orders; or why it cannot."""
        try:
            trouble: str | None = self._receive()
        except (EOFError, OSError):
            return (
                f"a worker process {self.end()} while it started. What it printed says why; a program that has an "
                'engine with worker processes starts it under `if __name__ == "__main__":`'
            )
        return trouble

    def run(self, order: Order, begin: Begin) -> Outcome:
        """Put an order through the handler."""
        begin(is_observed=True)  # nobody may believe that it did not, should this process die in between
        try:
            self._pipe.send(order)
            self._receive()
        except (EOFError, OSError):
            return NotBegun(f"the worker process {self.end()} before it was given the order")
        try:
            outcome: Outcome = self._receive()
        except (EOFError, OSError):
            return Lost(f"the worker process {self.end()}")
        return outcome

    def kill(self) -> None:
        """End it, whatever it does; from any thread."""
        self._process.kill()

    def end(self) -> str:
        """End it and let go of it; how it has ended, in words for people."""
        self._process.kill()
        self._process.join()
        self._pipe.close()
        code = self._process.exitcode or 0
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"died with exit code {code}"

    def _receive(self) -> Any:
        # A process of the handler's may hold the other end of the pipe for longer than the worker lives.
        if self._pipe not in wait([self._pipe, self._process.sentinel]):
            raise EOFError
        return self._pipe.recv()


def bench_maker(handler: Handler, executor: Executor | ExecutorKind, timeout: float | None) -> Callable[[], Bench]:
    """What gives each processor a place to run the handler at.

    Args:
        handler: called with each order.
        executor: where.
        timeout: the seconds that the handler may take; None for any time.

    Raises:
        InvalidConfiguration: the handler cannot be sent to another process.
    """
    match executor:
        case ExecutorKind.THREADS:
            return partial(ThreadBench, handler)
        case ExecutorKind.PROCESSES:
            return partial(ProcessBench, PickledHandler(handler))
        case ProcessPoolExecutor():
            # Its worker would die of a handler that it cannot load, and the pool with it.
            return partial(ExecutorBench, PickledHandler(handler), executor, _Sent(), timeout)
        case _:
            return partial(ExecutorBench, handler, executor, _Sent(), timeout)


def _work(pipe: Connection[Any, Any], pickled: PickledHandler) -> None:
    leave_stopping_to_parent()
    outlive_output()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    handler = pickled.load()
    try:
        if isinstance(handler, NotBegun):
            pipe.send(handler.trouble)
            return
        pipe.send(None)
        while True:
            order = pipe.recv()
            pipe.send(None)  # it is here
            pipe.send(attempt(handler, order))
    except (EOFError, OSError):
        return  # the engine has let go of this process


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
