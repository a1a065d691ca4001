"""A signal that the whole group of processes gets ends none that an engine has started; programs of theirs heed it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from multiprocessing.connection import Connection

import pytest

from ordermill.engine.execution.children import leave_stopping_to_parent, shielded

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
context = multiprocessing.get_context("spawn")


def live(connection: Connection) -> None:
    """Tell that one lives on, and how a program and a forked process of this one end that get a signal."""
    leave_stopping_to_parent()
    connection.send("alive")
    number = connection.recv()
    program = subprocess.Popen(["sleep", "60"])
    program.send_signal(number)
    forked = os.fork()
    if forked == 0:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(forked, 0)
    connection.send((program.wait(60), os.waitstatus_to_exitcode(status)))


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_lives_on_and_what_it_starts_is_ended(number: signal.Signals) -> None:
    ours, theirs = context.Pipe()
    with shielded():
        process = context.Process(target=live, args=(theirs,))
        process.start()
    assert process.pid is not None
    os.kill(process.pid, number)  # long before it has imported anything
    assert ours.poll(30)
    assert ours.recv() == "alive"
    os.kill(process.pid, number)

    ours.send(number)

    assert ours.poll(30)
    assert ours.recv() == (-number, 3 if number is signal.SIGINT else -number)
    process.join(60)
    assert process.exitcode == 0


def test_this_process_heeds_signals_afterwards_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    with shielded():
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(SIGNALS)

    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
