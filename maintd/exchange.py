"""One HTTP exchange with a hard deadline: over TCP, TLS or a Unix socket, redirects followed."""

import http.client
import re
import time
from collections.abc import Mapping
from dataclasses import field, replace
from urllib.parse import quote, urljoin, urlsplit

from maintd import wire
from maintd.errors import MaintdError
from maintd.values import dataclass

LARGEST = 1 << 20
"""Bytes of a body that are read; the rest is not looked at."""
_REDIRECTS = (301, 302, 303, 307, 308)
_FOR_ANYBODY = ("user-agent", "accept")
_OF_THE_BODY = ("content-type", "content-encoding", "content-language", "content-length", "transfer-encoding")
_SAFE = "!#$%&'()*+,/:;=?@[]~"
"""What stands in a URL as it is, besides letters and digits (RFC 3986); whatever else there is gets encoded."""


@dataclass(frozen=True)
class Request:
    """What is asked for. `redirects` is how many are followed; with `socket` the host is only named."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    redirects: int = 5
    socket: str | None = None
    verify: bool = True
    ca_file: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came back, after `took` seconds. `valid_s` is how long the certificate is valid yet, if there was one."""

    status: int
    body: bytes
    took: float
    url: str
    valid_s: float | None = None


class _Response(http.client.HTTPResponse):
    """The final one: those before it that only inform, 103 for one, are read over (RFC 9110, 15.2)."""

    def begin(self) -> None:
        super().begin()
        while http.HTTPStatus.SWITCHING_PROTOCOLS < self.status < http.HTTPStatus.OK:
            self.headers = None  # type: ignore[assignment] # so it begins again
            super().begin()


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over a Wire."""

    response_class = _Response

    def __init__(self, request: Request, deadline: float) -> None:
        parts = urlsplit(request.url)
        self._is_tls = parts.scheme == "https"
        super().__init__(parts.hostname or "localhost", parts.port or (443 if self._is_tls else 80))
        self.default_port = 443 if self._is_tls else 80
        self._request, self._deadline = request, deadline
        self.valid_s: float | None = None

    def connect(self) -> None:
        request = self._request
        made: wire.Wire | wire.TlsWire = (
            wire.connect_unix(request.socket, self._deadline)
            if request.socket
            else wire.connect(self.host, self.port, self._deadline)
        )
        self.sock = made
        if self._is_tls and isinstance(made, wire.Wire):
            context = wire.tls_context(request.ca_file, verify=request.verify)
            self.sock = made = wire.secure(made, self.host, context)
            self.valid_s = wire.seconds_left(made, time.time())


def fetch(request: Request, deadline: float) -> Answer:
    """The answer, after redirects. Raises OSError, TimedOut; MaintdError if it is no proper one."""
    begun = time.monotonic()
    for _ in range(request.redirects + 1):
        status, body, location, valid_s = _once(request, deadline)
        if location is None or not request.redirects:
            return Answer(status, body, time.monotonic() - begun, request.url, valid_s)
        request = _redirected(request, status, _joined(request.url, location))
    raise MaintdError(f"it redirects more than {request.redirects} times, at last to {_shown(request.url)}")


def _joined(url: str, location: str) -> str:
    """Where a redirect leads. What stands in a header was read as Latin-1, whatever it is."""
    try:
        following = urljoin(url, quote(location.encode("latin-1"), safe=_SAFE))
        urlsplit(following).port  # noqa: B018 - asked for its ValueError
    except ValueError:
        raise MaintdError(f"it redirects to {_shown(location)[:200]}, which is no URL") from None
    if urlsplit(following).scheme not in ("http", "https"):
        raise MaintdError(f"it redirects to {_shown(following)}, which is not HTTP")
    return following


def _shown(url: str) -> str:
    """A URL as it may be told to anybody: secrets stand in what is left out."""
    before, slashes, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("//")
    host, slash, path = rest.partition("/")
    return f"{before}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def _redirected(request: Request, status: int, url: str) -> Request:
    """What is asked next (RFC 9110, 15.4): another server gets no header that may be a secret, and no body."""
    method, body, headers = request.method, request.body, dict(request.headers)
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", None
        headers = {name: value for name, value in headers.items() if name.lower() not in _OF_THE_BODY}
    if _server(url) != _server(request.url):
        body = None
        headers = {name: value for name, value in headers.items() if name.lower() in _FOR_ANYBODY}
    return replace(request, url=url, method=method, body=body, headers=headers)


def _server(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _once(request: Request, deadline: float) -> tuple[int, bytes, str | None, float | None]:
    connection = _Connection(request, deadline)
    parts = urlsplit(request.url)
    path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_SAFE)
    try:
        body = None if request.body is None else request.body.encode()
        connection.request(request.method, path, body, dict(request.headers))
        response = connection.getresponse()
        location = response.getheader("Location") if response.status in _REDIRECTS else None
        body = b"" if location and request.redirects else _body(response)
    except http.client.RemoteDisconnected as error:
        raise MaintdError("the connection was closed without an answer") from error
    except (http.client.HTTPException, ValueError) as error:
        raise MaintdError(f"the answer is not HTTP ({type(error).__name__})") from error
    else:
        return response.status, body, location, connection.valid_s
    finally:
        connection.close()


def _body(response: http.client.HTTPResponse) -> bytes:
    said = response.getheader("Content-Length", "0")
    if not all(part.strip().isdecimal() for part in said.split(",")) or len(set(said.replace(" ", "").split(","))) > 1:
        raise MaintdError(f"the answer is not HTTP: its Content-Length is {said[:80]}")
    body = b""
    while len(body) < LARGEST:
        more = response.read(min(1 << 16, LARGEST - len(body)))
        if not more:
            if response.length:
                raise MaintdError(f"the answer broke off: {response.length} bytes of its body are missing")
            break
        body += more
    return body
