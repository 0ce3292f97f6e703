"""The kind `check.http`: asks a URL, and looks at the answer: its status, its body, its time, its certificate."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    InstanceOf,
    PlainSerializer,
    WithJsonSchema,
)

from maintd.check import CannotTell, Check, Whole
from maintd.errors import MaintdError, Refused
from maintd.job import AbsolutePath, Context, Flag, Span
from maintd.json_terms import JsonTerm
from maintd.options import Regex, SocketPath, secret
from maintd.readings import Sign, above, below, down, up
from maintd.rules import rule
from maintd.units import format_duration

if TYPE_CHECKING:
    from maintd.exchange import Answer

_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(map(str.isspace, parts.netloc)):
        raise ValueError(f"{url!r} is no URL that can be asked (such as http://127.0.0.1:3000/health)")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a secret is not written here: use username with password_file, or token_file")
    parts.port  # noqa: B018 - asked for its ValueError
    return url


def _headers(given: dict[str, str]) -> dict[str, str]:
    for name, value in given.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not _is_sendable(value):
            raise ValueError(
                f"{name!r} is no header that can be sent: a name of ASCII, and a value in one line of Latin-1"
            )
    return given


def _is_sendable(value: str) -> bool:
    """Whether it may be the value of a header (RFC 9110, 5.5)."""
    return all(char == "\t" or (" " <= char <= "\xff" and char != "\x7f") for char in value)


def _status(given: Any) -> Any:
    if given in _CLASSES or (isinstance(given, int) and not isinstance(given, bool) and 100 <= given <= 599):
        return str(given)
    raise ValueError(f'{given!r} is no status: write 204, or "2xx"')


Status = Annotated[str, BeforeValidator(_status), WithJsonSchema({"type": ["integer", "string"]})]
Term = Annotated[
    InstanceOf[JsonTerm], BeforeValidator(JsonTerm.parse), PlainSerializer(str), WithJsonSchema({"type": "string"})
]


class CheckHttp(Check):
    """Asks a URL. The whole exchange, redirects and TLS included, ends by `timeout`; 1 MiB of the body is read."""

    kind: ClassVar[str] = "check.http"

    url: Annotated[str, AfterValidator(_url)] = Field(description="http:// or https://; without a user in it")
    socket: SocketPath | None = Field(default=None, description="connect to this Unix socket; the URL gives the rest")
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = Field(default="GET", description="what is asked")
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default={}, description='more headers, such as { Accept = "application/json" }'
    )
    body: str | None = Field(default=None, description="what is sent with it")
    status: tuple[Status, ...] = Field(
        default=("2xx",), min_length=1, description='the statuses that are well: [200, 204], or ["2xx", 404]'
    )
    contains: tuple[str, ...] = Field(default=(), description="texts that the body must hold, each of them")
    matches: Regex | None = Field(default=None, description="a regular expression that the body must match somewhere")
    terms: tuple[Term, ...] = Field(
        default=(),
        description="comparisons with what the body holds as JSON, each of which must be met: ['status == \"ok\"']",
    )
    degraded_time: Span | None = Field(default=None, description="an answer that takes so long is degraded")
    down_time: Span | None = Field(default=None, description="and one that takes so long is down")
    degraded_validity: Span | None = Field(
        default=timedelta(days=14), description="degraded when the certificate ends within this"
    )
    down_validity: Span | None = Field(default=timedelta(days=3), description="down when it ends within this")
    verify: Flag = Field(default=True, description="false takes any certificate, and does not look at its end")
    ca_file: AbsolutePath | None = Field(default=None, description="the authorities to go by; default: the system's")
    redirects: Whole = Field(default=5, description="how many are followed; 0 takes a redirect as the answer")
    username: str | None = Field(default=None, description="for basic authentication, with password_file")
    password_file: AbsolutePath | None = Field(default=None, description="a file that holds the password alone")
    token_file: AbsolutePath | None = Field(default=None, description="or one that holds a bearer token")

    @rule("username", "password_file")
    def _basic_is_whole(self) -> str:
        is_half = (self.username is None) != (self.password_file is None)
        return "username and password_file are given together or not at all" if is_half else ""

    @rule("token_file", "username")
    def _one_authorization(self) -> str:
        are_both = self.username is not None and self.token_file is not None
        return "password_file and token_file are both given: choose one" if are_both else ""

    @property
    def target(self) -> str:
        return self.url.partition("?")[0]

    @property
    def is_by_name(self) -> bool:
        from maintd import wire  # noqa: PLC0415 - as below

        return self.socket is None and wire.is_asked_for(urlsplit(self.url).hostname or "")

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        try:
            answer = self._answer(deadline)
        except Refused as error:
            raise CannotTell(str(error), hint=error.hint) from error
        yield self._status_sign(answer)
        took = timedelta(seconds=answer.took)
        limits = _seconds(self.degraded_time), _seconds(self.down_time)
        yield above(answer.took, limits, f"took {format_duration(took)}")
        if answer.valid_s is not None:
            limits = _seconds(self.degraded_validity), _seconds(self.down_validity)
            yield below(answer.valid_s, limits, f"its certificate ends in {answer.valid_s / 86400:.0f} days")
        yield from self._content(ctx, answer, deadline)

    def _answer(self, deadline: float) -> "Answer":
        """What comes back. Raises Refused if what it takes to ask cannot be read."""
        from maintd.exchange import Request, fetch  # noqa: PLC0415 - reading a config does not need HTTP and TLS

        request = Request(
            url=self.url,
            method=self.method,
            headers={"User-Agent": "maintd"} | self.headers | self._authorization(),
            body=self.body,
            redirects=self.redirects,
            socket=self.socket,
            verify=self.verify,
            ca_file=self.ca_file,
        )
        return fetch(request, deadline)

    def _authorization(self) -> dict[str, str]:
        if self.token_file is not None:
            token = secret(self.token_file)
            if not _is_sendable(token):
                raise Refused(f"{self.token_file} holds no token that can be sent", hint="it is to hold one line alone")
            return {"Authorization": f"Bearer {token}"}
        if self.username is None or self.password_file is None:
            return {}
        pair = f"{self.username}:{secret(self.password_file)}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}

    def _status_sign(self, answer: "Answer") -> Sign:
        code = str(answer.status)
        is_well = code in self.status or f"{code[0]}xx" in self.status
        return up(f"status {code}") if is_well else down(f"status {code}, not {' or '.join(self.status)}")

    def _content(self, ctx: Context, answer: "Answer", deadline: float) -> Iterator[Sign]:
        text = answer.body.decode("utf-8", "replace") if self.contains or self.matches else ""
        for wanted in self.contains:
            if wanted not in text:
                yield down(f'the body does not hold "{wanted}"')
        if self.matches and not self.is_matched(ctx, deadline, self.matches, text):
            yield down(f"nothing in the body matches {self.matches}")
        if not self.terms:
            return
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise MaintdError("the body is not JSON") from error
        for term in self.terms:
            complaint = term.complaint(document)
            if complaint:
                yield down(complaint)


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()
