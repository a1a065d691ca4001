"""TLS: the certificate of a running server, which follows its files without a restart."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...store.domain.errors import InvalidConfiguration
from ..followed import Followed

_RECORD_BYTES = 16 * 1024  # of what is in one, at the most: RFC 8446 §5.1


class SecureStream(ssl.SSLObject):
    """TLS without a socket. What is read needs no more memory than there can be of it.

    A read gives one record at the most, while loops ask for 256 KiB each time. To get so much from the system and to
    give it back takes longer than to decrypt a request.
    """

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # as it is called there
        """Up to so many bytes, as `ssl.SSLObject`: into a buffer where there is one."""
        return super().read(min(len, _RECORD_BYTES), buffer)


class Tls:
    """Has new connections shake hands with the certificate that is in its files by then.

    Args:
        certificate: file of the server's certificate, and of those that vouch for it, as PEM.
        private_key: file of its key, as PEM.
        now: seconds that only rise.

    Raises:
        InvalidConfiguration: one of the files is not usable, or they do not belong together.
    """

    def __init__(self, certificate: str, private_key: str, now: Callable[[], float] = time.monotonic) -> None:
        files = (Path(certificate), Path(private_key))
        self._current = Followed(files, partial(_read, *files), "the certificate", now)
        self.context = _read(*files)
        """For every connection; which certificate it shows is chosen with each handshake."""
        self.context.sslobject_class = SecureStream
        self.context.sni_callback = self._choose
        self.may_say_hello: Callable[[], bool] = lambda: True
        """Asked before a hello is answered, which takes long; one that may not is refused."""

    def trouble(self) -> tuple[str, ...]:
        """Why the certificate does not follow its files at present, in words for people; empty while it does."""
        self._current.get()
        return self._current.trouble

    def _choose(
        self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        if not self.may_say_hello():
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current.get()
        return None


def _read(certificate: Path, private_key: Path) -> ssl.SSLContext:
    for path in (certificate, private_key):
        try:
            path.read_bytes()
        except OSError as error:
            raise InvalidConfiguration(f"Cannot read {path}: {error.strerror}.") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.options |= ssl.OP_NO_RENEGOTIATION  # it costs as much as a handshake, and OpenSSL before 3.0 allows it
    try:
        context.load_cert_chain(certificate, private_key, password=_refuse_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise InvalidConfiguration(
            f"{certificate} and {private_key} are no certificate and its key, as PEM without a password: {error}."
        ) from error
    return context


def _refuse_password() -> str:
    # Without this, OpenSSL would ask for one at the terminal.
    raise ValueError("the key needs one")
