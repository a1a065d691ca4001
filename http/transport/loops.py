"""The kind of event loop that there is."""

from __future__ import annotations

try:
    from uvloop import new_event_loop
except ImportError:  # not installed: asyncio's own loop does the same, more slowly
    from asyncio import new_event_loop  # type: ignore[assignment]  # of a wider type

__all__ = ["new_event_loop"]
