"""Runner factory: from the settings to what gives each processor a place to run the handler at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ...store.domain.errors import InvalidConfiguration
from ..config import ExecutorKind
from .dask_cluster import Client
from .dask_runner import DaskRunners
from .executor_runner import ExecutorRunner, SentCalls
from .handler import Handler
from .pickled_handler import PickledHandler
from .process_runner import ProcessRunner
from .runner import Runner, Runners
from .thread_runner import ThreadRunner

_TRANSPORTS = {"dask": "tcp", "dask+tls": "tls"}


def runner_factory(handler: Handler, executor: Executor | str, timeout: float | None) -> Runners:
    """What gives each processor a place to run the handler at.

    Args:
        handler: called with each order.
        executor: where: a kind, the address of a Dask scheduler, or an executor.
        timeout: the seconds that the handler may take; None for any time.

    Raises:
        InvalidConfiguration: the handler cannot be sent to another process, or a package is missing.
    """
    match executor:
        case ExecutorKind.THREADS:
            return _Alike(partial(ThreadRunner, handler))
        case ExecutorKind.PROCESSES:
            return _Alike(partial(ProcessRunner, PickledHandler(handler)))
        case str(address):
            return _dask(handler, timeout, address, _connector(address), {})
        case ProcessPoolExecutor():
            # Its worker would die of a handler that it cannot load, and the pool with it.
            return _Alike(partial(ExecutorRunner, PickledHandler(handler), executor, SentCalls(), timeout))
        case _ if (given := _client_of(executor)) is not None:
            address = given.scheduler.address
            connect = partial(_connect, address, given.security)
            return _dask(handler, timeout, address, connect, executor._kwargs)  # type: ignore[attr-defined]  # of Dask's
        case _:
            return _Alike(partial(ExecutorRunner, handler, executor, SentCalls(), timeout))


class _Alike(Runners):
    """Places that share nothing.

    Args:
        make: makes one.
    """

    def __init__(self, make: Callable[[], Runner]) -> None:
        self._make = make

    def make(self) -> Runner:
        """A place for one processor."""
        return self._make()


def _dask(
    handler: Handler, timeout: float | None, name: str, connect: Callable[..., Client], options: Mapping[str, Any]
) -> Runners:
    try:
        import cloudpickle  # type: ignore[import-untyped]  # it has no types
        import distributed  # noqa: F401  # found out here, not later
    except ImportError as error:
        raise InvalidConfiguration(
            f"Dask cannot be used ({error}): install it with `pip install 'ordermill[dask]'`."
        ) from error
    return DaskRunners(PickledHandler(handler, cloudpickle.dumps), timeout, name, connect, options)


def _connector(address: str) -> Callable[..., Client]:
    parts = urlsplit(address)
    return partial(_connect, f"{_TRANSPORTS[parts.scheme]}://{parts.netloc}")


def _connect(address: str, security: Any = None, *, timeout: float) -> Client:
    import distributed

    make: Any = distributed.Client
    return make(address, asynchronous=True, timeout=timeout, set_as_default=False, name="ordermill", security=security)


def _client_of(executor: Executor) -> Client | None:
    """The client of an executor of Dask's, which runs a call again where its worker has died."""
    if "distributed" not in sys.modules:
        return None
    from distributed.cfexecutor import ClientExecutor

    return executor._client if isinstance(executor, ClientExecutor) else None
