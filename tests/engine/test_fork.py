"""A process that forks while an engine runs: the child does not have it, and can end; the parent goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Python from 3.12 on warns of each fork of a process that has threads, which is what is tried here.
PYTHON = (sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c")
PROGRAM = """
import os, sys
from ordermill.engine import EngineStopped, OrderEngine, OrdermillError
from ordermill.engine.testing import make_order

engine = OrderEngine(sys.argv[1], handler=lambda order: None)
engine.start()
engine.submit(make_order("o-1")).wait(timeout=60)
child = os.fork()
if child == 0:
    calls = {
        "submit": lambda: engine.submit(make_order("o-2")),
        "read": lambda: engine.status("o-1"),
        "wait": lambda: engine.wait("o-1", timeout=60),
        "metrics": engine.metrics,
        "start": engine.start,
    }
    for name, call in calls.items():
        try:
            print(name, call(), flush=True)
        except EngineStopped as error:
            print(name, error, flush=True)
    print("trouble", engine.unready_reasons(), flush=True)
    engine.stop()
    del engine
    sys.exit(7)  # with everything that Python does at its end
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
print("parent", engine.submit(make_order("o-3")).wait(timeout=60), flush=True)
engine.stop()
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program said about each."""
    database = tmp_path_factory.mktemp("fork") / "orders.db"
    done = subprocess.run([*PYTHON, PROGRAM, str(database)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {name: rest for name, _, rest in (line.partition(" ") for line in done.stdout.splitlines())}


@pytest.mark.parametrize("call", ["submit", "read", "wait", "metrics", "start"])
def test_every_call_in_the_child_says_that_the_engine_is_the_parents(said: dict[str, str], call: str) -> None:
    assert "started before this process was forked" in said[call]


def test_the_child_is_not_ready(said: dict[str, str]) -> None:
    assert "the parent's of this process only" in said["trouble"]


def test_the_child_ends_and_the_parent_goes_on(said: dict[str, str]) -> None:
    assert said["child"] == "7"
    assert said["parent"] == "Completed"


def test_a_child_that_outlives_its_parent_keeps_nobody_from_the_database(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from ordermill.engine import OrderEngine; OrderEngine(sys.argv[1]).start(); "
        "child = os.fork(); (print(child, flush=True), os._exit(9)) if child else time.sleep(60)"
    )
    parent = subprocess.Popen([*PYTHON, program, str(tmp_path / "orders.db")], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        assert parent.wait(timeout=30) == 9
        # It stops by itself: up to 3.12.1 Python starts no thread any more once a program begins to end.
        again = "import sys; from ordermill.engine import OrderEngine\nwith OrderEngine(sys.argv[1]): pass"
        done = subprocess.run(
            [*PYTHON, again, str(tmp_path / "orders.db")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        os.kill(child, 9)
        parent.stdout.close()
