"""A stdout that nobody reads, that is closed, or that is full: jobs go on, and what is dropped is counted exactly.

Events come fast from a config that is full of errors, reloaded again and again; logs are rotated all the while. `do`
through the daemon hears every event of its job also where stdout does not, and with it the last number.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maintd.story import MOST_PROBLEMS
from tests.conftest import until
from tests.tree import Tree

from .resident import Resident, resident
from .table import Row

NAME = "outputs"
EVENTS = 100_000
PATIENCE = 120.0
ROTATES_WITHIN = 5.0
JOBS = '[rotate.all]\npaths = ["LOGS/*.log"]\nmax_size = "1K"\n'
WRONG = JOBS + "".join(f"wrong{number} = {number}\n" for number in range(MOST_PROBLEMS))

Events = list[dict[str, Any]]
Read = Callable[[int], Events]


def run(share: float) -> Row:
    events = max(1000, round(EVENTS * share))
    stories = [Story(kind, events) for kind in WITHOUT_READER]
    for story in stories:
        with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
            story.live(Tree(Path(folder).resolve(), JOBS))
        for fault in story.faults:
            print(f"outputs: {story.kind}: {fault}", file=sys.stderr)
    return Row(
        "stdout unread, closed, full",
        f"{len(stories)} daemons, {events:,} events each",
        not any(story.faults for story in stories),
        "; ".join(map(str, stories)),
    )


@dataclass
class Story:
    """One daemon whose stdout takes nothing, or not for long."""

    kind: str
    events: int
    floods: int = 10
    emitted: int = 0
    dropped: int = 0
    rotated: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.emitted:,} events, {self.dropped:,} dropped and counted, {self.rotated} logs rotated "
            f"meanwhile, the slowest in {self.slowest:.1f} s, {len(self.faults)} faults"
        )

    def live(self, tree: Tree) -> None:
        with WITHOUT_READER[self.kind](tree) as (daemon, read):
            while self.emitted < self.events:
                self._flood(daemon)
                self._rotate(daemon)
                self.emitted = self._last_number(daemon)
            self._settle(daemon, read)
            begun = time.monotonic()
            if daemon.stop() != 0:
                self.faults.append(f"ended with {daemon.process.returncode}")
            if time.monotonic() - begun > 2:
                self.faults.append(f"took {time.monotonic() - begun:.1f} s to end")
            if daemon.stderr.read_bytes():
                self.faults.append(f"on stderr: {daemon.stderr.read_text()}")

    def _flood(self, daemon: Resident) -> None:
        daemon.tree.write_config(WRONG)
        for _ in range(max(1, self.events // MOST_PROBLEMS // self.floods)):
            daemon.reload()
        daemon.tree.write_config(JOBS)
        daemon.reload()

    def _rotate(self, daemon: Resident) -> None:
        log = daemon.tree.log("app.log", b"line\n" * 1000)
        begun = time.monotonic()
        archives = len(list(log.parent.glob("app.log.*.zst")))
        until(lambda: len(list(log.parent.glob("app.log.*.zst"))) > archives, "the log is rotated", PATIENCE)
        self.rotated += 1
        self.slowest = max(self.slowest, time.monotonic() - begun)
        if time.monotonic() - begun > ROTATES_WITHIN:
            self.faults.append(f"a log was not rotated within {ROTATES_WITHIN:.0f} s")

    def _last_number(self, daemon: Resident) -> int:
        """The number of an event that is the last one for now: of a run, of which its client hears all."""
        until(lambda: all(job["state"] == "idle" for job in daemon.status()["jobs"]), "nothing runs", PATIENCE)
        daemon.tree.log("app.log", b"line\n")
        heard = [message for message in daemon.do("rotate.all") if message["type"] == "event"]
        return int(heard[-1]["seq"])

    def _settle(self, daemon: Resident, read: Read) -> None:
        """Compares what came out, what is missing in between, and what was counted."""
        came = read(self.emitted)
        self.dropped = daemon.status()["events"]["dropped"]
        told = sum(event["count"] for event in came if event["event"] == "events.dropped")
        last = max((event["seq"] for event in came), default=self.emitted)
        numbers = [event["seq"] for event in came]
        if numbers != sorted(set(numbers)):
            self.faults.append("numbers are not in order")
        if last - len(came) != self.dropped:
            self.faults.append(
                f"{last - len(came):,} numbers of {last:,} are missing, and {self.dropped:,} were counted"
            )
        if came and told != self.dropped:
            self.faults.append(f"{told:,} were told as dropped, and {self.dropped:,} were counted")
        if last < self.emitted:
            self.faults.append(f"{last:,} is the last number that came, of {self.emitted:,}")


@contextmanager
def _unread(tree: Tree) -> Iterator[tuple[Resident, Read]]:
    """A pipe that is read only in the end, after all has happened."""
    reader, writer = os.pipe()
    try:
        with resident(tree, writer) as daemon:
            os.close(writer)
            yield daemon, lambda emitted: _read_through(reader, daemon, emitted)
            *_, last = _events(_rest(reader))
            assert last["event"] == "daemon.stopped", last
    finally:
        os.close(reader)


def _read_through(reader: int, daemon: Resident, emitted: int) -> Events:
    """Everything up to event number `emitted`, or up to the word that it was dropped."""
    os.set_blocking(reader, False)
    data = b""

    def is_through() -> bool:
        nonlocal data
        with suppress(BlockingIOError):
            while chunk := os.read(reader, 1 << 20):
                data += chunk
        events = _events(data.rpartition(b"\n")[0])
        told = sum(event["count"] for event in events if event["event"] == "events.dropped")
        return bool(events) and events[-1]["seq"] >= emitted and told == daemon.status()["events"]["dropped"]

    until(is_through, "all is read", PATIENCE)
    return _events(data)


def _rest(reader: int) -> bytes:
    data = b""
    os.set_blocking(reader, True)
    while chunk := os.read(reader, 1 << 20):
        data += chunk
    return data


def _events(data: bytes) -> Events:
    return [json.loads(line) for line in data.splitlines()]


@contextmanager
def _closed(tree: Tree) -> Iterator[tuple[Resident, Read]]:
    """No descriptor 1 at all."""
    with resident(tree, 1, preexec_fn=lambda: os.close(1)) as daemon:
        yield daemon, lambda emitted: _wait_for_the_writer(daemon, emitted)


@contextmanager
def _gone(tree: Tree) -> Iterator[tuple[Resident, Read]]:
    """A pipe whose reader has gone: EPIPE, and SIGPIPE if nobody took care."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with resident(tree, writer) as daemon:
            yield daemon, lambda emitted: _wait_for_the_writer(daemon, emitted)
    finally:
        os.close(writer)


@contextmanager
def _full(tree: Tree) -> Iterator[tuple[Resident, Read]]:
    """/dev/full: each write fails with ENOSPC."""
    with Path("/dev/full").open("wb") as full, resident(tree, full.fileno()) as daemon:
        yield daemon, lambda emitted: _wait_for_the_writer(daemon, emitted)


def _wait_for_the_writer(daemon: Resident, emitted: int) -> Events:
    """Nothing comes out; each event is counted as dropped once the writer's thread has tried it."""
    until(lambda: daemon.status()["events"]["dropped"] >= emitted, "all are counted as dropped", PATIENCE)
    return []


WITHOUT_READER = {"unread": _unread, "closed": _closed, "reader gone": _gone, "/dev/full": _full}
