"""The date that stands in a file's name, and the name without it: when data is from, and which files are of one log.

`prices-2026-08-01.csv` is of that day, so it is as old as the end of it; `app.log.20260801T000000Z.zst` is of that
moment. Dates are those of a zone unless a Z follows the time. A name without a date tells nothing: then mtime does.
"""

import calendar
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

PACKED = (".zst", ".gz", ".bz2", ".xz", ".lz4", ".zip", ".7z", ".br")
"""What the names of compressed files end in."""
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", "0[1-9]|1[0-2]", r"0[1-9]|[12]\d|3[01]"
_TIME = r"[T_ .-]?(?P<H>[01]\d|2[0-3])[-:_.]?(?P<M>[0-5]\d)(?:[-:_.]?(?P<S>[0-5]\d))?(?P<utc>Z)?"
_DATE = re.compile(
    rf"(?a)(?<!\d)(?P<y>{_YEAR})(?P<by>[-_.]?)(?P<m>{_MONTH})(?P=by)(?P<d>{_DAY})(?:{_TIME})?(?!\d)"
    rf"|(?<!\d)(?P<year>{_YEAR})[-_](?P<month>{_MONTH})(?![-_.]?\d)"
)
_WORD = re.compile(r"(?a)(?:\A|[^a-zA-Z\d])(?:(?=[a-zA-Z]*[g-zG-Z])[a-zA-Z]{3,})?\Z")
"""What a date of digits alone, or a month, may follow: nothing that belongs to it, or a word, as in `log20260801.txt`;
but none that could be hexadecimal digits.
"""
_UUID = re.compile(r"(?i)(?<![\da-f])[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}(?![\da-f])")
_FIRST, _LAST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2, 9999))
"""Seconds since the epoch. A year is left at both ends for what is added, and for other zones."""
_NUMBER = re.compile(r"(?a)[.-]\d{1,4}\Z")


def date_of(name: str, zone: tzinfo) -> datetime | None:
    """The end (aware) of the month, day or moment that a file's name speaks of; by the last date, if it has several."""
    for found in reversed(list(_dates(name))):
        try:
            return _end(found, zone)
        except (ValueError, OverflowError):  # 2026-02-31: the right shape, but no date
            continue
    return None


def _dates(name: str) -> Iterator[re.Match[str]]:
    """What has the shape of a date, and is no part of an identifier: digits with a letter beside them may be."""
    identifiers = [found.span() for found in _UUID.finditer(name)]
    for found in _DATE.finditer(name):
        if any(found.start() < end and start < found.end() for start, end in identifiers):
            continue
        is_alone = not name[found.end() : found.end() + 1].isalnum() and _WORD.search(name[: found.start()])
        if found["by"] or is_alone:
            yield found


def _end(found: re.Match[str], zone: tzinfo) -> datetime:
    if found["year"]:
        year, month = int(found["year"]), int(found["month"])
        return datetime(year, month, calendar.monthrange(year, month)[1], tzinfo=zone) + timedelta(days=1)
    day = datetime(int(found["y"]), int(found["m"]), int(found["d"]), tzinfo=UTC if found["utc"] else zone)
    if not found["H"]:
        return day + timedelta(days=1)
    return day.replace(hour=int(found["H"]), minute=int(found["M"]), second=int(found["S"] or 0))


def time_of(path: str, mtime_ns: int, now: datetime, zone: tzinfo) -> datetime:
    """When a file is from (aware): by the date in its name; if there is none, or it is still to come, by its mtime."""
    stamp = date_of(os.path.basename(path), zone)
    return stamp if stamp is not None and stamp <= now else moment(mtime_ns)


def moment(mtime_ns: int) -> datetime:
    """A file's time (aware). Anybody may give a file one that no calendar has: the nearest of a long life is taken."""
    return datetime.fromtimestamp(min(max(mtime_ns / 1e9, _FIRST), _LAST), UTC)


def log_of(name: str) -> str:
    """What a log and its generations are called in common: the name without date, number and suffix of compression."""
    plain = next((name.removesuffix(suffix) for suffix in PACKED if name.endswith(suffix)), name)
    found = next(_dates(plain), None)
    if found:
        plain = plain[: found.start()].rstrip("-_.") + plain[found.end() :]
    return _NUMBER.sub("", plain) or name
