"""Reads a TOML file that a person wrote: never hangs, never guesses an encoding, and says where it is wrong."""

import os
import re
import stat
import tomllib
from dataclasses import field
from typing import Any

from maintd.errors import ConfigError, Problem, trouble
from maintd.names import printable
from maintd.toml_places import KeyPath, Places, Position, headers
from maintd.values import dataclass

LARGEST = 16 * 1024 * 1024
DEEPEST = 32  # toml-rs overflows its stack at some ten thousand
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY = re.compile(r"\s*([^=\[]*?)\s*=")
_PLAINER = {
    "Invalid value": 'this is not a value: a text stands in quotes ("…"), true and false in small letters',
    "Invalid statement": "this is neither a [table] nor a key = value",
    "Invalid initial character for a key part": "a key is expected here (letters, digits, _ and -; others in quotes)",
    "Cannot overwrite a value": "this name is given twice",
    "Expected '=' after a key in a key/value pair": "an = is missing after the key",
}


@dataclass(frozen=True)
class Source:
    """One file: its printable name, what it holds, and where each part of it stands."""

    file: str
    tables: dict[str, Any] = field(repr=False)
    places: Places = field(repr=False)

    def position(self, path: KeyPath) -> Position:
        """Where a table or an option stands, or else what is around it: an option that is not given is not sought."""
        given, inside = 0, self.tables
        while given < len(path) and isinstance(inside, dict) and path[given] in inside:
            inside, given = inside[str(path[given])], given + 1
        return self.places.find(path[:given] if isinstance(inside, dict) or given == len(path) else path)


def read(path: str, *, euid: int) -> Source:
    """Reads and parses one file. `euid` 0 refuses what anyone but root may have written.

    Raises ConfigError: that the file is missing, unreadable, no regular file, too large or writable by others, or its
    first fault of encoding or syntax.
    """
    file = printable(path)
    try:
        raw = _content(path, file, euid)
    except OSError as error:
        raise _refusal(file, f"cannot be read: {error.strerror}", trouble(error).advice) from None
    except ValueError:  # a NUL or a lone surrogate in the name
        raise _refusal(file, "is no name of a file") from None
    text = _decoded(raw, file).replace("\r\n", "\n")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise _refusal(file, f"is nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise ConfigError([_syntax_problem(file, text, str(error))]) from None
    if _is_deeper(tables, DEEPEST):
        raise _refusal(file, f"is nested deeper than {DEEPEST} levels")
    return Source(file, tables, Places(text))


def _refusal(file: str, message: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(file, 0, 0, f"{message} ({hint})" if hint else message)])


def _content(path: str, file: str, euid: int) -> bytes:
    _require_regular(os.stat(path), file)  # before opening: to open some devices is to act on them
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        info = os.fstat(descriptor)
        _require_regular(info, file)
        if euid == 0:
            _require_trusted(info, file)
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise _refusal(file, f"is larger than {LARGEST // 1024**2} MiB: this is not a config")
    return content


def _require_regular(info: os.stat_result, file: str) -> None:
    if stat.S_ISDIR(info.st_mode):
        raise _refusal(file, "is a directory, not a file")
    if not stat.S_ISREG(info.st_mode):
        raise _refusal(file, "is a FIFO, a socket or a device, not a regular file")


def _require_trusted(info: os.stat_result, file: str) -> None:
    if info.st_uid != 0:
        raise _refusal(file, f"belongs to uid {info.st_uid}, and maintd runs as root", f"type: chown root {file}")
    if info.st_mode & 0o022:
        raise _refusal(file, "may be written by group or others, and maintd runs as root", f"type: chmod go-w {file}")


def _decoded(raw: bytes, file: str) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        message = "begins with a byte order mark (BOM), which TOML forbids: save it as UTF-8 without BOM"
        raise ConfigError([Problem(file, 1, 1, message)])
    if raw.startswith(_UTF16):
        message = f"is UTF-16, and TOML is UTF-8: iconv -f UTF-16 -t UTF-8 {file}"
        raise ConfigError([Problem(file, 1, 1, message)])
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line_start = raw.rfind(b"\n", 0, error.start) + 1
        column = len(raw[line_start : error.start].decode(errors="replace")) + 1
        message = (
            f"byte 0x{raw[error.start]:02x} at offset {error.start} is not UTF-8; "
            f"if the file is Latin-1: iconv -f LATIN1 -t UTF-8 {file}"
        )
        raise ConfigError([Problem(file, raw.count(b"\n", 0, error.start) + 1, column, message)]) from None


def _syntax_problem(file: str, text: str, message: str) -> Problem:
    place = _PLACE.search(message)
    message = message[: place.start()] if place else message
    if place and place[1]:
        line, column = int(place[1]), int(place[2])
    elif place:
        end = text.count("\n") + 1, len(text) - text.rfind("\n")
        return Problem(file, *end, f"the file ends too early: {message[0].lower() + message[1:]}")
    else:  # e.g. an integer of 5000 digits, refused by int()
        return Problem(file, 0, 0, f"a value cannot be read: {message}")
    twice = None
    if message.startswith("Cannot declare"):
        twice = _table_twice(text, line)
    elif message == "Cannot overwrite a value":
        twice = _key_twice(text, line)
    column, message = twice or (column, _PLAINER.get(message, message[0].lower() + message[1:]))
    return Problem(file, line, column, message)


def _table_twice(text: str, line: int) -> tuple[int, str] | None:
    seen: dict[object, int] = {}
    for path, (at, column) in headers(text):
        if at == line and path in seen:
            return column, f"{'.'.join(map(str, path))}: is defined twice, the first time in line {seen[path]}"
        seen.setdefault(path, at)
    return None


def _key_twice(text: str, line: int) -> tuple[int, str] | None:
    key = _KEY.match(text.split("\n")[line - 1])
    return (key.start(1) + 1, f"{key[1]}: is given twice in this table") if key else None


def _is_deeper(tables: dict[str, Any], limit: int) -> bool:
    level: list[Any] = [tables]
    for _ in range(limit + 1):
        inner = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
        level = [child for child in inner if isinstance(child, (dict, list))]
    return bool(level)
