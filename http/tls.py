"""TLS over connections that no thread waits for."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

from cheroot.ssl.builtin import BuiltinSSLAdapter

from ..engine import InvalidConfiguration


class TlsSocket(ssl.SSLSocket):
    """Says that it would block as other sockets do, and shakes hands with the first bytes that come."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As `socket.recv`."""
        try:
            return super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: Any, flags: int = 0) -> int:
        """As `socket.send`."""
        try:
            return super().send(data, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None


class PatientTls(BuiltinSSLAdapter):
    """Cheroot's adapter, except that nobody waits for a client to shake hands.

    Args:
        certificate: file of the server's certificate, and of those that vouch for it, as PEM.
        private_key: file of its key, as PEM.

    Raises:
        InvalidConfiguration: one of the files is not usable, or they do not belong together.
    """

    def __init__(self, certificate: str, private_key: str) -> None:
        for path in (certificate, private_key):
            try:
                Path(path).read_bytes()
            except OSError as error:
                raise InvalidConfiguration(f"Cannot read {path}: {error.strerror}.") from error
        try:
            super().__init__(certificate, private_key)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise InvalidConfiguration(
                f"{certificate} and {private_key} are no certificate and its key, as PEM without a password: {error}."
            ) from error
        self.context.sslsocket_class = TlsSocket

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        """Speak TLS over a connection that was accepted."""
        sock.setblocking(False)
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {}
