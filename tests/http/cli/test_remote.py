"""What an operator has a running server do, from the command line."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from rich.console import Console

from ordermill.engine import InvalidConfiguration, OrdermillError, OrderStatus, Reject
from ordermill.engine.testing import make_order
from ordermill.http.cli import remote
from ordermill.http.cli.load import LoadError, run_load
from ordermill.http.cli.main import main
from ordermill.http.cli.remote import Server, ServerRefused
from ordermill.http.security.api_keys import Role, create_key

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `ordermill …` and gives its exit code."""

    def invoke(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ordermill", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return invoke


def test_an_operator_cancels_an_order_that_is_pending(
    start_server: Any, gate: Any, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    client = start_server(gate, processors=1)
    client.engine.submit_many([make_order("first"), make_order("second")])
    gate.begun()

    assert run("cancel", "second", "--reason", "ordered twice", "--url", client.server.url) == 0
    assert capsys.readouterr().out == "second is Cancelled.\n"
    assert client.engine.status("second") is OrderStatus.CANCELLED
    assert client.engine.history("second")[-1].reason == "ordered twice"


def test_an_operator_retries_an_order_that_failed(
    start_server: Any, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts: list[str] = []

    def reject_once(order: Any) -> None:
        attempts.append(order.order_id)
        if len(attempts) == 1:
            raise Reject("no")

    client = start_server(reject_once)
    assert client.engine.submit(make_order("o-1")).wait(timeout=60) is OrderStatus.FAILED

    assert run("retry", "o-1", "--url", client.server.url, "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "Pending"
    assert client.engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_what_the_server_refuses_is_told_in_its_own_words(
    client: Any, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    client.engine.submit(make_order("o-1")).wait(timeout=60)

    assert run("settle", "o-1", "Failed", "--reason", "late", "--url", client.server.url) == 1
    assert "Order 'o-1' is Completed" in capsys.readouterr().err


def test_a_server_that_cannot_be_reached_is_a_clear_error() -> None:
    with pytest.raises(ServerRefused, match="Is it running"):
        Server("http://127.0.0.1:1").post("orders", "o-1", "cancel")


@pytest.mark.parametrize("url", ["nowhere", "", "file:///etc/passwd", "http://127.0.0.1:99999", "http://host/path"])
def test_an_address_that_is_none_is_a_clear_error(url: str) -> None:
    with pytest.raises(ServerRefused, match=r"is not the address of a server: write it like http://127\.0\.0\.1:8080"):
        Server(url).get("orders", "o-1")


class _Redirecting(BaseHTTPRequestHandler):
    """Sends whoever comes on to another server."""

    def do_GET(self) -> None:
        self.send_response(self.server.status)  # type: ignore[attr-defined]  # see `elsewhere`
        self.send_header("Location", f"{self.server.target}{self.path}")  # type: ignore[attr-defined]  # likewise
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815  # the library's name

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def redirecting(client: Any) -> Iterator[ThreadingHTTPServer]:
    """A server that sends on to the client's, which is none that was named."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Redirecting) as server:
        server.target = client.server.url.replace("127.0.0.1", "localhost")  # type: ignore[attr-defined]  # ours
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_neither_key_nor_order_is_sent_on_to_another_server(
    client: Any, redirecting: ThreadingHTTPServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    redirecting.status = status  # type: ignore[attr-defined]  # ours
    server = Server(f"http://127.0.0.1:{redirecting.server_port}", "om_1_secret")
    came: list[object] = []
    monkeypatch.setattr(client.server, "open", came.append)

    for ask in (lambda: server.get("orders"), lambda: server.post("orders", body=b"{}")):
        with pytest.raises(ServerRefused, match=r"sends on to http://localhost:.*, where nothing is sent"):
            ask()
    with pytest.raises(LoadError, match=f"GET /metrics answers {status}"):
        run_load(server, 1, 1, Console(quiet=True))

    assert came == []


@pytest.mark.parametrize(
    ("url", "key", "is_warned"),
    [
        ("http://shop.example:8080", "om_1_secret", True),
        ("http://192.0.2.1", "om_1_secret", True),
        ("http://localhost.evil.example", "om_1_secret", True),
        ("https://shop.example", "om_1_secret", False),
        ("http://127.0.0.1:8080", "om_1_secret", False),
        ("http://[::1]:8080", "om_1_secret", False),
        ("http://shop.example", None, False),
    ],
)
def test_a_key_that_can_be_read_on_its_way_is_warned_of_once(
    url: str, key: str | None, is_warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    remote._warn_of_plain_http.cache_clear()

    for _ in range(3):
        Server(url, key).check_address()

    assert capsys.readouterr().err.count("is not https: whoever is on the way there can read the key") == is_warned


class Certificates(NamedTuple):
    """Files of a server's certificate, and of the authority that signed it."""

    certificate: Path
    key: Path
    authority: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    files = Certificates(folder / "certificate.pem", folder / "key.pem", folder / "authority.pem")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(files.certificate)
    issued.private_key_pem.write_to_path(files.key)
    authority.cert_pem.write_to_path(files.authority)
    return files


@pytest.fixture
def secure(start_server: Any, certificates: Certificates) -> str:
    """The address of a server that speaks TLS, and simulates."""
    client = start_server(
        None, simulate_seconds=0, tls_cert=str(certificates.certificate), tls_key=str(certificates.key)
    )
    url: str = client.server.url
    return url


COMMANDS = [
    ["submit", "o-1", "--user", "u", "--item", "a", "--total", "1"],
    ["list"],
    ["metrics"],
    ["load", "--orders", "3", "--concurrency", "3"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_server_is_trusted_whose_authority_is_named(
    secure: str,
    certificates: Certificates,
    command: list[str],
    run: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(*command, "--url", secure) == 1
    assert "TLS: its certificate is not trusted (" in (told := capsys.readouterr().err)
    assert told.endswith("Name the authority that signed it with --ca FILE.\n")

    assert run(*command, "--url", secure, "--ca", str(certificates.authority)) == 0
    monkeypatch.setenv("ORDERMILL_CA", str(certificates.authority))
    assert run(*command, "--url", secure) == 0


def test_a_load_that_meets_a_certificate_it_does_not_trust_says_so(secure: str) -> None:
    with pytest.raises(ServerRefused, match=r"TLS: its certificate is not trusted \("):
        run_load(Server(secure), 1, 1, Console(quiet=True))


def test_tls_with_a_server_that_speaks_none_is_told_as_such(client: Any) -> None:
    url = client.server.url.replace("http:", "https:")

    for ask in (lambda: Server(url).get("metrics"), lambda: run_load(Server(url), 1, 1, Console(quiet=True))):
        with pytest.raises(ServerRefused, match=r"TLS: .* Does it serve TLS at all"):
            ask()


def test_no_tls_with_a_server_that_speaks_it_is_told_as_such(secure: str) -> None:
    url = secure.replace("https:", "http:")

    for ask in (lambda: Server(url).get("metrics"), lambda: run_load(Server(url), 1, 1, Console(quiet=True))):
        with pytest.raises(OrdermillError) as error:
            ask()
        assert "https" in str(error.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_holds_no_certificates_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(InvalidConfiguration, match="--ca must be a file of certificates as PEM, not "):
        Server("https://127.0.0.1:1", ca=file).get("metrics")


def test_an_order_id_cannot_lead_to_another_path(client: Any) -> None:
    with pytest.raises(ServerRefused, match="no order"):
        Server(client.server.url).post("orders", "../orders/bulk?x=", "cancel")


def test_an_operator_sends_a_key_where_one_is_needed(
    start_server: Any, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    operator, reader = create_key(keys, [Role.OPERATE]), create_key(keys, [Role.READ])

    def reject(_: Any) -> None:
        raise Reject("no")

    client = start_server(reject, keys_file=str(keys))
    client.engine.submit(make_order("o-1")).wait(timeout=60)

    assert run("retry", "o-1", "--url", client.server.url) == 1
    assert "Send a key" in capsys.readouterr().err
    assert run("retry", "o-1", "--url", client.server.url, "--key", reader) == 1
    assert "a key with the role operate" in capsys.readouterr().err
    monkeypatch.setenv("ORDERMILL_KEY", operator)
    assert run("retry", "o-1", "--url", client.server.url) == 0
