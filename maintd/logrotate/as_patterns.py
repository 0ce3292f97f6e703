"""The names before a stanza's brace as the patterns that maintd's own jobs have: what is watched, claimed, imported."""

import os
import re

_TOKEN = re.compile(r"\\(.)|(\[[!^]?\]?(?:\[:\w+:\]|[^\]])*\])|(\*+)|(.)", re.DOTALL)
_CLASSES = {
    "[:alnum:]": "a-zA-Z0-9",
    "[:alpha:]": "a-zA-Z",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}


def as_pattern(name: str) -> str | None:
    """The pattern for the same files; None for a name that is not absolute, or has no file at its end.

    Links that wildcards lead through are followed by logrotate, and are not by maintd.
    """
    path = os.path.expanduser(name)
    path = path if path.endswith(("*/", "]/", "?/")) else path.rstrip("/")
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        return None
    return "".join(map(_rewritten, _TOKEN.finditer(path)))


def _rewritten(token: re.Match[str]) -> str:
    escaped, bracket, stars, plain = token.groups()
    if escaped:
        return f"[{escaped}]" if escaped in "*?[" else escaped
    if bracket:
        inner = bracket[1:-1]
        inner = "!" + inner[1:] if inner.startswith("^") else inner
        for name, ranges in _CLASSES.items():
            inner = inner.replace(name, ranges)
        return f"[{inner}]"
    return "*" if stars else plain
