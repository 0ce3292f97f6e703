"""XML-RPC over a Unix or TCP socket, one connection a call, with a hard deadline that shuts the socket.

supervisor's own transport has no time-out and is not thread-safe, and a server that drips a byte now and then outlives
any time-out of a socket.
"""

import contextlib
import http.client
import socket
import threading
import time
import xml.parsers.expat
import xmlrpc.client
from base64 import b64encode
from typing import Any
from urllib.parse import unquote, urlsplit

from maintd.errors import Denied, Unreachable

DEADLINE = 2.0
_LEGIBLE = bytes(byte if byte >= 0x20 or byte in b"\t\n\r" else 0x3F for byte in range(256))
"""supervisord passes on what a program logged as it is; control characters are no XML, and become question marks."""


_NO_ANSWER = (
    *(OSError, http.client.HTTPException, ValueError, xmlrpc.client.Error),
    *(xml.parsers.expat.ExpatError, LookupError, TypeError),  # what answers is not supervisord, or a log holds U+FFFF
)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, within: float) -> None:
        super().__init__("localhost", timeout=within)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def call(
    url: str, credentials: tuple[str, str], method: str, *arguments: str | bool | int, within: float = DEADLINE
) -> Any:
    """The answer of `method`, within so many seconds; `credentials` are (user, password), or empty.

    Raises Unreachable; Denied for a fault.
    """
    begun = time.monotonic()
    connection = _connection(url, within)
    timer = threading.Timer(within, _shut, [connection])
    timer.daemon = True
    timer.start()
    try:
        body = xmlrpc.client.dumps(arguments, method)
        connection.request("POST", "/RPC2", body, _headers(*credentials))
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise Unreachable(f"supervisord at {url} answers {answer.status} {answer.reason}")
        return xmlrpc.client.loads(content.translate(_LEGIBLE))[0][0]
    except xmlrpc.client.Fault as fault:
        raise Denied(f"supervisord at {url} says {fault.faultString} to {method}{arguments}") from fault
    except _NO_ANSWER as error:
        if time.monotonic() - begun >= within:  # what went wrong then is that the socket was shut
            raise Unreachable(
                f"supervisord at {url} does not answer: nothing came within {round(within, 1):g} s",
                hint="see whether supervisorctl status answers, and what supervisord's log says",
            ) from error
        raise Unreachable(
            f"supervisord at {url} does not answer: {error}",
            hint="set [supervisor] url to the serverurl of supervisorctl",
        ) from error
    finally:
        timer.cancel()
        connection.close()


def _headers(username: str, password: str) -> dict[str, str]:
    headers = {"Content-Type": "text/xml"}
    if username:
        headers["Authorization"] = f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
    return headers


def _connection(url: str, within: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return _UnixConnection(unquote(parts.path), within)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=within)


def _shut(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)
