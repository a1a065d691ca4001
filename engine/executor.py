"""Executor: where a processor runs the handler. In its own thread, in a process of its own, or where the user says."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from enum import StrEnum
from functools import partial

from ..store.errors import InvalidConfiguration, OrdermillError
from ..store.order import Order
from .handler import Handler, Reject, describe, run_handler


class ExecutorKind(StrEnum):
    """Where the handler runs."""

    THREADS = "threads"
    """In the processor's thread: for handlers that wait for networks and disks."""
    PROCESSES = "processes"
    """In a worker process that each processor has: for handlers that compute, or that may have to be killed."""


class HandlerFailed(OrdermillError):
    """The handler raised, in another process; the message has the error's type and text."""


class WorkerDied(OrdermillError):
    """The worker process died while it had the order."""


class Bench:
    """Where one processor runs the handler."""

    def prepare(self) -> None:
        """Get ready, in the processor's thread."""

    def run(self, order: Order) -> object:
        """Put an order through the handler; raises what it raises, or what stands for that."""
        raise NotImplementedError

    def kill(self) -> None:
        """End a handler that has overrun its time, from any thread; nothing happens where that is not possible."""

    def close(self) -> None:
        """Let go of everything, from any thread. What runs is ended, where that is possible."""


class ThreadBench(Bench):
    """In the processor's own thread.

    Args:
        handler: called with each order.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def run(self, order: Order) -> object:
        """Put an order through the handler."""
        run_handler(self._handler, order)
        return None


class ExecutorBench(Bench):
    """In an executor of the user's, which others may use too: it is not shut down here.

    Args:
        handler: called with each order.
        executor: what calls it.
    """

    def __init__(self, handler: Handler, executor: Executor) -> None:
        self._handler = handler
        self._executor = executor

    def run(self, order: Order) -> object:
        """Put an order through the handler."""
        return self._executor.submit(run_handler, self._handler, order).result()


class ProcessBench(Bench):
    """In a worker process, one order at a time: when the process dies, exactly one order was in its hand.

    Args:
        handler: called with each order; it can be pickled.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._pid: int | None = None
        self._is_closed = False

    def prepare(self) -> None:
        """Start the process."""
        # Never a fork: this process has threads.
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare_worker, (self._handler,))
        try:
            pid = pool.submit(os.getpid).result()
        except BrokenProcessPool:  # its handler cannot be imported there, for one: each order will say so
            pool.shutdown()
            return
        with self._lock:
            self._pool, self._pid = pool, pid
            is_closed = self._is_closed
        if is_closed:
            self.close()

    def run(self, order: Order) -> object:
        """Put an order through the handler.

        Raises:
            Reject: the handler raised it.
            HandlerFailed: the handler raised anything else.
            WorkerDied: the process died, or was killed.
        """
        with self._lock:
            pool = self._pool
        try:
            if pool is None:
                raise BrokenProcessPool
            failure = pool.submit(_call, order).result()
        except (BrokenProcessPool, RuntimeError) as error:  # RuntimeError: closed meanwhile
            self._replace(pool)
            raise WorkerDied("the worker process died") from error
        if failure is not None:
            raise failure
        return None

    def kill(self) -> None:
        """End the process, whatever it does."""
        with self._lock:
            pid, self._pid = self._pid, None
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process for good."""
        with self._lock:
            self._is_closed = True
            pool, self._pool = self._pool, None
        self.kill()
        if pool is not None:
            pool.shutdown(wait=False)

    def _replace(self, pool: ProcessPoolExecutor | None) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._pool = self._pid = None
        if pool is not None:
            pool.shutdown()
        self.prepare()


def bench_maker(handler: Handler, executor: Executor | ExecutorKind) -> Callable[[], Bench]:
    """What gives each processor a place to run the handler at.

    Raises:
        InvalidConfiguration: the handler cannot be sent to another process.
    """
    if isinstance(executor, Executor):
        return partial(ExecutorBench, handler, executor)
    if executor is ExecutorKind.THREADS:
        return partial(ThreadBench, handler)
    try:
        pickle.dumps(handler)
    except Exception as error:
        raise InvalidConfiguration(
            f"The handler cannot be sent to another process ({error}): write it as a function of a module."
        ) from error
    return partial(ProcessBench, handler)


_handler: Handler | None = None


def _prepare_worker(handler: Handler) -> None:
    global _handler
    _handler = handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the engine, which stops its workers itself
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(order: Order) -> OrdermillError | None:
    assert _handler is not None
    try:
        run_handler(_handler, order)
    except Reject as rejection:
        return Reject(str(rejection.reason))
    except BaseException as error:  # whatever it is, it may be of a class that does not travel
        return HandlerFailed(describe(error))
    return None
