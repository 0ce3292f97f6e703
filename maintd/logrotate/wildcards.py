"""Wildcards as glob(3) and fnmatch(3) have them, which differ from those of maintd's own jobs: `[^…]`, `[[:digit:]]`,
a backslash before what is meant literally, a leading ~, links followed, and no `**`.
"""

import fnmatch
import os
import re
from functools import lru_cache

_MAGIC = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"\\(.)|(\[[!^]?\]?(?:\[:\w+:\]|[^\]])*\])|(.)", re.DOTALL)
_CLASSES = {
    "[:alnum:]": "a-zA-Z0-9",
    "[:alpha:]": "a-zA-Z",
    "[:blank:]": " \t",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:punct:]": ":-@!-/[-`{-~",
    "[:space:]": " \t-\r",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}


def is_match(name: str, pattern: str) -> bool:
    """Whether one part of a path matches; a leading dot is matched by a dot only (FNM_PERIOD)."""
    return bool(_regex(pattern).match(name)) and (
        not name.startswith(".") or pattern[:1] == "." or pattern[:2] == "\\."
    )


def expand(pattern: str) -> list[str]:
    """The paths that a pattern names now, sorted by their bytes; the pattern itself if there are none (GLOB_NOCHECK).

    A directory that cannot be read has nothing in it. Backslashes before single characters are taken away from what
    has no wildcard, and stay in a pattern that matches nothing. A slash behind a name without a wildcard asks for no
    directory.
    """
    bare = pattern.rstrip("/")
    if bare == pattern or not bare or _has_wildcard(os.path.basename(bare)):
        return sorted(_below("", os.path.expanduser(pattern)), key=os.fsencode) or [pattern]
    found = _below("", os.path.expanduser(bare))
    return sorted((f"{path}/" if os.path.isdir(path) else path for path in found), key=os.fsencode) or [bare]


def _below(done: str, rest: str) -> list[str]:
    """The paths that begin with `done`, which exists, and match `rest` after that."""
    slashes, part, deeper = _first_part(rest)
    done += slashes
    if not part:
        return [done] if not slashes or os.path.isdir(done) else []
    if _has_wildcard(part):
        names = [name for name in _listed(done) if is_match(name, part)]
    else:
        names = [re.sub(r"\\(.)", r"\1", part)]
    paths = [done + name for name in names]
    if deeper:
        return [path for candidate in paths if os.path.isdir(candidate) for path in _below(candidate, deeper)]
    return [path for path in paths if os.path.lexists(path)]


def _has_wildcard(part: str) -> bool:
    return bool(_MAGIC.search(re.sub(r"\\.", "", part)))


def _first_part(path: str) -> tuple[str, str, str]:
    match = re.match(r"(/*)([^/]*)(.*)", path, re.DOTALL)
    return match.groups() if match else ("", "", "")  # type: ignore[return-value]


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory or ".")
    except (OSError, ValueError):  # ValueError: a NUL in it
        return []


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate("".join(map(_rewritten, _TOKEN.finditer(pattern)))))


def _rewritten(token: re.Match[str]) -> str:
    """One piece of a pattern as Python's fnmatch writes it."""
    escaped, bracket, plain = token.groups()
    if escaped:
        return f"[{escaped}]" if escaped in "*?[" else escaped
    if bracket:
        inner = bracket[1:-1]
        inner = "!" + inner[1:] if inner.startswith("^") else inner
        for name, ranges in _CLASSES.items():
            inner = inner.replace(name, ranges)
        return f"[{inner}]"
    return plain
