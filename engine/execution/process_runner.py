"""Process runner: the handler runs in a worker process that the processor has for itself."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection, wait
from typing import Any

from ...store.domain.order import Order
from ..output import outlive_output
from .attempt import Lost, NotBegun, Outcome, attempt
from .children import leave_stopping_to_parent, shielded
from .handler import describe
from .pickled_handler import PickledHandler
from .runner import Begin, Runner
from .trace_carrier import carry_trace, trace_of


class ProcessRunner(Runner):
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
            self._pipe.send((order, carry_trace()))
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
            order, carrier = pipe.recv()
            pipe.send(None)  # it is here
            with trace_of(carrier):
                outcome = attempt(handler, order)
            pipe.send(outcome)
    except (EOFError, OSError):
        return  # the engine has let go of this process


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
