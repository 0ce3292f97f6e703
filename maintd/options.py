"""Options that several kinds have in common: how a peer is reached, and secrets that stand in files."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from maintd.errors import MaintdError


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


Conninfo = Annotated[str, AfterValidator(_without_password)]
"""How libpq connects, without a password."""
Regex = Annotated[str, Field(min_length=1), AfterValidator(_regex)]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
Host = Annotated[str, Field(min_length=1, pattern=r"^[^\s/]+$")]


def secret(path: str) -> str:
    """What a file holds, without the end of its line. Raises MaintdError, which does not show it."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise MaintdError(
            f"{path} cannot be read: {reason}", hint="it is to hold the secret, readable by root"
        ) from error
