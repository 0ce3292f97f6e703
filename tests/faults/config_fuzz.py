"""Thousands of broken configs for one running daemon, each by SIGHUP: it lives, keeps the old one, and does not grow.

The daemon runs as nobody, so that a config which turns out valid cannot do harm; then the good one is put back.
"""

import json
import os
import random
import select
import shutil  # noqa: TID251 - to remove what was in the way
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from maintd import client
from maintd.log import LONGEST_LINE
from maintd.reloading import OWN_FAULT
from maintd.rounds import KEPT
from tests.conftest import until
from tests.tree import NOBODY, Tree

from . import bad_configs
from .resident import PATIENCE, resident
from .table import Row, Skipped

NAME = "config-fuzz"
ROUNDS = 10_000
SEED = 20261124
GOOD = """
[rotate.a]
paths = ["LOGS/*.log"]
max_size = "1K"
keep = 3
compress = "none"
[rotate.b]
paths = ["LOGS/b/*.log"]
cron = "@yearly"
[compress.c]
paths = ["LOGS/*.csv"]
cron = "@yearly"
older_than = "1h"
"""
MOST_GROWTH = 8 << 20
MOST = 160 << 20
"""Bytes of RSS, by which it may grow once it is warm, and that it may take at all."""
ONCE = 6
"""Threads that are begun when a config needs them for the first time (programs, limits, budgets, pings), and stay."""
WARM = 60
"""Measurements, ten rounds apart."""
VERDICTS = ("config.rejected", "config.reloaded")
NOW_AND_THEN = 100


def run(share: float) -> Row:
    if os.geteuid() != 0:
        raise Skipped("the daemon runs as nobody for it: sudo .venv-dev/bin/python -m tests.faults config-fuzz")
    rounds = max(40, round(ROUNDS * share))
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), GOOD)
        for path in (tree.folder, tree.logs):
            os.chown(path, NOBODY, NOBODY)
            path.chmod(0o755)
        fuzz = Fuzz(tree, random.Random(SEED))
        fuzz.live(rounds)
    for fault in fuzz.faults:
        print(f"config fuzz: {fault}", file=sys.stderr)
    return Row("config fuzz by SIGHUP", f"{rounds:,} configs", not fuzz.faults, str(fuzz))


@dataclass(frozen=True)
class Size:
    """What a process takes: bytes of RSS, descriptors, threads."""

    rss: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, process: psutil.Process) -> "Size":
        return cls(process.memory_info().rss, process.num_fds(), process.num_threads())

    def __str__(self) -> str:
        return f"{self.rss / 1e6:.1f} MB RSS, {self.descriptors} descriptors, {self.threads} threads"


