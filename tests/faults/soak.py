"""A maintd with everything that looks after health at once, for minutes: what it holds stays as it is.

`python -m tests.faults soak`: checks that answer, hang, fail and recover, a program that crashes, a channel that is
down half of the time, a log that is rotated, and reloads. `bench/checks.py --seconds 360` has an hour's worth of looks.
"""

import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from maintd.values import dataclass
from tests.checks.servers import server
from tests.end_to_end.daemon import Daemon
from tests.supervised.sink import FILE, Sink, alerts
from tests.supervised.supervisord import Supervisord

from .table import Row

NAME = "soak"
SECONDS, SETTLING = 300.0, 15.0
MOST_BYTES, MOST_MORE = 10_000_000, 4
RHYTHM = 'every = "1s"\ntimeout = "900ms"\n'
LOG = '[rotate.a]\npaths = ["LOGS/*.log"]\nmax_size = "1K"\nkeep = 3\n'


@dataclass(frozen=True)
class Held:
    """What the daemon holds at a moment: its RSS in bytes, its descriptors and threads, and its children."""

    rss: int
    descriptors: int
    threads: int
    children: int


def run(share: float) -> Row:
    """Looks at what it holds once a second; what it held at most in the last third, beside what in the first."""
    seconds = max(SECONDS * share, 12.0)
    with tempfile.TemporaryDirectory(prefix="maintd-", ignore_cleanup_errors=True) as name, server() as web:
        sink, folder = Sink(), Path(name).resolve()
        jobs = [f'[check.http.hung{number}]\nurl = "{web.url}/hang"\n{RHYTHM}' for number in range(12)]
        jobs += [f'[check.http.a{number}]\nurl = "{web.url}/{number}"\n{RHYTHM}' for number in range(40)]
        jobs += [FILE.format(name) for name in "abcd"]
        one = Daemon(folder, alerts(sink, 'remind = "5s"\nmost = 100000\n') + LOG + "".join(jobs))
        real = Supervisord(folder, {"gone": ("crash gone 1", "startsecs=0\nautorestart=true")})
        real.start()
        try:
            one.start()
            time.sleep(SETTLING)
            found = list(held(one, sink, seconds))
            looks = sum(map(len, web.asked.values()))
            dropped = [event for event in one.events() if event["event"] == "events.dropped"]
            rotations = len(one.events("log.rotated"))
        finally:
            one.end()
            real.stop()
            sink.close()
    third = len(found) // 3
    first, last = most(found[:third]), most(found[-third:])
    grown = last.rss - first.rss
    more = max(last.descriptors - first.descriptors, last.threads - first.threads, last.children - first.children)
    holds = grown < MOST_BYTES and more <= MOST_MORE and not dropped and rotations > 0 and len(sink.messages) > 0
    said = (
        f"RSS {first.rss / 1e6:.1f} MB, {grown / 1e6:+.1f} MB; {last.descriptors} descriptors, {last.threads} threads"
    )
    size = f"{seconds:.0f} s, {looks:,} looks, {rotations:,} rotations, {len(sink.messages):,} messages"
    return Row("minutes of checks, alerts, crashes and reloads", size, holds, f"{said}, {more:+d} at most of each")


def held(one: Daemon, sink: Sink, seconds: float) -> Iterator[Held]:
    """Once a second, while files come and go, the channel is up and down, a log grows, and the config is read again."""
    assert one.process
    process, end = psutil.Process(one.process.pid), time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > end:
            return
        for index, name in enumerate("abcd"):
            path = one.tree.folder / name
            if number % (3 + 4 * index) == 0:
                path.unlink() if path.exists() else path.touch()
        sink.is_down = number % 20 >= 10
        one.grow("x.log")
        if number % 30 == 0:
            one.hang_up()
        yield Held(process.memory_info().rss, process.num_fds(), process.num_threads(), len(process.children()))
        time.sleep(1)


def most(found: list[Held]) -> Held:
    return Held(*(max(getattr(one, name) for one in found) for name in ("rss", "descriptors", "threads", "children")))
