"""The channel between an engine and a facade in another process.

Both ends send at once what has come up while the last message was under way. The engine's process says how the engine
is without being asked, so that a facade can tell at any moment, even where that process hangs. The channel is a pair of
connected sockets that only these two processes have. When one of them dies, however it dies, the other one knows at
once.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from ...engine import Reply
from ...engine.requests import Request

_MOST_AT_ONCE = 1_000
_PATIENCE_SECONDS = 10.0


class EngineHealth(NamedTuple):
    """From the engine's process to a facade, every second: how the engine is."""

    unready_reasons: tuple[str, ...]
    dead_actors: tuple[str, ...]
    incidents: Counter[str]
    warnings: tuple[str, ...]


class AnnounceFacade(NamedTuple):
    """From a facade to the engine's process: it takes requests from now on."""

    reply: Reply[None]
    """Set when that has been noted."""


Asked = Request | AnnounceFacade


class Sent(NamedTuple):
    """A request on its way."""

    number: int
    request: Asked
    """Without its reply."""


class Forgotten(NamedTuple):
    """Nobody waits for the answer to a request any more."""

    number: int


class Answer(NamedTuple):
    """What became of a request."""

    number: int
    value: Any
    error: BaseException | None


Message = Sent | Forgotten | Answer | EngineHealth


class Sender:
    """Sends messages from a thread of its own, all that wait at once.

    Args:
        connection: to the other process.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: SimpleQueue[Message | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ordermill-channel", daemon=True)
        self._thread.start()

    def send(self, message: Message) -> None:
        """Have a message sent; nothing happens when the other process has gone."""
        self._waiting.put(message)

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be sent."""
        return not self._waiting.empty()

    def tell_end(self) -> None:
        """Have what waits sent, and the other end told that this was all."""
        self._waiting.put(None)

    def end(self) -> None:
        """As `tell_end`, and end the thread."""
        self.tell_end()
        self._thread.join(_PATIENCE_SECONDS)  # not for ever: who does not read may never read again

    def _run(self) -> None:
        batch: list[Message | None] = []
        with suppress(OSError):
            while None not in batch:
                batch = [self._waiting.get()]
                with suppress(Empty):
                    while len(batch) < _MOST_AT_ONCE:
                        batch.append(self._waiting.get_nowait())
                self._connection.send(batch)
