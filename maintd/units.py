"""Sizes, durations and counts as people write them.

Sizes: a bare number is bytes; K, M, G, T and KiB, MiB, … count in 1024s, kB, MB, GB, TB in 1000s (IEC 80000-13, with
logrotate's reading of the single letters). Durations need a unit, so that nobody has to guess: `90s`, `1h30m`, `7d`.
"""

import re
from datetime import timedelta

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_BINARY = {"": 0, "b": 0, "k": 1, "kib": 1, "m": 2, "mib": 2, "g": 3, "gib": 3, "t": 4, "tib": 4}
_DECIMAL = {"kb": 1, "mb": 2, "gb": 3, "tb": 4}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d|w)")
_SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_SECONDS = {"us": 1e-6, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LONGEST = timedelta(days=36_500)
LARGEST = 2**63 - 1
"""Bytes that a file can have at most (off_t)."""


def parse_size(text: str | int) -> int:
    """Bytes of `10M`, `1.5 GiB`, `200kB` or a bare number. Raises ValueError with the accepted forms."""
    match = _SIZE.fullmatch(str(text))
    unit = match[2].lower() if match else ""
    if match is None or unit not in _BINARY | _DECIMAL:
        raise ValueError(f"{text!r} is not a size (write bytes, or 10K, 10M, 10G, 10MiB, 10MB)")
    size = float(match[1]) * (1024 ** _BINARY[unit] if unit in _BINARY else 1000 ** _DECIMAL[unit])
    if size > LARGEST:
        raise ValueError(f"{text!r} is larger than a file can be")
    return int(size)


def parse_duration(text: str) -> timedelta:
    """The span of `90s`, `1h30m`, `7d`. Raises ValueError with the accepted forms."""
    compact = text.replace(" ", "")
    parts = _DURATION.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is not a duration (write it with a unit: 90s, 15m, 1h30m, 7d, 2w)")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than a hundred years")
    return timedelta(seconds=seconds)


def parse_share(text: str) -> float:
    """The share (0 to 1) that a percentage says: `5%`, `0.5 %`. Raises ValueError with the accepted form."""
    match = _SHARE.fullmatch(text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise ValueError(f"{text!r} is not a share (write it as a percentage above 0 and up to 100: 5%, 50%)")
    return float(match[1]) / 100


def format_size(size: float) -> str:
    """A size for people, in 1024s with one digit: `9.8 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_duration(span: timedelta) -> str:
    """A duration in the form that parse_duration reads: `1h30m`, `7d`, `250ms`."""
    milliseconds = round(span.total_seconds() * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    text, rest = "", milliseconds // 1000
    for unit, seconds in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, seconds)
        text += f"{count}{unit}" if count else ""
    return text


def format_limit(span: timedelta) -> str:
    """A duration that somebody has set, to the millisecond: `1500ms`, and else as format_duration has it."""
    milliseconds = round(span.total_seconds() * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else format_duration(span)


def counted(count: int, noun: str) -> str:
    """A number of things for people: `1 job`, `2 jobs`."""
    several = f"{noun}es" if noun.endswith(("x", "ss")) else f"{noun}s"
    return f"{count} {noun if count == 1 else several}"
