"""The command line's side of the control socket: asks the daemon, and reads what it answers.

Imports no library of the server's, so that a command that only asks starts fast.
"""

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from maintd.errors import MaintdError, Unreachable

SOCKET = "control.sock"
STATUS_SOCKET = "status.sock"
LONGEST_PATH = 107
"""Bytes in sun_path (unix(7)), without its final NUL."""
PATIENCE = 5.0
"""Seconds that a command waits for an answer."""
HEARTBEAT = 10.0
"""Seconds after which a daemon that has nothing new to tell shows that it is still there."""

Message = dict[str, Any]


def socket_path(directory: str, name: str = SOCKET) -> str:
    """Where the control socket is, or the other one. Raises MaintdError if the kernel cannot take so long a path."""
    path = os.path.join(directory, name)
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise MaintdError(
            f"the path of the control socket is longer than {LONGEST_PATH} bytes: {path}",
            hint=f"choose a shorter {'runtime_dir' if name == SOCKET else 'status_dir'}",
        )
    return path


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, method: str, url: str, body: Mapping[str, Any] | None = None, timeout: float = PATIENCE) -> Message:
    """The daemon's answer. Raises Unreachable, and MaintdError if it does not understand the request."""
    with _asked(path, method, url, body, timeout) as (_, response):
        answer = _message(response.read())
    if response.status != http.HTTPStatus.OK:
        raise MaintdError(str(answer.get("error", f"the daemon answers {response.status}")))
    return answer


def stream(path: str, url: str, body: Mapping[str, Any]) -> Iterator[Message]:
    """The daemon's messages as they come. Raises Unreachable, also if it falls silent or breaks off."""
    with _asked(path, "POST", url, body, 3 * HEARTBEAT) as (_, response):
        if response.status != http.HTTPStatus.OK:
            raise MaintdError(str(_message(response.read()).get("error", f"the daemon answers {response.status}")))
        while line := response.readline():
            if line.strip():
                yield _message(line)


@contextlib.contextmanager
def _asked(
    path: str, method: str, url: str, body: Mapping[str, Any] | None, timeout: float
) -> Iterator[tuple[_Connection, http.client.HTTPResponse]]:
    connection = _Connection(path, timeout)
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, url, data, {"Content-Type": "application/json"})
        yield connection, connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreachable(
            f"the daemon does not answer at {path}: {reason}",
            hint="is it running (supervisorctl status maintd), and are you the user it runs as?",
        ) from error
    finally:
        connection.close()


def _message(data: bytes) -> Message:
    try:
        message = json.loads(data)
    except ValueError as error:
        raise Unreachable("the daemon's answer broke off") from error
    if not isinstance(message, dict):
        raise Unreachable("the daemon's answer is not of its kind")
    return message
