"""Runner factory: from the settings to what gives each processor a place to run the handler at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial

from ..config import ExecutorKind
from .executor_runner import ExecutorRunner, SentCalls
from .handler import Handler
from .pickled_handler import PickledHandler
from .process_runner import ProcessRunner
from .runner import Runner
from .thread_runner import ThreadRunner


def runner_factory(handler: Handler, executor: Executor | ExecutorKind, timeout: float | None) -> Callable[[], Runner]:
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
            return partial(ThreadRunner, handler)
        case ExecutorKind.PROCESSES:
            return partial(ProcessRunner, PickledHandler(handler))
        case ProcessPoolExecutor():
            # Its worker would die of a handler that it cannot load, and the pool with it.
            return partial(ExecutorRunner, PickledHandler(handler), executor, SentCalls(), timeout)
        case _:
            return partial(ExecutorRunner, handler, executor, SentCalls(), timeout)
