"""An HTTP server on loopback that behaves as its paths say, well or badly, and remembers what it was asked."""

import contextlib
import itertools
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

OK = b'{"status": "ok", "workers": [{"alive": true}], "depth": 7}'


class Server:
    """Answers GET requests. `answers` has what a path does, with the connection and the number of the call."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.headers: dict[str, bytes] = {}
        self.answers: dict[str, Callable[[socket.socket, int], None]] = {
            "/drip": _drip,
            "/drip-head": lambda made, _: _drop_by_drop(made, itertools.repeat(b"X")),
            "/hang": lambda made, _: _until_closed(made),
            "/reset": _reset,
            "/short": lambda made, _: made.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes."),
            "/no-length": lambda made, _: made.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nsome."),
            "/nowhere": lambda made, _: respond(made, 302, b"", "Location: http://[oops:port/"),
            "/loop": lambda made, _: respond(made, 302, b"", "Location: /loop"),
            "/moved": lambda made, _: respond(made, 301, b"", "Location: /ok"),
            "/500": lambda made, _: respond(made, 500, b"broken"),
            "/garbage": lambda made, _: made.sendall(b"220 this is no web server\r\n"),
            "/endless": lambda made, _: _endless(made),
        }
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=300)
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def secure(self, context: ssl.SSLContext) -> None:
        """Shows another certificate from now on."""
        self._context = context

    def close(self) -> None:
        self._listener.close()
        for made in list(self._open):
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                made, _ = self._listener.accept()
                self._open.add(made)
                threading.Thread(target=self._answer, args=[made], daemon=True).start()

    def _answer(self, made: socket.socket) -> None:
        with contextlib.suppress(OSError), self._secured(made) as made:  # noqa: PLR1704 - the same connection
            head = b""
            while b"\r\n\r\n" not in head:
                more = made.recv(65536)
                if not more:
                    return
                head += more
            path = head.split()[1].decode()
            self.headers[path] = head
            self.asked[path].append(time.monotonic())
            self.answers.get(path, lambda made, _: respond(made, 200, OK))(made, len(self.asked[path]))
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)

    def _secured(self, made: socket.socket) -> socket.socket:
        if self._context is None:
            return made
        try:
            return self._context.wrap_socket(made, server_side=True)
        except OSError:
            made.close()
            raise


def respond(made: socket.socket, status: int, body: bytes, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close", *headers]
    made.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def _drop_by_drop(made: socket.socket, drops: Iterator[bytes]) -> None:
    for drop in drops:
        made.sendall(drop)
        time.sleep(0.05)


def _drip(made: socket.socket, _: int) -> None:
    made.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    _drop_by_drop(made, itertools.repeat(b"x"))


def _endless(made: socket.socket) -> None:
    made.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        made.sendall(b"ok " * 10_000)


def _until_closed(made: socket.socket) -> None:
    while made.recv(4096):
        pass


def _reset(made: socket.socket, _: int) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.close()


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as made:
        return made.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def server(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    made = Server(context)
    try:
        yield made
    finally:
        made.close()


def certified(folder: Path, days: float) -> ssl.SSLContext:
    """A server's context with a certificate that ends in so many days (negative: it has ended), its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    import ipaddress

    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
