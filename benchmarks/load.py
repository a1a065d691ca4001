"""Load on a server: wrk with a script, and what it reports. Any error under load makes the figures worth nothing."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple, Self

from measure import MeasurementFailed

SCRIPTS = Path(__file__).parent / "peers"
_REQUEST_TIMEOUT_SECONDS = 30  # wrk counts an answer that comes later as an error
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}

_REQUESTS = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_P99 = re.compile(r"^\s*99%\s+([\d.]+)(us|ms|s|m) *$", re.MULTILINE)
_ERRORS = re.compile(r"^\s*(?:Socket errors|Non-2xx or 3xx responses): .*$", re.MULTILINE)


class Load(NamedTuple):
    """What wrk has seen."""

    requests: int
    """Requests that were answered."""
    per_second: float
    p99_ms: float
    """The latency that 99 of 100 requests stayed below, in milliseconds."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `wrk --latency` prints.

        Raises:
            MeasurementFailed: there were errors, no answers at all, or it is not wrk's report.
        """
        if errors := _ERRORS.findall(text):
            raise MeasurementFailed(f"wrk met errors: {'; '.join(error.strip() for error in errors)}")
        requests, rate, p99 = (pattern.search(text) for pattern in (_REQUESTS, _RATE, _P99))
        if not (requests and rate and p99):
            raise MeasurementFailed(f"wrk reports nothing to go by:\n{text}")
        if not int(requests[1]):
            raise MeasurementFailed("wrk got no answer at all")
        return cls(int(requests[1]), float(rate[1]), float(p99[1]) * _MILLISECONDS[p99[2]])


def missing_wrk() -> str:
    """Why there can be no load; an empty string where there can."""
    return "" if shutil.which("wrk") else "wrk is not installed: benchmarks/README.md says how"


class Wrk:
    """wrk at work, from one thread.

    Args:
        url: what it asks for.
        connections: that are kept open, each with one request at a time.
        seconds: how long.
        script: its script, of this folder's `peers/`; plain GET requests without one.
        variables: environment variables for the script. Each load has order ids of its own.
    """

    def __init__(self, url: str, connections: int, seconds: int, script: str = "", **variables: str) -> None:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={_REQUEST_TIMEOUT_SECONDS}s"]
        command += ["--latency", *(["-s", str(SCRIPTS / script)] if script else []), url]
        environment = {**os.environ, "ORDERS_PREFIX": secrets.token_hex(4), **variables}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self) -> Load:
        """Wait for its end.

        Raises:
            MeasurementFailed: there were errors.
        """
        text, _ = self._process.communicate()
        if self._process.returncode:
            raise MeasurementFailed(f"wrk ends with exit code {self._process.returncode}:\n{text}")
        return Load.parse(text)
