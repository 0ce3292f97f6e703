"""kill -9 of maintd at any moment while it alerts and restarts programs: everything is told, and nothing stays stopped.

`python -m tests.faults alert-kills`: rounds in which a check fails and recovers, a program that is over its limit is
restarted, the channel is down now and then, and maintd is killed at a random moment and started again.
"""

import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.conftest import until
from tests.end_to_end.daemon import Daemon
from tests.supervised.sink import FILE, Sink, alerts
from tests.supervised.supervisord import Supervisord

from .table import Row

NAME = "alert-kills"
ROUNDS = 60
LIMIT = (
    '[limit.leak]\nprogram = "leak"\nmemory = "20M"\nsample = "1s"\nover = "1 of 1"\ngrace = "0s"\npause = "1ms"\n'
    'step = "1s"\nmax_restarts = 1000\n'
)
SEED = 6


def run(share: float) -> Row:
    """So many rounds, then all is settled: each failure of the check was told, and leak is RUNNING."""
    rounds = max(int(ROUNDS * share), 3)
    chance = random.Random(SEED)
    sink = Sink()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="maintd-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        one = Daemon(folder, alerts(sink, "most = 100000\n", group="200ms") + FILE.format("a") + LIMIT)
        real = Supervisord(folder, {"leak": ("hold 40", "")})
        real.start()
        try:
            for _ in range(rounds):
                sink.is_down = chance.random() < 0.3
                toggle(folder / "a")
                one.start()
                time.sleep(chance.random() * 4)
                one.end()
            sink.is_down = False
            (folder / "a").touch()
            one.start()
            until(lambda: real.state("leak") == "RUNNING", "leak runs", 60)
            until(lambda: not one.status()["alerts"]["channels"][0]["waiting"], "all is told", 330)
            until(
                lambda: not any(n["name"] == "check.file.a" for n in one.status()["alerts"]["open"]), "it is over", 60
            )
            until(lambda: not one.status()["alerts"]["channels"][0]["waiting"], "that is told too", 330)
            wrong += unlike(sink)
            wrong += untold(one, sink)
            restarts = len(one.events("program.restarted")) + len(one.events("program.started"))
        finally:
            one.end()
            real.stop()
            sink.close()
    size = f"{rounds:,} kills, {len(sink.messages):,} messages, {len(sink.refused):,} refused, {restarts:,} restarts"
    return Row(what="alerts and restarts under kill -9", size=size, holds=not wrong, detail="; ".join(wrong[:5]))


def toggle(path: Path) -> None:
    if path.exists():
        path.unlink()
    else:
        path.touch()


def unlike(sink: Sink) -> list[str]:
    """Messages that came, or were refused, more than once under one id, and were not the same."""
    seen: dict[str, list[str]] = {}
    wrong = []
    for message in [*sink.refused, *sink.messages]:
        ident = message[0]["annotations"]["message"]
        content = sorted(str(one["labels"]) for one in message)
        if seen.setdefault(ident, content) != content:
            wrong.append(f"message {ident} was not the same again")
    return wrong


def untold(one: Daemon, sink: Sink) -> list[str]:
    """How often the check was told to fail, in events, beside the incidents of it that arrived."""
    told = Counter(event["event"] for event in one.events() if event.get("job") == "check.file.a")
    arrived = {
        alert["labels"]["incident"]
        for message in sink.messages
        for alert in message
        if alert["labels"]["alertname"] == "check.file.a"
    }
    failed = told["check.failed"]
    return [] if len(arrived) >= failed else [f"{failed} failures in events, {len(arrived)} incidents were delivered"]
