"""Engine state: what is known of an engine that works over a database."""

from __future__ import annotations

from typing import NamedTuple

LIVING = ("running", "stopping")
"""The states of engines that may have orders in hand."""


class EngineState(NamedTuple):
    """An engine, from its start to its stop, or until it was lost."""

    engine_id: int
    """The number of this run: no other one over the database has it. One that joins anew gets another one."""
    host: str
    """The name of its machine."""
    process_id: int
    """On that machine."""
    started_us: int
    """Microseconds since 1970-01-01T00:00:00Z, likewise the other times."""
    heartbeat_us: int
    """When it was last heard of; now, where no other engine could have the database."""
    state: str
    """`running` or `stopping`."""
    processors: int
    """How many it has."""
    processing: int
    """How many orders it has in hand."""
