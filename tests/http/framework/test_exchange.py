"""Each request is logged, as one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.http.conftest import Client


def test_each_request_is_a_line_in_the_access_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ordermill.http.access")

    client.get("/orders/nobody?wait=1")

    (line,) = [record.getMessage() for record in caplog.records if record.name == "ordermill.http.access"]
    assert line.startswith("GET /orders/nobody 404 ")
    assert line.endswith(" ms")


def test_no_request_can_forge_a_line_of_the_access_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ordermill.http.access")

    client.get("/orders/a%0D%0AGET%20/forged%20200")

    (line,) = [record.getMessage() for record in caplog.records if record.name == "ordermill.http.access"]
    assert len(line.splitlines()) == 1
