"""Looking after a PostgreSQL: declared indexes, VACUUM and ANALYZE past thresholds, and what is odd about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

from maintd.actions.hands import Hands
from maintd.actions.indexes import is_settled, measured, raise_together, require_done, said
from maintd.actions.sqlite import DatabaseFailed
from maintd.child import Worker
from maintd.errors import MaintdError
from maintd.events import Event, Failure
from maintd.names import enumerated
from maintd.replies import raised_again
from maintd.steps import Action
from maintd.stores import Secret
from maintd.units import counted, format_size
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class IndexRebuilt(Event):
    """A declared index that was there and invalid, since making it had failed, was made anew."""

    name: ClassVar[str] = "index.rebuilt"

    index: str
    declared: str
    took_ms: float

    @property
    def msg(self) -> str:
        return f"made the index {self.declared} anew, as {self.index}, which was invalid"


@dataclass(frozen=True, kw_only=True)
class IndexInvalid(Event):
    """An index that nobody declared is invalid: each write keeps it up, and no query uses it."""

    name: ClassVar[str] = "index.invalid"
    level: ClassVar[str] = "warning"

    index: str

    @property
    def msg(self) -> str:
        return f"the index {self.index} is invalid, and only costs: DROP INDEX CONCURRENTLY, or declare it"


@dataclass(frozen=True, kw_only=True)
class IndexUnused(Event):
    """No query has used an index for as long as the server's statistics go back."""

    name: ClassVar[str] = "index.unused"

    index: str
    bytes: int
    since_s: int

    @property
    def msg(self) -> str:
        return f"no query has used the index {self.index}, {format_size(self.bytes)}, for {self.since_s // 86400} days"


@dataclass(frozen=True, kw_only=True)
class TableBloated(Event):
    """A table is larger than its rows, by an estimate from statistics. VACUUM FULL, or pg_repack, would shrink it."""

    name: ClassVar[str] = "table.bloated"

    table: str
    bytes: int
    share: float

    @property
    def msg(self) -> str:
        return f"about {self.share:.0%} of the table {self.table}, {format_size(self.bytes)}, is empty"


@dataclass(frozen=True, kw_only=True)
class TableTended(Event):
    """VACUUM or ANALYZE of a table that was past the thresholds; `what` is vacuumed or analyzed."""

    name: ClassVar[str] = "table.tended"

    table: str
    what: str
    dead_rows: int
    changed_rows: int
    took_ms: float

    @property
    def msg(self) -> str:
        rows = f"{counted(self.dead_rows, 'dead row')}, {self.changed_rows} changed since the last ANALYZE"
        return f"{self.what} the table {self.table} in {self.took_ms:.0f} ms: it had {rows}"


@dataclass(frozen=True, kw_only=True)
class _OnServer(Action):
    """Something that is done with one database of a server, in a child. Limits in seconds."""

    failure: ClassVar[type[Failure]] = DatabaseFailed

    password_file: str | None
    lock: float
    statement: float

    def ask(self, hands: Hands, function: str, **given: Any) -> Any:
        """What a function of maintd.peers answers."""
        server = {"conninfo": self.target, "lock": self.lock, "statement": self.statement}
        server["password"] = Secret("", self.password_file).read() if self.password_file else None
        with Worker(lock_fd=hands.lock_fd, background=False) as worker:
            arguments = {"server": server, **given}
            return worker.call(f"maintd.peers.{function}", arguments, deadline=hands.deadline, stop=hands.stop)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        yield from self.done(hands)

    def done(self, hands: Hands) -> Iterator[Event]:
        """Does it, and yields what happened."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class EnsureServerIndexes(_OnServer):
    """Makes the declared indexes that are missing (CREATE INDEX CONCURRENTLY), and measures the probes around that."""

    verb: ClassVar[str] = "index"

    indexes: tuple[str, ...]
    probes: tuple[str, ...]
    seconds: float

    @property
    def detail(self) -> str:
        return f"{counted(len(self.indexes), 'declared index')}, beside its writers"

    def done(self, hands: Hands) -> Iterator[Event]:
        before = self._probed(hands)
        found = self.ask(hands, "tables:index", indexes=self.indexes) if self.indexes else []
        for one in found:
            if one["state"] == "rebuilt":
                named = {"index": one["name"], "declared": one["declared"], "took_ms": one["ms"]}
                yield IndexRebuilt(target=self.target, **named)
            elif one["state"] != "failed":
                yield said(self.target, one)
        after = before if is_settled(before, found) else self._probed(hands)
        yield from measured(self.target, self.probes, before, after)
        require_done(found, self.probes, after, self.seconds)

    def _probed(self, hands: Hands) -> list[dict[str, Any]]:
        if not self.probes:
            return []
        told: list[dict[str, Any]] = self.ask(hands, "tables:probe", queries=self.probes, seconds=self.seconds)
        return told


@dataclass(frozen=True, kw_only=True)
class TendTables(_OnServer):
    """VACUUM and ANALYZE of the tables that are past the thresholds."""

    verb: ClassVar[str] = "tend"

    vacuum_over: float
    analyze_over: float
    least: int

    def done(self, hands: Hands) -> Iterator[Event]:
        limits = {"vacuum_over": self.vacuum_over, "analyze_over": self.analyze_over, "least": self.least}
        told = self.ask(hands, "tending:tend", **limits)
        for one in told:
            if one["state"] not in ("vacuumed", "analyzed"):
                continue
            yield TableTended(
                target=self.target,
                table=one["table"],
                what=one["state"],
                dead_rows=one["dead"],
                changed_rows=one["changed"],
                took_ms=one["ms"],
            )
        raise_together([*_untended(told), *(raised_again(one["failed"]) for one in told if "failed" in one)])


_UNTENDED = {
    "skipped": ("locked by somebody, and left for the next run", "raise lock_timeout"),
    "foreign": (
        "past the thresholds, and not for maintd's user to tend",
        "GRANT it the role that owns the tables, and USAGE of their schema; or set tend = false",
    ),
    "held": (
        "vacuumed, and most of the dead rows are still there, since a transaction may see them",
        "look for an old transaction (pg_stat_activity, pg_prepared_xacts), or a replication slot that is not read",
    ),
}


def _untended(told: Sequence[Mapping[str, Any]]) -> Iterator[MaintdError]:
    """Of the tables that nothing could be done for, why, and what to do."""
    for state, (why, hint) in _UNTENDED.items():
        if tables := [one["table"] for one in told if one["state"] == state]:
            yield MaintdError(f"{why}: {enumerated(tables)}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class ReportOddities(_OnServer):
    """Says which tables are bloated, and which indexes are unused, redundant or invalid."""

    verb: ClassVar[str] = "report"
    is_harmless: ClassVar[bool] = True

    bloat_over: float
    unused_after: float | None
    least: int = field(default=10 << 20)
    indexes: tuple[str, ...] = ()

    def done(self, hands: Hands) -> Iterator[Event]:
        limits = {"bloat_over": self.bloat_over, "unused_after": self.unused_after, "least": self.least}
        for one in self.ask(hands, "tending:oddities", indexes=self.indexes, **limits):
            yield _oddity(self.target, one)


def _oddity(target: str, one: Mapping[str, Any]) -> Event:
    name = one["name"]
    match one["state"]:
        case "bloated":
            return TableBloated(target=target, table=name, bytes=one["bytes"], share=one["share"])
        case "unused":
            return IndexUnused(target=target, index=name, bytes=one["bytes"], since_s=int(one["since"]))
        case "invalid":
            return IndexInvalid(target=target, index=name)
        case _:
            return said(target, one)
