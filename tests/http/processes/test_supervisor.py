"""Facades whose processes cannot be started."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest

from ordermill.engine import OrderEngine
from ordermill.http.config import ServerConfig
from ordermill.http.processes.port import reserve_port
from ordermill.http.processes.supervisor import HttpProcessFailed, Supervisor


def set_up() -> None:
    """Nothing is to be set up in the processes of these tests."""


def refuse(_: BaseProcess) -> None:
    """Start no process, as a system that has no room for one."""
    raise OSError(24, "Too many open files")


def test_a_process_that_cannot_be_started_is_told(
    start_engine: Callable[..., OrderEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseProcess, "start", refuse)
    supervisor = Supervisor(start_engine(), ServerConfig(http_processes=2), set_up)

    with pytest.raises(HttpProcessFailed, match="Too many open files"):
        supervisor.start()


@pytest.mark.slow
def test_a_successor_that_cannot_be_started_is_tried_again(
    start_engine: Callable[..., OrderEngine], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = BaseProcess.start
    started: list[BaseProcess] = []
    has_successor = threading.Event()

    def start_or_refuse(process: BaseProcess) -> None:
        started.append(process)
        if len(started) == 2:
            refuse(process)
        start(process)
        if len(started) == 3:
            has_successor.set()

    monkeypatch.setattr(BaseProcess, "start", start_or_refuse)
    caplog.set_level(logging.ERROR)
    holder = reserve_port("127.0.0.1", 0)
    supervisor = Supervisor(start_engine(), ServerConfig(http_processes=1, port=holder.getsockname()[1]), set_up)
    try:
        supervisor.start()
        assert started[0].pid is not None
        os.kill(started[0].pid, signal.SIGKILL)
        assert has_successor.wait(60)
    finally:
        supervisor.stop()
        holder.close()

    assert "cannot be started: [Errno 24] Too many open files; tried again in" in caplog.text
