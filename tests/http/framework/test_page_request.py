"""Pages are asked for by anybody, with whatever header and body: nothing of that is an error of ours, or takes long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ordermill.http.security.api_keys import Role, create_key

if TYPE_CHECKING:
    from tests.http.conftest import Client

FORM = "application/x-www-form-urlencoded"
SIGN_IN = "/dashboard/sign_in"
MULTIPART = b'--x\r\nContent-Disposition: form-data; name="key"; filename="a"\r\n\r\nb\r\n--x--\r\n'


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key of the server."""
    return create_key(tmp_path / "keys", [Role.OPERATE])


@pytest.fixture
def keyed(start_server: Callable[..., Client], key: str, tmp_path: Path) -> Client:
    """A client of a server that needs keys."""
    assert key
    return start_server(keys_file=str(tmp_path / "keys"))


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        *((kind, MULTIPART, 415) for kind in ("multipart/form-data", "multipart/form-data; boundary=x")),
        *((kind, MULTIPART, 415) for kind in ('multipart/form-data; boundary="', "multipart/mixed; boundary=x")),
        *((kind, b"key=a", 415) for kind in ("", "text/plain", "application/json", "a/b/c;;=", "\xff")),
        (f"{FORM}; charset=nonsense", b"key=a", 403),
        (f"{FORM.upper()} ; charset=UTF-8", b"key=a", 403),
        *((FORM, body, 400) for body in (b"\xff", b"key=%ff", b"&".join(b"a%d=" % n for n in range(101)))),
        (FORM, b"key=a&key=b", 422),
        (FORM, b"key=" + b"a" * 64 * 1024, 413),
        (FORM, b"other=a", 404),
        (FORM, b"", 403),
    ],
)
def test_what_is_not_a_form_is_refused_in_order(
    keyed: Client, caplog: pytest.LogCaptureFixture, content_type: str, body: bytes, status: int
) -> None:
    reply = keyed.send("POST", SIGN_IN, body, {"Content-Type": content_type})

    assert (reply.status, "Set-Cookie" in reply.headers) == (status, False)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_form_is_taken(keyed: Client, key: str) -> None:
    assert "Set-Cookie" in keyed.send("POST", SIGN_IN, f"key={key}".encode(), {"Content-Type": FORM}).headers


WORST = [unit * (30_000 // len(unit)) for unit in (",", '",', "\\", '"', ";", "a=", ";q=", "=?", "a/b,", " ", '="')]
NAMES = ["Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Content-Disposition", "Content-Type"]
NAMES += ["Cookie", "If-Match", "If-None-Match", "Range", "Authorization", "Content-Language", "TE", "Expect"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_header_takes_long_or_is_an_error(
    keyed: Client, caplog: pytest.LogCaptureFixture, method: str, name: str
) -> None:
    took = []
    for worst in WORST:
        before = time.process_time()
        reply = keyed.send(method, SIGN_IN, headers={name: f"a{worst}"})
        took.append(time.process_time() - before)
        assert reply.status < 500

    assert max(took) < 2, took  # what is quadratic takes more than four times that
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", ["/dashboard/", "/docs", SIGN_IN, "/docs/nothing"])
def test_no_header_is_logged(keyed: Client, key: str, caplog: pytest.LogCaptureFixture, path: str) -> None:
    caplog.set_level(logging.INFO)

    for method in ("GET", "POST"):
        keyed.send(
            method, path, b"x", {"Authorization": f"Bearer {key}", "Cookie": f"a={key}", "Content-Type": "a;q=x"}
        )
        keyed.send(method, path, headers={"Authorization": f"Bearer {key}", "Accept-Encoding": "gzip;q=x"})

    assert key not in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "logged", "status"),
    [
        ("GET", "/docs", "/docs", 200),
        ("GET", "/docs/%0Aforged", "/docs/%0Aforged", 404),
        ("POST", f"{SIGN_IN}?key=secret", SIGN_IN, 403),
        ("GET", "/dashboard/orders/?user_id=secret", "/dashboard/orders/", 303),
        ("DELETE", "/dashboard/", "/dashboard/", 405),
    ],
)
def test_every_page_that_is_asked_for_is_logged_without_its_query(
    keyed: Client, caplog: pytest.LogCaptureFixture, method: str, path: str, logged: str, status: int
) -> None:
    caplog.set_level(logging.INFO)

    keyed.send(method, path, headers={"X-Request-ID": "r-1"})

    (record,) = [record for record in caplog.records if record.name == "ordermill.http.access"]
    assert record.getMessage().startswith(f"{method} {logged} {status} ")
    assert record.request_id == "r-1"  # type: ignore[attr-defined]  # as `extra` has it
    assert "secret" not in caplog.text


@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard/?a=%FF", "/docs", "/docs?a=%FF", "/docs/nothing"])
def test_every_answer_names_its_request(keyed: Client, path: str) -> None:
    assert keyed.get(path, **{"X-Request-ID": "r-1"}).headers["X-Request-ID"] == "r-1"


@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard/orders/", "/dashboard/orders/o-1", SIGN_IN, "/docs"])
def test_no_name_of_a_field_is_an_error(keyed: Client, caplog: pytest.LogCaptureFixture, path: str) -> None:
    for name in ("self", "cls", "args", "kwargs", "template", "visitor", "order_id"):
        assert keyed.get(f"{path}?{name}=a").status < 500, name
        assert keyed.send("POST", path, f"{name}=a".encode(), {"Content-Type": FORM}).status < 500, name

    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
