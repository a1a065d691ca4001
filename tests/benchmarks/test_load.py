"""What wrk prints becomes figures, or a failure: nothing in between."""

from __future__ import annotations

import pytest

from load import Load
from measure import MeasurementFailed

REPORT = """\
Running 10s test @ http://127.0.0.1:9201/orders
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    17.01ms    3.50ms  57.67ms   91.20%
    Req/Sec     3.78k   310.05     4.22k    82.00%
  Latency Distribution
     50%   16.20ms
     75%   17.60ms
     90%   19.45ms
     99%   33.12ms
  37741 requests in 10.02s, 7.20MB read
Requests/sec:   3766.57
Transfer/sec:    735.66KB
"""
LAST = "Requests/sec:"


def test_a_report_without_errors_gives_requests_rate_and_latency() -> None:
    assert Load.parse(REPORT) == Load(requests=37741, per_second=3766.57, p99_ms=33.12)


@pytest.mark.parametrize(
    ("written", "milliseconds"), [("850.00us", 0.85), ("33.12ms", 33.12), ("1.05s ", 1050), ("1.00m ", 60_000)]
)
def test_the_latency_is_read_in_each_unit_as_wrk_pads_it(written: str, milliseconds: float) -> None:
    assert Load.parse(REPORT.replace("33.12ms", written)).p99_ms == pytest.approx(milliseconds)


@pytest.mark.parametrize(
    "line", ["  Socket errors: connect 0, read 3, write 0, timeout 0\n", "  Non-2xx or 3xx responses: 12\n"]
)
def test_any_error_fails_the_measurement(line: str) -> None:
    with pytest.raises(MeasurementFailed, match=line.strip()):
        Load.parse(REPORT.replace(LAST, line + LAST))


def test_no_answer_at_all_fails_the_measurement() -> None:
    with pytest.raises(MeasurementFailed, match="no answer"):
        Load.parse(REPORT.replace("37741 requests", "0 requests"))


def test_text_that_is_no_report_fails_the_measurement() -> None:
    with pytest.raises(MeasurementFailed, match="unable to connect"):
        Load.parse("unable to connect to 127.0.0.1:1 Connection refused\n")
