"""TLS: whole exchanges over it, clients that dawdle over it, and files that are none."""

from __future__ import annotations

import http.client
import json
import logging
import shutil
import socket
import ssl
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trustme

from ordermill.engine import InvalidConfiguration
from ordermill.http.followed import look_at_all
from ordermill.http.transport.handshakes import Handshakes
from ordermill.http.transport.tls import Tls

if TYPE_CHECKING:
    from tests.http.conftest import Client

MakeOrder = Callable[..., dict[str, Any]]


class Files(NamedTuple):
    """A certificate, its key, and a client's trust in it."""

    certificate: Path
    key: Path
    trust: ssl.SSLContext


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return Files(folder / "certificate.pem", folder / "key.pem", trust)


@pytest.fixture
def secure(start_server: Callable[..., Client], files: Files) -> Client:
    """A client of a server that speaks TLS."""
    return start_server(tls_cert=str(files.certificate), tls_key=str(files.key))


@pytest.fixture
def connection(secure: Client, files: Files) -> Iterator[http.client.HTTPSConnection]:
    """A connection that is kept open."""
    with closing(http.client.HTTPSConnection(*secure.address, timeout=60, context=files.trust)) as opened:
        yield opened


def exchange(connection: http.client.HTTPSConnection, method: str, path: str, body: object = None) -> Any:
    """Send a request and read the answer."""
    data = None if body is None else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())


def test_the_address_says_that_it_is_tls(secure: Client) -> None:
    assert secure.server.url.startswith("https://127.0.0.1:")


def shake_hands(files: Files) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A client and a server that have, without a network; what the client sends, the server can read."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = files.trust.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    context = Tls(str(files.certificate), str(files.key)).context
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    server.do_handshake()
    return client, server


def test_a_loop_that_asks_for_much_has_no_memory_set_aside_for_more_than_a_record(files: Files) -> None:
    client, server = shake_hands(files)
    client.write(b"a" * 40_000)
    tracemalloc.start()
    try:
        read = [server.read(256 * 1024) for _ in range(3)]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert b"".join(read) == b"a" * 40_000
    assert most < 128 * 1024
    client.write(b"and the rest")
    place = bytearray(100)
    assert server.read(len(place), place) == 12
    assert place.startswith(b"and the rest")


def test_orders_go_over_one_connection(connection: http.client.HTTPSConnection, order: MakeOrder) -> None:
    for number in range(20):
        assert exchange(connection, "POST", "/orders", order(f"o-{number}"))["order_id"] == f"o-{number}"
        assert exchange(connection, "GET", f"/orders/o-{number}?wait=20")["status"] == "Completed"


def test_bodies_larger_than_any_record_go_through(connection: http.client.HTTPSConnection, order: MakeOrder) -> None:
    sent = [order(f"o-{number}", item_ids=["x" * 64] * 20) for number in range(2_000)]

    assert exchange(connection, "POST", "/orders/bulk", sent)["accepted"] == 2_000
    assert len(exchange(connection, "GET", "/orders?limit=1000")["orders"]) == 675  # as many as go into a mebibyte


def test_requests_that_come_in_one_record_are_all_answered(secure: Client, files: Files, order: MakeOrder) -> None:
    body = json.dumps(order()).encode()
    post = (
        b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n%b\r\n"
    padded = get % (b"X-Padding: " + b"x" * 7_900 + b"\r\n")
    with secure.raw() as bare, files.trust.wrap_socket(bare, server_hostname="127.0.0.1") as connection:
        connection.sendall(post + body + padded + padded + get % b"Connection: close\r\n")
        answers = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answers.count(b"HTTP/1.1 201 Created\r\n") == 1
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3


def test_a_request_in_the_record_of_the_body_before_it_is_answered(
    secure: Client, files: Files, order: MakeOrder
) -> None:
    body = json.dumps(order()).encode()
    head = b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(body)
    with secure.raw() as bare, files.trust.wrap_socket(bare, server_hostname="127.0.0.1") as connection:
        connection.sendall(head)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answers.count(b"HTTP/1.1 201 Created\r\n") == 1
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 1


def test_clients_that_do_not_shake_hands_hold_up_nobody(
    secure: Client, connection: http.client.HTTPSConnection, order: MakeOrder
) -> None:
    silent = [socket.create_connection(secure.address) for _ in range(20)]
    for dawdler in silent[:10]:
        dawdler.sendall(b"\x16\x03\x01")

    assert exchange(connection, "POST", "/orders", order())["order_id"] == "o-1"
    for dawdler in silent:
        dawdler.close()


def test_plain_http_gets_no_answer_and_harms_nobody(secure: Client, connection: http.client.HTTPSConnection) -> None:
    with secure.raw() as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: plain.recv(65536), b""))

    assert b"HTTP/1.1 200" not in answer
    assert exchange(connection, "GET", "/healthz")["status"] == "ok"


