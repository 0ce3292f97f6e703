"""maintd killed and told to end, again and again at random times, while writers of every rung go on writing.

`python -m tests.faults.storm_kills [--share X] [--seed N]` plays it alone.
"""

import argparse
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from .account import Account
from .storm import summed
from .storm_scenes import ADOPT, HUP, PAUSE, Scene, Storm
from .storm_stage import Stage, reached, staged
from .table import Row, Skipped
from .writers import Cast

NAME = "storm-kills"
LONG = True
EACH = 200
SEED = 20261123
LIMIT = 2.0
"""Seconds that an ending on SIGTERM may take."""
LINGER = 5.0
"""Seconds in which children of a maintd that was killed must end, and writers that it had stopped must go on."""
PATIENCE = 10.0
"""Seconds until a maintd that is started right after another one's death must be at work."""
RATE = 1_000

STORM = Storm(
    "ext4",
    (
        Scene("supervisord", Cast("pipe", rate=RATE)),
        Scene("signal", Cast("reopen", rate=RATE), HUP),
        Scene("two", Cast("append", ("a", "b"), RATE)),
        Scene("not-appending", Cast("offset", rate=RATE), ADOPT),
        Scene("paused", Cast("offset", rate=RATE), PAUSE),
    ),
)
IN_PLACE = ("two", "not-appending", "paused")
IN_A_START, AT_WORK = 0.3, 0.6
"""The part of deaths within the first 0.4 s, most of them before maintd is at work; and of those within 0.6 s of being
at work. The rest come within 0.6 s of one log being rotated in place: so that some are, however busy the machine is."""


@dataclass
class Deaths:
    """What was found at each of them; `faults` are broken promises, in words."""

    took: list[float] = field(default_factory=list)
    exits: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def run(share: float) -> Row:
    """As many deaths of each kind as the share asks for, in a random order, then the account of every log."""
    return row(share, SEED)


def row(share: float, seed: int) -> Row:
    chance = random.Random(seed)
    kinds = [signal.SIGKILL, signal.SIGTERM] * max(2, round(EACH * share))
    chance.shuffle(kinds)
    found = Deaths()
    with staged(STORM) as stage:
        for count, kind in enumerate(kinds):
            for fault in death(stage, kind, chance, found):
                found.faults.append(f"death {count} of seed {seed} ({kind.name}): {fault}")
                print(f"{NAME}: {found.faults[-1]}", file=sys.stderr, flush=True)
        accounts = stage.settle()
    return _row(kinds, found, accounts)


def _row(kinds: list[signal.Signals], found: Deaths, accounts: dict[str, Account]) -> Row:
    for name, account in accounts.items():
        print(f"{NAME}: {name}: {account}", file=sys.stderr, flush=True)
    counts = Counter(kinds)
    worst = max(found.took, default=0.0)
    rotations = sum(account.archives for account in accounts.values())
    parts = [f"{rotations:,} rotations under way", f"slowest end on SIGTERM {worst:.2f} s"]
    parts += [f"exit codes {dict(sorted(found.exits.items()))}", *found.faults[:5]]
    idle = [name for name, account in accounts.items() if account.archives < max(1, len(kinds) // 20)]
    parts += [f"hardly ever rotated, so nothing is proved: {', '.join(idle)}"] if idle else []
    return Row(
        what="maintd killed and ended under the storm",
        size=f"{counts[signal.SIGKILL]} kill -9, {counts[signal.SIGTERM]} SIGTERM",
        holds=not found.faults and not idle and all(account.is_whole for account in accounts.values()),
        detail="; ".join(parts),
        counts=summed(accounts.values()),
    )


def death(stage: Stage, kind: signal.Signals, chance: random.Random, found: Deaths) -> Iterator[str]:
    """One life of maintd, ended at a random time; yields what went against a promise."""
    daemon = stage.start()
    how = chance.random()
    if how > IN_A_START and not reached(lambda: stage.is_at_work() or daemon.poll() is not None, PATIENCE):
        yield f"the next maintd was not at work after {PATIENCE:.0f} s: {stage.last_words()}"
    name = chance.choice(IN_PLACE)
    if how > AT_WORK and not reached(lambda: stage.has_rotated(name) or daemon.poll() is not None, PATIENCE * 3):
        yield f"{name} was not rotated within {PATIENCE * 3:.0f} s: {stage.last_words()}"
    time.sleep(chance.uniform(0, 0.6 if how > IN_A_START else 0.4))
    if daemon.poll() is not None:
        yield f"maintd had ended by itself with {daemon.returncode}: {stage.last_words()}"
        return
    others = [pid for pid in stage.family() if pid != daemon.pid]
    took = stage.end(kind)
    if kind == signal.SIGTERM:
        found.exits[daemon.returncode] += 1
        found.took.append(took)
        if took > LIMIT:
            yield f"it took {took:.2f} s to end: {stage.last_words()}"
        if daemon.returncode not in (0, -signal.SIGTERM):
            yield f"it ended with {daemon.returncode}: {stage.last_words()}"
    if not reached(lambda: not stage.family(), LINGER):
        yield f"left behind: {[_named(pid) for pid in stage.family()]}, of {len(others)} children"
    if not reached(lambda: not stage.stopped(), LINGER):
        yield f"left stopped: {stage.stopped()}"


def _named(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return f"{pid} {file.read().replace(bytes(1), b' ').decode(errors='replace')}"
    except OSError:
        return f"{pid}, gone by now"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.storm_kills", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    try:
        found = row(asked.share, asked.seed)
    except Skipped as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        return 3
    print(found)
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
