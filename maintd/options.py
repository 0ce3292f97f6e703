"""Options that several kinds have in common: how a peer is reached, and secrets that stand in files."""

import os
import re
import stat
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from maintd.errors import Refused
from maintd.job import AbsolutePath


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


def _cores(value: Any) -> Any:
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip().rstrip("%"))
    raise ValueError(f'{value!r} is no share of a core: write "80%", or "250%" for two and a half')


Cores = Annotated[
    float,
    BeforeValidator(_cores),
    Field(ge=0),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?%$"}),
]


def _without_password(text: str) -> str:
    if re.search(r"\b(?:ssl)?password\s*=|//[^/@:]*:[^/@]*@", text):
        raise ValueError("a secret is not written here: use password_file")
    return text


def _socket(path: str) -> str:
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise ValueError(f"{path!r} is no path of a Unix socket: it has more than {_LONGEST_SOCKET} bytes")
    return path


Conninfo = Annotated[str, AfterValidator(_without_password)]
"""How libpq connects, without a password."""
Regex = Annotated[str, Field(min_length=1), AfterValidator(_regex)]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
_LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket, at most (unix(7))."""
_LONGEST_SECRET = 1 << 16
SocketPath = Annotated[AbsolutePath, AfterValidator(_socket)]
Host = Annotated[str, Field(min_length=1, pattern=r"^[^\s/]+$")]


def secret(path: str) -> str:
    """What a file holds, without the end of its line. Raises Refused, which does not show it, and waits for nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ValueError("it is no regular file")
            return os.read(descriptor, _LONGEST_SECRET).decode().rstrip("\r\n")
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        unreadable = "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)
        reason = getattr(error, "strerror", None) or unreadable
        hint = "it is to hold the secret, readable by the user that maintd runs as"
        raise Refused(f"{path} cannot be read: {reason}", hint=hint) from error