def test_old_versions_of_tls_are_not_spoken(secure: Client) -> None:
    assert secure.server.tls.context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_nobody_shakes_hands_again_over_a_connection(secure: Client) -> None:
    assert secure.server.tls.context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("setting", ["tls_cert", "tls_key"])
def test_one_file_without_the_other_is_refused(start_server: Callable[..., Client], files: Files, setting: str) -> None:
    with pytest.raises(InvalidConfiguration, match="TLS needs both --tls-cert and --tls-key"):
        start_server(**{setting: str(files.key)})


def test_a_file_that_is_not_there_is_named(files: Files, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"Cannot read .*none\.pem: No such file"):
        Tls(str(files.certificate), str(tmp_path / "none.pem"))


def test_files_that_are_none_or_do_not_fit_are_refused(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(other)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")

    for certificate, key in ((files.certificate, other), (nonsense, files.key), (files.certificate, nonsense)):
        with pytest.raises(InvalidConfiguration, match="are no certificate and its key"):
            Tls(str(certificate), str(key))


def shown(client: Client) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with client.raw() as bare, context.wrap_socket(bare) as connection:
        certificate = connection.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate


def renew(files: Files, folder: Path) -> tuple[Path, Path]:
    """Copies of the files, to be replaced later."""
    return shutil.copy(files.certificate, folder / "c.pem"), shutil.copy(files.key, folder / "k.pem")


def test_a_renewed_certificate_is_shown_without_a_restart_and_open_connections_go_on(
    start_server: Callable[..., Client], files: Files, tmp_path: Path, order: MakeOrder
) -> None:
    certificate, key = renew(files, tmp_path)
    client = start_server(tls_cert=str(certificate), tls_key=str(key))
    before = shown(client)
    with closing(http.client.HTTPSConnection(*client.address, timeout=60, context=files.trust)) as opened:
        assert exchange(opened, "GET", "/healthz")["status"] == "ok"

        issued = trustme.CA().issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(key)
        look_at_all()  # a second has passed, and only one of the two files has changed
        assert shown(client) == before
        assert client.server.tls.trouble() == (
            "the certificate cannot be read again, what was read before holds: the log says why",
        )
        issued.cert_chain_pems[0].write_to_path(certificate)
        look_at_all()

        assert shown(client) == ssl.PEM_cert_to_DER_cert(certificate.read_text()) != before
        assert client.server.tls.trouble() == ()
        assert exchange(opened, "POST", "/orders", order())["order_id"] == "o-1"


def test_the_files_are_looked_at_again_after_a_second(files: Files, tmp_path: Path) -> None:
    certificate, key = renew(files, tmp_path)
    now = [0.0]
    tls = Tls(str(certificate), str(key), lambda: now[0])
    certificate.unlink()

    assert tls.trouble() == ()
    now[0] = 1.0
    assert len(tls.trouble()) == 1


def reset(connection: socket.socket) -> None:
    """Close it so that the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hello(files: Files) -> bytes:
    """What a client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        files.trust.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("part", [0, 1, 100, -1, None], ids=["nothing", "a byte", "a part", "nearly all", "a hello"])
def test_clients_that_reset_their_connections_stop_nothing_and_are_not_logged(
    secure: Client,
    files: Files,
    connection: http.client.HTTPSConnection,
    part: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = hello(files)[:part]
    for _ in range(50):
        opened = socket.create_connection(secure.address)
        opened.sendall(said)
        reset(opened)
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\xff\xff" + b"a" * 70_000):
        with socket.create_connection(secure.address) as opened, suppress(ConnectionError):
            opened.sendall(noise)

    assert exchange(connection, "GET", "/healthz")["status"] == "ok"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_hello_that_is_said_by_very_many_at_once_is_answered_one_by_one(
    secure: Client, files: Files, connection: http.client.HTTPSConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange(connection, "GET", "/healthz")
    in_a_turn: list[int] = []
    may_say_hello = Handshakes.may_say_hello

    def note(handshakes: Handshakes) -> bool:
        answer = may_say_hello(handshakes)
        in_a_turn.append(handshakes._in_this_turn)
        return answer

    assert secure.server.tls is not None
    monkeypatch.setattr(secure.server.tls, "may_say_hello", partial(note, secure.server._handshakes))
    said = hello(files)
    with ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(secure.address, timeout=60)) for _ in range(100)]
        for opened in crowd:
            opened.sendall(said)
        for opened in crowd:
            assert opened.recv(1) == b"\x16"  # the server's hello
        assert exchange(connection, "GET", "/healthz")["status"] == "ok"

    assert (len(in_a_turn), max(in_a_turn)) == (100, 1)
