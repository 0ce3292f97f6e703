"""Hundreds of crashes in a minute: each is an event, and of messages there are no more than the channel may get.

`python -m tests.faults crash-storm`: real supervisord, and programs that crash as soon as they are started.
"""

import tempfile
import time
from pathlib import Path

from tests.end_to_end.daemon import Daemon
from tests.supervised.sink import Sink, alerts
from tests.supervised.supervisord import Supervisord

from .table import Row

NAME = "crash-storm"
CRASHES = 500
MOST = 5
"""Messages an hour."""
LONGEST = 300.0
LOOP = ("crash gone 1", "startsecs=0\nautorestart=true")
PROGRAMS = "abcdefghij"


def run(share: float) -> Row:
    """Waits until so many crashes were told as events, and counts the messages by then."""
    wanted = max(round(CRASHES * share), 10)
    sink = Sink()
    with tempfile.TemporaryDirectory(prefix="maintd-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        config = alerts(sink, f'remind = "1s"\nmost = {MOST}\n', group="1s")
        one = Daemon(folder, f'{config}[cascade]\nprograms = 99\ncalm = "1s"\n')
        real = Supervisord(folder, dict.fromkeys(PROGRAMS, LOOP))
        real.start()
        try:
            one.start()
            begun = time.monotonic()
            while (crashes := len(one.events("program.crashed"))) < wanted and time.monotonic() - begun < LONGEST:
                time.sleep(1)
            took = time.monotonic() - begun
            messages = len(sink.messages)
        finally:
            one.end()
            real.stop()
            sink.close()
    size = f"{crashes:,} crashes in {took:.0f} s, {messages} messages (at most {MOST} an hour)"
    return Row("a storm of crashes", size, crashes >= wanted and 0 < messages <= MOST)
