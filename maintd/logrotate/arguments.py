"""How the arguments of logrotate's directives are read: numbers, sizes, paths, users; each refuses what is wrong."""

import grp
import os
import pwd
import re
from collections.abc import Callable

from maintd.logrotate.stanza import Make, Su
from maintd.logrotate.syntax import BLANKS, words

_UNITS = {"k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MOST = 2**31 - 1
_LARGEST = 2**63 - 1
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]{1,20})|(0[0-7]{0,20})|([1-9][0-9]{0,20}))")
_OCTAL = re.compile(r"[0-7]+")


class Wrong(ValueError):
    """An argument that is none, in logrotate's words. It costs the stanza, or the file outside of one."""


def _integer(text: str) -> int | None:
    """A number as strtol(3) reads it: 0x is hexadecimal, a leading 0 octal."""
    found = _INTEGER.fullmatch(text)
    if found is None:
        return None
    sign, hexadecimal, octal, decimal = found.groups()
    number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    return -number if sign == "-" else number


def count(what: str, least: int = 0, most: int = _MOST) -> Callable[[str], int]:
    """A reader of whole numbers; logrotate wraps around beyond 2³¹, here that is refused."""

    def read(value: str) -> int:
        number = _integer(value)
        if number is None or not least <= number <= most:
            raise Wrong(f"bad {what} '{value}'")
        return number

    return read


def size(value: str) -> int:
    """Bytes of a number, with k or K, M or G for 1024s."""
    unit = value[-1]
    if not unit.isdecimal() and unit not in _UNITS:
        raise Wrong(f"unknown unit '{unit}'")
    digits = value[:-1] if unit in _UNITS else value
    number = _integer(digits)
    if number is None or not 0 <= number * _UNITS.get(unit, 1) <= _LARGEST:
        raise Wrong(f"bad size '{digits}'")
    return number * _UNITS.get(unit, 1)


def monthday(value: str) -> int | None:
    return count("monthly directive", 1, 31)(value) if value else None


def weekday(value: str) -> int:
    """0 to 7, nothing being Sunday."""
    if value and (len(value) > 1 or value not in "01234567"):
        raise Wrong(f"bad weekly directive '{value}'")
    return int(value) if value else 0


def path(what: str) -> Callable[[str], str]:
    """A reader of one word: quotes belong to it, and blanks are refused."""

    def read(value: str) -> str:
        if any(blank in value for blank in BLANKS):
            raise Wrong(f"bad {what} {value}")
        return value

    return read


def at_home(path: str) -> str:
    """A path with a leading ~/ replaced by the home directory of who runs this."""
    return os.path.expanduser(path) if path.startswith("~/") else path


def _uid(name: str) -> int:
    """A user by name, else by number; there must be such a user."""
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # ValueError: a NUL in it
        pass
    try:
        return pwd.getpwuid(_number(name)).pw_uid
    except (KeyError, ValueError, OverflowError):
        raise Wrong(f"unknown user '{name}'") from None


def _gid(name: str) -> int:
    """A group by name, else by number; there must be such a group."""
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        pass
    try:
        return grp.getgrgid(_number(name)).gr_gid
    except (KeyError, ValueError, OverflowError):
        raise Wrong(f"unknown group '{name}'") from None


def _number(name: str) -> int:
    if not (name.isascii() and name.isdecimal()):
        raise ValueError(name)
    return int(name)


def make(keyword: str, value: str, before: Make) -> Make:
    """[MODE] [OWNER [GROUP]]: what consists of octal digits only is a mode first; what is left out stays as before."""
    parts = list(words(value))
    mode = int(parts.pop(0), 8) & 0o7777 if parts and _OCTAL.fullmatch(parts[0]) else before.mode
    if len(parts) > 2:
        raise Wrong(f"extra arguments for {keyword}")
    uid, gid = (_uid(parts[0]) if parts else before.uid), (_gid(parts[1]) if len(parts) > 1 else before.gid)
    return Make(mode, uid, gid)


def su(value: str, before: Make) -> Su:
    """USER GROUP, both of which are needed, unless they were given before."""
    parts = words(value)
    if len(parts) > 2:
        raise Wrong("extra arguments for su")
    uid, gid = (_uid(parts[0]) if parts else before.uid), (_gid(parts[1]) if len(parts) > 1 else before.gid)
    if uid is None or gid is None:
        raise Wrong("no user for su" if uid is None else "no group for su")
    return Su(uid, gid)
