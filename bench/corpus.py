"""Realistic log text of any size: `python bench/corpus.py --bytes 256M --seed 7 OUT [--from DIR]`.

Samples are the `*.log` files of `--from DIR` or $MAINTD_BENCH_LOGS, else the machine's own text logs under /var/log,
else a few invented services. Recipe, the same for the same samples and seed:

1. Windows of 400 to 1600 neighbouring lines are taken from the samples in random order.
2. Times advance: each line is as much later than the one before as it was in its sample (at most 5 s).
3. Within a window, numbers of three digits or more are shifted by one random offset for each count of digits, the last
   two octets of IPv4 addresses by another, and hexadecimal ids are replaced by random ones, the same for the same. So
   equal stays equal, near stays near and counters count on, but no window is a copy of an earlier one.
4. What stands in 1 % of a sample's lines or more (ports, sizes, status codes) is a constant and stays.

A compressor thus meets each service's own vocabulary, which real logs do repeat, and fresh numbers, as in real logs.
"""

import argparse
import itertools
import operator
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from maintd.units import parse_size

_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TOKEN = re.compile(
    rf"""(?P<y_m_d>(?<!\d)(?:19|20)\d\d-\d\d-\d\d(?!\d))
    | (?P<short>^\d\d/\d\d/\d\d(?=\ \d\d:))
    | (?P<packed>^\d{{6}}\ \d{{6}}(?=\ ))
    | (?P<clf>\d\d/{_MONTH}/\d{{4}})
    | (?P<b_d>\b{_MONTH}\ [ \d]\d\b)
    | (?P<clock>(?<![\d:])\d\d:\d\d:\d\d(?![\d:]))
    | (?P<milli>(?<=:\d\d[.,])\d\d\d(?!\d))
    | (?P<ip>(?<![\d.])\d{{1,3}}\.\d{{1,3}}\.\d{{1,3}}\.\d{{1,3}}(?![\d.]))
    | (?P<hex>(?<![0-9A-Za-z])(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{{4,}}(?![0-9A-Za-z]))
    | (?P<number>(?<!\d)\d{{3,19}}(?!\d))""",
    re.VERBOSE,
)
_DATES = {"y_m_d": "%Y-%m-%d", "short": "%y/%m/%d", "clf": "%d/%b/%Y", "b_d": "%b %d", "day": "%y%m%d"}
_TIMES = {"packed", "clock", "milli", *_DATES}
_CONSTANT_SHARE = 0.01
_MOST_OF_ONE_SAMPLE = 4 << 20
_ENOUGH = 256 << 10


@dataclass(frozen=True, slots=True)
class Line:
    """A sample's line: how much later than the one before it is, and how to render it anew."""

    later_ms: int
    render: Callable[[dict[str, str]], str]


class Fresh(dict[str, str]):
    """One window's rewriting of numbers, addresses and ids: the same for the same."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._offsets = [rng.randrange(10**digits) for digits in range(20)]

    def __missing__(self, token: str) -> str:
        if token.isdigit():
            rest = len(token) - 1  # the first digit stays: no leading zeros
            new = token[0] + str((int(token[1:]) + self._offsets[rest]) % 10**rest).zfill(rest)
        elif "." in token:
            a, b, c, d = token.split(".")
            new = f"{a}.{b}.{(int(c) + self._offsets[3]) % 256}.{(int(d) + self._offsets[4]) % 256}"
        else:
            new = f"{self._rng.getrandbits(4 * len(token)):0{len(token)}x}"
        self[token] = new
        return new


def samples(folder: str | None) -> list[list[str]]:
    """The lines of each sample log, from the first source that has enough; see the module's docstring."""
    wanted = folder or os.environ.get("MAINTD_BENCH_LOGS")
    if wanted:
        found = [_lines(path) for path in sorted(Path(wanted).glob("*.log"))]
        if not any(found):
            raise SystemExit(f"{wanted}: no *.log with lines in it")
        return [lines for lines in found if lines]
    own = [_lines(path) for path in sorted(Path("/var/log").rglob("*")) if _is_text_log(path)]
    enough = sum(len(line) for lines in own for line in lines) >= _ENOUGH
    return [lines for lines in own if lines] if enough else _invented(random.Random(1))


def _is_text_log(path: Path) -> bool:
    named = path.suffix == ".log" or path.name in ("syslog", "messages")
    return named and path.is_file() and os.access(path, os.R_OK)


def _lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        return file.read(_MOST_OF_ONE_SAMPLE).decode("latin-1").split("\n")[:-1]


