"""Dask runner: the handler runs on the workers of a Dask cluster."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from typing import ClassVar

from ...store.domain.order import Order
from .attempt import Lost, Outcome
from .dask_cluster import DaskCluster
from .runner import Begin, Runner
from .trace_carrier import carry_trace


class DaskRunners(DaskCluster):
    """A cluster, and a place on it for each processor."""

    def make(self) -> Runner:
        """A place for one processor."""
        return DaskRunner(self)


class DaskRunner(Runner):
    """On a worker of a Dask cluster, one call after another.

    Args:
        cluster: the connection to it, which all processors share.
    """

    begins_at_once: ClassVar[bool] = False

    def __init__(self, cluster: DaskCluster) -> None:
        self._cluster = cluster
        self._is_killed = False
        self._future: Future[Outcome] | None = None

    def prepare(self) -> str | None:
        """Find out whether the cluster can run anything."""
        return self._cluster.trouble()

    def run(self, order: Order, begin: Begin) -> Outcome:
        """Put an order through the handler."""
        self._future = self._cluster.begin(order, carry_trace(), begin)
        if self._is_killed:  # meanwhile
            self.kill()
        try:
            return self._future.result()
        except CancelledError:
            return Lost("it was given up")

    def kill(self) -> None:
        """Wait no longer for the handler, which does not begin where it has not; nothing ends a thread of a worker."""
        self._is_killed = True
        if (future := self._future) is not None:
            future.cancel()
