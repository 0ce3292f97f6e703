"""Looking into a Redis: a sample of its keys, what takes its memory, and what never expires."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, ClassVar

from maintd.actions.hands import Hands
from maintd.actions.sqlite import DatabaseFailed
from maintd.child import Worker
from maintd.events import Event, Failure
from maintd.steps import Action
from maintd.stores import Secret
from maintd.units import counted, format_size
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class MemoryAnalyzed(Event):
    """What takes the memory of a Redis, by a sample of its keys; `groups` by what is before the first separator."""

    name: ClassVar[str] = "memory.analyzed"

    keys: int
    sampled: int
    lasting: int
    used_bytes: int
    peak_bytes: int
    fragmentation: float
    groups: str
    largest: str
    largest_bytes: int

    @property
    def msg(self) -> str:
        taken = f"{counted(self.keys, 'key')} take {format_size(self.used_bytes)}"
        if not self.sampled:
            return taken
        lasting = f"{self.lasting} of {counted(self.sampled, 'key')} looked at never expire"
        largest = f"the largest is {self.largest}, {format_size(self.largest_bytes)}"
        return f"{taken} ({self.groups}); {lasting}; {largest}"


@dataclass(frozen=True, kw_only=True)
class KeysLasting(Event):
    """Keys that should expire never will: `expiring` names them, and they have no expiry."""

    name: ClassVar[str] = "keys.lasting"
    level: ClassVar[str] = "warning"

    pattern: str
    keys: int
    example: str

    @property
    def msg(self) -> str:
        return f"{counted(self.keys, 'key')} of {self.pattern} never expire, such as {self.example}"


@dataclass(frozen=True, kw_only=True)
class MemoryPurged(Event):
    """A Redis gave memory back that it held and did not use, as asked (`purge_over`)."""

    name: ClassVar[str] = "memory.purged"

    freed_bytes: int

    @property
    def msg(self) -> str:
        return f"gave {format_size(self.freed_bytes)} back to the system"


@dataclass(frozen=True, kw_only=True)
class AnalyzeMemory(Action):
    """Takes a sample of the keys, which holds nobody up, and changes nothing, unless `purge_over` asks for it."""

    verb: ClassVar[str] = "analyze"
    failure: ClassVar[type[Failure]] = DatabaseFailed

    server: Mapping[str, Any] = field(repr=False)
    password_file: str | None
    most: int
    expiring: tuple[str, ...]
    seconds: float
    purge_over: float | None

    @property
    def detail(self) -> str:
        purge = f", memory given back at a fragmentation of {self.purge_over}" if self.purge_over else ""
        return f"{counted(self.most, 'key')} at most{purge}"

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        limits = {"most": self.most, "expiring": self.expiring, "seconds": self.seconds}
        found = self._ask(hands, "sample", **limits)
        yield self._analyzed(found)
        for pattern, count, example in found["wrong"]:
            yield KeysLasting(target=self.target, pattern=pattern, keys=count, example=example)
        if self.purge_over is not None and (found["mem_fragmentation_ratio"] or 0) >= self.purge_over:
            after = self._ask(hands, "purge")
            yield MemoryPurged(target=self.target, freed_bytes=max(found["used_memory_rss"] - after, 0))

    def _ask(self, hands: Hands, function: str, **given: Any) -> Any:
        server = dict(self.server) | {"password": Secret("", self.password_file).read() if self.password_file else None}
        with Worker(lock_fd=hands.lock_fd, background=False) as worker:
            arguments = {"server": server, **given}
            return worker.call(f"maintd.peers.keyspace:{function}", arguments, deadline=hands.deadline, stop=hands.stop)

    def _analyzed(self, found: Mapping[str, Any]) -> Event:
        whole = max(found["bytes"], 1)
        return MemoryAnalyzed(
            target=self.target,
            keys=found["keys"],
            sampled=found["sampled"],
            lasting=found["lasting"],
            used_bytes=found["used_memory"],
            peak_bytes=found["used_memory_peak"],
            fragmentation=found["mem_fragmentation_ratio"] or 0.0,
            groups=", ".join(f"{name or 'others'} {100 * size / whole:.0f}%" for name, _, size in found["groups"]),
            largest=found["largest"][0],
            largest_bytes=found["largest"][1],
        )
