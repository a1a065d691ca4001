"""Stream: the body of an answer that goes on, part by part, for as long as its client takes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from ..wire.application import RunAside
from .deferred import Deferred, Steps

Part = bytes | None | Exception


class Stream(ABC):
    """What makes the parts of a body. Nothing of it is kept for a client that reads slowly: each part is asked for when
    the client can take it, so whoever makes them sees who is behind, and puts together or leaves out what it missed.

    Each client that is served in the loop costs no thread; elsewhere, under a WSGI server, it costs one of that
    server's. There is no silence that would end it: a client that has gone without a word is noticed when something is
    sent to it, so send something every few seconds (for Server-Sent Events, a comment). How many there are at the same
    time is for the handler to limit.

    Example:
        >>> class Ticks(Stream):
        ...     def __init__(self) -> None:
        ...         self.left = 3
        ...
        ...     def next(self) -> bytes | None:
        ...         self.left -= 1
        ...         return b"tick\\n" if self.left >= 0 else None
    """

    @abstractmethod
    def next(self) -> bytes | Deferred[bytes | None] | None:
        """The next part: the client has taken nearly all of those before. None where that was all.

        Where it has yet to come, a `Deferred` says what to wait for. Its `hurry` is called where nobody waits any more:
        the client has gone, or sends nothing more, or the server stops, each of which ends a stream that would wait.
        What has to be read from a database first is read by a `go_on` that `may_block`, with a reply that is set.

        A part is held until the client has read it: some kilobytes are enough. An error cuts the answer off.
        """

    def close(self) -> None:  # noqa: B027  # most have nothing to let go of
        """It is over, whatever has ended it. Called once, and nothing after it."""


class RunningStream(Steps[Part, Part]):
    """A stream on its way to its client.

    Args:
        stream: makes the parts.
        note: called with an error, before the answer is cut off.
        aside: runs what may block; None where threads wait, since there is no loop.
        is_admitted: whether its client may still have it.
    """

    __slots__ = ("_cut", "_is_admitted", "_is_at_work", "_is_hurried", "_is_over", "_note", "_stream", "_take")

    def __init__(
        self,
        stream: Stream,
        note: Callable[[Exception], object],
        aside: RunAside | None,
        is_admitted: Callable[[], bool],
    ) -> None:
        self._stream = stream
        self._is_admitted = is_admitted
        self._note = note
        self._aside = aside
        self._deferred = None
        self._may_block = False
        self._is_at_work = False
        self._is_hurried = False
        self._is_over = False

    # In a loop: see `WireStream`.

    def pull(self, take: Callable[[bytes | None], object], cut: Callable[[], object]) -> None:
        """Have the next part given to `take`, or the answer cut off."""
        self._take = take
        self._cut = cut
        self._is_at_work = True
        self._step(self._next, may_block=False)

    def hurry(self) -> None:
        """Wait for nothing any more: what is there is sent, and then it ends."""
        self._is_hurried = True
        if self._let_go():
            self._arrive(None)

    def check(self) -> None:
        """See whether its client may still have it."""
        if not self._is_hurried and not self._is_admitted():
            self.hurry()

    def abandon(self) -> None:
        """The client has gone."""
        self._take, self._cut = _ignore, _ignore
        if self._let_go() or not self._is_at_work:
            self.close()

    def _proceed(self, result: Part | Deferred[Part]) -> None:
        super()._proceed(result)
        if self._is_hurried:
            self.hurry()

    def _next(self) -> bytes | Deferred[Part] | None:
        return self._stream.next() if self._is_admitted() else None

    def _let_go(self) -> bool:
        deferred, self._deferred = self._deferred, None
        if deferred is None:
            return False
        if deferred.hurry is not None:
            deferred.hurry()
        return True

    def _finish(self, given: Part) -> Part:
        return given

    def _explain(self, error: Exception) -> Part:
        self._note(error)
        return error

    def _arrive(self, result: Part) -> None:
        self._is_at_work = False
        if result is None or isinstance(result, Exception) or self._take is _ignore:
            self.close()
        if isinstance(result, Exception):
            self._cut()
        else:
            self._take(result)

    # In a thread: see PEP 3333.

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        part = self._wait(self._stream.next)
        if part is None:
            raise StopIteration
        if isinstance(part, Exception):
            raise part  # whereupon the server cuts the answer off
        return part

    def close(self) -> None:
        """It is over."""
        if not self._is_over:
            self._is_over = True
            try:
                self._stream.close()
            except Exception as error:
                self._note(error)


def _ignore(*_: object) -> None:
    """Nobody wants it."""
