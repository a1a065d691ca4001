"""Rehearsals of an engine: each in a process of its own, a few at once, ended when nobody wants to know any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import msgspec
from pykka import Future

from ...store.domain.errors import EngineStopped, OrdermillError, RehearsalFailed, RehearsalsBusy
from ...store.domain.rehearsal import Rehearsal
from ..execution.handler import describe
from ..logger import EngineLogger
from ..reply import Reply, answer, fail
from .rehearse import Question

MOST_AT_ONCE = 2
"""Rehearsals at the same time: each takes a processor of the machine for some seconds."""
BUDGET_SECONDS = 5.0
"""Processor time after which no further run begins."""
LIMIT_SECONDS = 60
"""After so long a rehearsal is given up."""
LIMIT_BYTES = 4 << 30
"""Address space that a rehearsal may have: a million orders need less than a tenth."""

_MODULE = __package__

_log = EngineLogger("ordermill.engine.rehearsal")
_decode = msgspec.msgpack.Decoder(Rehearsal | str).decode


class Rehearsals:
    """Starts the processes, and waits for them in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[threading.Thread, Reply[Rehearsal]] = {}
        self._is_stopping = False

    def begin(self, question: Question, reply: Reply[Rehearsal]) -> None:
        """Have one begin.

        Args:
            question: what is to be rehearsed.
            reply: set with what came of it. Whoever sets it before that wants to know no longer.

        Raises:
            RehearsalsBusy: too many are under way.
            EngineStopped: no further one may begin.
        """
        thread = threading.Thread(target=self._run, args=(question, reply), name="ordermill-rehearsal", daemon=True)
        with self._lock:
            if self._is_stopping:
                raise EngineStopped
            if len(self._running) >= MOST_AT_ONCE:
                raise RehearsalsBusy(MOST_AT_ONCE)
            self._running[thread] = reply
            thread.start()

    def stop(self) -> None:
        """End all processes; who waits is told that the engine stops."""
        with self._lock:
            self._is_stopping = True
            running = list(self._running.items())
        for _, reply in running:
            fail(reply, EngineStopped())
        for thread, _ in running:
            thread.join()

    def _run(self, question: Question, reply: Reply[Rehearsal]) -> None:
        try:
            result: Rehearsal | OrdermillError = _rehearse(question, reply)
        except Exception as error:  # whoever waits is to know
            _log.exception("unexpected error in a rehearsal")
            result = RehearsalFailed(describe(error))
        finally:
            with self._lock:
                del self._running[threading.current_thread()]
        _tell(reply, result)


def _tell(reply: Future[Rehearsal], result: Rehearsal | OrdermillError) -> None:
    if isinstance(result, OrdermillError):
        fail(reply, result)
    else:
        answer(reply, result)


def _rehearse(question: Question, reply: Reply[Rehearsal]) -> Rehearsal | OrdermillError:
    # A session of its own: a Ctrl-C for the server is none for it. Its path is ours, wherever the package is.
    command = [sys.executable, "-m", _MODULE]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        reply.when_done(process.kill)
        with suppress(BrokenPipeError):  # it has ended, and the exit code says how
            process.stdin.write(msgspec.json.encode(question) + b"\n")
            process.stdin.flush()
        told = process.stdout.read()
        with suppress(BrokenPipeError):
            process.stdin.close()
        code = process.wait()
    if code == 0:
        result: Rehearsal | str = _decode(told)
        return RehearsalFailed(f"the database failed: {result}") if isinstance(result, str) else result
    if code == -signal.SIGALRM:
        return RehearsalFailed(f"it took longer than {LIMIT_SECONDS} s")
    how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return RehearsalFailed(f"its process {how}; what it printed says more")
