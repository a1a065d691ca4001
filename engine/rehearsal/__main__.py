"""A process that rehearses once: it reads a question, writes the answer, and is gone when nobody listens any more."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from functools import partial

import msgspec

from ...store.connect import connect
from ...store.domain.errors import StoreUnavailable
from ...store.reader import Reader
from .rehearse import Question, rehearse

_NICENESS = 10
_PARENT_HAS_GONE = 3


def main() -> None:
    """Rehearse."""
    line = sys.stdin.buffer.readline()
    question = msgspec.json.decode(line, type=Question)
    signal.alarm(question.limit_seconds)
    _limit_memory(question.limit_bytes)
    os.nice(_NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with Reader(connect(question.address), 1) as reader:
        try:
            answer: object = reader.read(partial(rehearse, question=question))
        except StoreUnavailable as error:
            answer = str(error.__cause__ or error)
    sys.stdout.buffer.write(msgspec.msgpack.encode(answer))


def _limit_memory(most_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or most_bytes < hard:
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, hard))


def _end_with_parent() -> None:
    # The other end of it is the parent's as long as somebody wants to know.
    while os.read(sys.stdin.fileno(), 1):  # not by its buffer, which the end of the program would wait for
        pass
    os._exit(_PARENT_HAS_GONE)


main()
