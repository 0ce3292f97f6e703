"""The date in an archive's name (dateext): made from a dateformat, recognised in names, and put in order.

The rules of logrotate(8), their details found by running logrotate -f: what is no conversion stands for itself, a
percent sign too; names are ordered by the time that they tell, read up to the first number that cannot be. The offset
from UTC, %z, is of 3.22 (its list of changes, #594), and tells the two equal hours in the night of a change apart.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from maintd.logrotate.stanza import Options
from maintd.values import dataclass

_CONVERSION = re.compile(r"%([YmdHMSVsz])")
_DIGITS = {"Y": 4, "s": 10}
_RANGES = {"m": (1, 12), "d": (1, 31), "H": (0, 23), "M": (0, 59), "S": (0, 61), "V": (0, 53)}
_UNITS = "YmdHMS"
_OFFSET = "[+-][0-9]{4}"

Order = tuple[int, ...]


@dataclass(frozen=True)
class Stamps:
    """The date stamps of one stanza at one time: the one for an archive made now, and how to know others."""

    now: str
    order: Callable[[str], Order | None]
    """Where a stamp belongs among others, or None for a text that is no stamp of this format."""


def stamps(options: Options, now: datetime) -> Stamps:
    """`now` is local time; naive (the system's zone) or aware."""
    pieces = _CONVERSION.split(dateformat(options))
    literals, conversions = pieces[0::2], pieces[1::2]
    moment = _moment(options, now)
    shown = [_shown(moment, unit) for unit in conversions]
    pattern = re.escape(literals[0])
    for unit, literal in zip(conversions, literals[1:], strict=True):
        pattern += rf"({_OFFSET if unit == 'z' else f'[0-9]{{{_DIGITS.get(unit, 2)}}}'}){re.escape(literal)}"
    shape = re.compile(pattern)

    def order(text: str) -> Order | None:
        match = shape.fullmatch(text)
        return _order(conversions, match.groups(), now) if match else None

    text = literals[0] + "".join(part + literal for part, literal in zip(shown, literals[1:], strict=True))
    return Stamps(text, order)


def _shown(moment: datetime, unit: str) -> str:
    if unit == "s":
        return str(int(moment.timestamp()))
    return (moment.astimezone() if unit == "z" and moment.tzinfo is None else moment).strftime(f"%{unit}")


def dateformat(options: Options) -> str:
    """The stanza's dateformat, or what logrotate takes without one."""
    if options.dateformat is not None:
        return options.dateformat
    return "-%Y%m%d%H" if options.criteria.kind == "hourly" else "-%Y%m%d"


def _moment(options: Options, now: datetime) -> datetime:
    """The time that a stamp tells: yesterday is its noon (36 hours before midnight's end), in the offset of now."""
    seconds = now.timestamp()
    if options.dateyesterday:
        offset = (now.astimezone() if now.tzinfo is None else now).utcoffset() or timedelta()
        noon = now.replace(tzinfo=None, fold=0, hour=12) - timedelta(days=1)
        seconds = (noon - datetime(1970, 1, 1)).total_seconds() - offset.total_seconds()  # noqa: DTZ001 - both are local
    if options.datehourago:
        seconds -= 3600
    return datetime.fromtimestamp(seconds, now.tzinfo)


def _order(conversions: list[str], texts: tuple[str, ...], now: datetime) -> Order:
    """Year to second as far as the text tells them; the week of the year does not count, as in strptime(3).

    Of equal ones the one farther east is the earlier.
    """
    found, east = dict.fromkeys(_UNITS, 0), 0
    for unit, text in zip(conversions, texts, strict=True):
        number = int(text)
        if unit == "z":
            east = number
            continue
        if unit == "s":
            moment = datetime.fromtimestamp(number, now.tzinfo)
            found = dict(zip(_UNITS, moment.timetuple()[:6], strict=True))
            continue
        lowest, highest = _RANGES.get(unit, (0, number))
        if not lowest <= number <= highest:
            break
        if unit in found:
            found[unit] = number
    return (*found.values(), -east)