@dataclass
class Fuzz:
    """One daemon, and what it said to each config."""

    tree: Tree
    dice: random.Random
    verdicts: Counter[str] = field(default_factory=Counter)
    problems: int = 0
    slowest: tuple[float, str] = (0.0, "")
    sizes: list[Size] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        third = self.sizes[len(self.sizes) // 3]
        return (
            f"{self.verdicts['config.rejected']:,} rejected with {self.problems:,} problems told, "
            f"{self.verdicts['config.reloaded']:,} valid by chance, 0 ends; from {third} to {self.sizes[-1]} "
            f"(at most {max(size.rss for size in self.sizes) / 1e6:.1f} MB); slowest verdict {self.slowest[0]:.1f} s "
            f"({self.slowest[1]}); {len(self.faults)} faults"
        )

    def live(self, rounds: int) -> None:
        reader, writer = os.pipe()
        under = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
        with resident(self.tree, writer, under=under) as self.daemon:
            os.close(writer)
            self.lines = _Lines(reader)
            self.good = self.tree.config.read_bytes()
            self.digests = self._digests()
            process = psutil.Process(self.daemon.process.pid)
            self._look()
            self.sizes.append(Size.of(process))
            for number in range(rounds):
                self._round(number)
                if number % NOW_AND_THEN == 0:
                    self._look()
                if number % 10 == 1:
                    self.sizes.append(Size.of(process))
            self._put(self.good)
            self._look()
            self.sizes.append(Size.of(process))
            self._judge_sizes()
            if self.daemon.stop() != 0 or self.daemon.stderr.read_bytes():
                self.faults.append(f"ended with {self.daemon.process.returncode}: {self.daemon.stderr.read_text()}")
        os.close(reader)

    def _round(self, number: int) -> None:
        """Puts one config in place, and hears what the daemon makes of it."""
        kind, ours = self._spoil(number)
        until(self._is_asleep, "the main thread waits", PATIENCE)  # or it may notice the signal a second later
        begun = time.monotonic()
        self.daemon.process.send_signal(signal.SIGHUP)
        verdict = self._hear()
        self.slowest = max(self.slowest, (time.monotonic() - begun, kind))
        self.verdicts[verdict["event"]] += 1
        self.problems += verdict.get("errors", 0)
        if verdict.get("advice") == OWN_FAULT:
            self.faults.append(f"round {number}, {kind}: {self._next_problem()}")
        for path in ours:
            _remove(path)
        if verdict["event"] == "config.reloaded":
            self._put(self.good)
            client.ask(self.daemon.socket, "POST", "/reload", {"force": True}, timeout=PATIENCE)
            self._hear()

    def _spoil(self, number: int) -> tuple[str, list[Path]]:
        """Makes the config of this round; returns what kind it is, and what is to be removed again."""
        if number % 500 == 499:
            self._put(bad_configs.enormous(self.dice, self.good))
            return "enormous", []
        if number % 20 == 7:
            kind, make = self.dice.choice(list(bad_configs.PLACES.items()))
            self._put(None)
            make(self.tree.config)
            return kind, [self.tree.config]
        if number % 20 == 13:
            folder = self.tree.folder / "conf.d"
            folder.mkdir()
            for name, text in bad_configs.beside(self.dice):
                (folder / name).write_bytes(text)
            self._put(self.good)
            return "conf.d", [folder]
        kind = "huge" if number % 20 == 17 else self.dice.choice([kind for kind in bad_configs.TEXTS if kind != "huge"])
        self._put(bad_configs.TEXTS[kind](self.dice, self.good))
        return kind, []

    def _put(self, text: bytes | None) -> None:
        _remove(self.tree.config)
        if text is not None:
            self.tree.config.write_bytes(text)
            self.tree.config.chmod(0o644)

    def _is_asleep(self) -> bool:
        stat = Path(f"/proc/{self.daemon.process.pid}/stat").read_bytes()
        return stat.rpartition(b") ")[2][:1] == b"S"

    def _hear(self) -> dict[str, Any]:
        """The next verdict."""
        event: dict[str, Any] = {}
        for event in self.lines.events():
            if event["event"] in VERDICTS:
                return event
        code = self.daemon.process.wait(PATIENCE)
        raise AssertionError(f"ended with {code} after {event}\n{self.daemon.stderr.read_text()}")

    def _next_problem(self) -> str:
        return next((event["problem"] for event in self.lines.events() if event["event"] == "config.problem"), "")

    def _look(self) -> None:
        """Whether the good config is in force: it is what status shows, and a log that grows is rotated."""
        if self._digests() != self.digests:
            self.faults.append(f"another config is in force: {self._digests()}")
        log = self.tree.logs / "a.log"
        log.write_bytes(b"line\n" * 500)
        os.chown(log, NOBODY, NOBODY)
        until(lambda: _is_empty(log), "a log is rotated", PATIENCE)

    def _digests(self) -> dict[str, str]:
        return {job["name"]: job["digest"] for job in self.daemon.status()["jobs"]}

    def _judge_sizes(self) -> None:
        """Memory goes up and down with what was read last: so the highest of each third counts."""
        third = len(self.sizes) // 3
        early, late = max(size.rss for size in self.sizes[third:-third]), max(size.rss for size in self.sizes[-third:])
        if late - early > MOST_GROWTH and len(self.sizes) > WARM:
            self.faults.append(f"grew from {early / 1e6:.1f} to {late / 1e6:.1f} MB")
        if late > MOST:
            self.faults.append(f"takes {late / 1e6:.1f} MB")
        before = self.sizes[0]

        def is_as_before() -> bool:
            now = Size.of(psutil.Process(self.daemon.process.pid))
            return now.descriptors <= before.descriptors + ONCE and now.threads <= before.threads + ONCE

        until(is_as_before, f"descriptors and threads are as before, or once {ONCE} more: {before}", KEPT + PATIENCE)


class _Lines:
    """The daemon's events as they come; waits for the next one, but not for ever."""

    def __init__(self, reader: int) -> None:
        self._reader, self._rest = reader, b""

    def events(self) -> Iterator[dict[str, Any]]:
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                assert len(line) < LONGEST_LINE, line
                yield json.loads(line)
                continue
            assert select.select([self._reader], [], [], PATIENCE)[0], "the daemon says nothing"
            data = os.read(self._reader, 1 << 16)
            if not data:
                return
            self._rest += data


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_empty(log: Path) -> bool:
    """Whether the log is there and new; between the two renames of a rotation there is none."""
    with suppress(FileNotFoundError):
        return log.stat().st_size == 0
    return False