def _invented(rng: random.Random) -> list[list[str]]:
    """Four services' logs, for a machine that has none of its own."""
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    forms = (
        '{ip} - - [{t:%d/%b/%Y:%H:%M:%S} +0000] "GET /api/v2/{word}/{n} HTTP/1.1" {status} {size} "-" "Mozilla/5.0"',
        "{t:%Y-%m-%d %H:%M:%S},{ms:03d} INFO [worker-{few}] jobs.{word}: request {id} finished in {few}.{ms:03d} ms",
        "{t:%b %d %H:%M:%S} host sshd[{n}]: Failed password for invalid user {word} from {ip} port {size} ssh2",
        "{t:%Y-%m-%d %H:%M:%S}.{ms:03d} WARN price.feed: {word}/EUR bid={size}.{few} ask={n}.{few} seq={id} late",
    )
    words = ("orders", "admin", "invoices", "test", "sessions", "oracle", "quotes", "backup", "users", "deploy")
    made: list[list[str]] = [[] for _ in forms]
    for number in range(2000):
        moment += timedelta(milliseconds=rng.randrange(700))
        values = {
            "t": moment,
            "ms": rng.randrange(1000),
            "ip": f"10.{rng.randrange(4)}.{rng.randrange(256)}.{rng.randrange(256)}",
            "n": 21_000 + number // 3,
            "few": rng.randrange(12),
            "word": rng.choice(words),
            "status": rng.choice((200, 200, 200, 304, 404, 500)),
            "size": rng.randrange(1000, 60_000),
            "id": f"{rng.getrandbits(64):016x}",
        }
        for lines, form in zip(made, forms, strict=True):
            lines.append(form.format_map(values))
    return made


def _compiled(lines: list[str]) -> list[Line]:
    seen = Counter(match[0] for line in lines for match in _TOKEN.finditer(line))
    constants = {token for token, count in seen.items() if count >= _CONSTANT_SHARE * len(lines)}
    moments = [_moment(line) for line in lines]
    compiled = []
    for line, before, at in zip(lines, [None, *moments], moments, strict=False):
        later = (at - before) % 86_400_000 if at is not None and before is not None else 0
        compiled.append(Line(min(later, 5000), _renderer(line, constants)))
    return compiled


def _moment(line: str) -> int | None:
    """A line's time of day in milliseconds."""
    match = re.search(r"(\d\d):(\d\d):(\d\d)(?:[.,](\d\d\d))?|^\d{6} (\d\d)(\d\d)(\d\d) ", line)
    if not match:
        return None
    hours, minutes, seconds, milli = (
        int(part or 0) for part in (*(match[n] or match[n + 4] for n in (1, 2, 3)), match[4])
    )
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milli


def _renderer(line: str, constants: set[str]) -> Callable[[dict[str, str]], str]:
    pieces, fields, end = [], [], 0
    for match in _TOKEN.finditer(line):
        kind = str(match.lastgroup)
        timed = kind in _TIMES
        if not timed and match[0] in constants:
            continue
        pieces.append(line[end : match.start()].replace("%", "%%"))
        fields.append(kind if timed else match[0])
        end = match.end()
    pieces.append(line[end:].replace("%", "%%") + "\n")
    form = "%s".join(pieces)
    if not fields:
        plain = form.replace("%%", "%")
        return lambda _fresh: plain
    values = operator.itemgetter(*fields)
    return lambda fresh: form % values(fresh)


def text(seed: int, folder: str | None = None) -> Iterator[bytes]:
    """Endless windows of log text."""
    rng = random.Random(seed)
    sources = [_compiled(lines) for lines in samples(folder)]
    weights = [len(lines) for lines in sources]
    clock = datetime(2026, 3, 1, tzinfo=UTC)
    for lines in itertools.chain.from_iterable(rng.choices(sources, weights, k=64) for _ in itertools.count()):
        start = rng.randrange(max(1, len(lines) - 400))
        window, clock = _window(lines[start : start + rng.randrange(400, 1600)], Fresh(rng), clock)
        yield window.encode("latin-1")


def _window(lines: list[Line], fresh: Fresh, clock: datetime) -> tuple[str, datetime]:
    out, elapsed, second, day = [], 0, -1, None
    for line in lines:
        elapsed += line.later_ms
        if elapsed // 1000 != second:
            second = elapsed // 1000
            now = clock + timedelta(seconds=second)
            if now.day != day:
                day = now.day
                fresh.update((kind, now.strftime(form)) for kind, form in _DATES.items())
            hours, minutes, seconds = f"{now.hour:02d}", f"{now.minute:02d}", f"{now.second:02d}"
            fresh["clock"] = f"{hours}:{minutes}:{seconds}"
            fresh["packed"] = f"{fresh['day']} {hours}{minutes}{seconds}"
        fresh["milli"] = f"{elapsed % 1000:03d}"
        out.append(line.render(fresh))
    return "".join(out), clock + timedelta(seconds=second + 1)


def write(target: BinaryIO, size: int, seed: int, folder: str | None = None) -> None:
    """Writes `size` bytes of log text, cut at the last byte."""
    left = size
    for window in text(seed, folder):
        target.write(window[:left])
        left -= min(left, len(window))
        if not left:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes realistic log text.")
    parser.add_argument("--bytes", default="256M")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--from", dest="folder", help="a folder of *.log with real lines")
    parser.add_argument("out")
    arguments = parser.parse_args()
    with Path(arguments.out).open("wb") as target:
        write(target, parse_size(arguments.bytes), arguments.seed, arguments.folder)


if __name__ == "__main__":
    main()
