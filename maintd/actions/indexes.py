"""Declared indexes of live databases: made where they are missing, and what they are worth, measured by probes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from maintd import replies
from maintd.actions.hands import Hands
from maintd.actions.sqlite import OnDatabase
from maintd.errors import MaintdError, TimedOut
from maintd.events import Event
from maintd.units import counted, format_duration
from maintd.values import dataclass

_UNIQUE = re.compile(r"(?i)^\s*unique\s+")


@dataclass(frozen=True, kw_only=True)
class IndexCreated(Event):
    """A declared index was made."""

    name: ClassVar[str] = "index.created"

    index: str
    declared: str
    took_ms: float

    @property
    def msg(self) -> str:
        return f"made the index {self.declared} as {self.index} in {self.took_ms:.0f} ms"


@dataclass(frozen=True, kw_only=True)
class IndexFound(Event):
    """A declared index need not be made: it is there, under whatever name, or a wider one begins with its columns."""

    name: ClassVar[str] = "index.found"

    index: str
    declared: str
    how: str

    @property
    def msg(self) -> str:
        return f"the index {self.declared} is {self.how} ({self.index})"


@dataclass(frozen=True, kw_only=True)
class IndexRedundant(Event):
    """An index that nobody declared does nothing that another one, which begins with its columns, does not do."""

    name: ClassVar[str] = "index.redundant"

    index: str
    by: str

    @property
    def msg(self) -> str:
        return f"the index {self.index} is redundant: {self.by} begins with the same columns"


@dataclass(frozen=True, kw_only=True)
class IndexDropped(Event):
    """An index that is not declared was dropped, as asked (`drop_undeclared`). `sql` makes it again."""

    name: ClassVar[str] = "index.dropped"

    index: str
    sql: str

    @property
    def msg(self) -> str:
        return f"dropped the index {self.index}, which is not declared: {self.sql}"


@dataclass(frozen=True, kw_only=True)
class ProbeMeasured(Event):
    """A probe query was run before and after: its time, and how SQLite goes about it.

    Without `before_ms` it was broken off by query_timeout then.
    """

    name: ClassVar[str] = "probe.measured"

    query: str
    before_ms: float | None
    after_ms: float
    plan_before: str
    plan_after: str

    @property
    def msg(self) -> str:
        plan = self.plan_after if self.plan_before == self.plan_after else f"{self.plan_before} → {self.plan_after}"
        before = "over query_timeout" if self.before_ms is None else f"{self.before_ms} ms"
        return f"{before} → {self.after_ms} ms, {plan}: {self.query}"


_CHANGING = ("created", "rebuilt", "dropped")


def is_settled(before: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a probe that was broken off, or is none, need not be asked again: no index has changed."""
    is_hopeless = any(one.get("ms") is None for one in before)
    return is_hopeless and not any(one["state"] in _CHANGING for one in found)


def measured(
    target: str, queries: Sequence[str], before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]
) -> Iterator[ProbeMeasured]:
    """What each query took before and after, of those that could be asked to the end."""
    for query, old, new in zip(queries, before, after, strict=True):
        if "failed" in new or "failed" in old or new["ms"] is None:
            continue
        yield ProbeMeasured(
            target=target,
            query=query,
            before_ms=old["ms"],
            after_ms=new["ms"],
            plan_before=old["plan"],
            plan_after=new["plan"],
        )


def require_done(
    made: Sequence[Mapping[str, Any]], queries: Sequence[str], after: Sequence[Mapping[str, Any]], seconds: float
) -> None:
    """Raises what was said of indexes and probes that have failed, of all of them together."""
    failed = [replies.raised_again(one["failed"]) for one in (*made, *after) if "failed" in one]
    limit = format_duration(timedelta(seconds=seconds))
    failed += [
        TimedOut(f"it took longer than {limit} and was broken off: {query}", hint="raise query_timeout, or correct it")
        for query, one in zip(queries, after, strict=True)
        if "failed" not in one and one["ms"] is None
    ]
    raise_together(failed)


def raise_together(failed: Sequence[Exception]) -> None:
    """Raises one as it is, several as one."""
    if len(failed) == 1:
        raise failed[0]
    if failed:
        hints = dict.fromkeys(getattr(each, "hint", "") for each in failed)
        raise MaintdError("; ".join(map(str, failed)), hint="; ".join(hint for hint in hints if hint))


@dataclass(frozen=True, kw_only=True)
class EnsureIndexes(OnDatabase):
    """Makes the declared indexes that are missing, and measures the probes before and after."""

    verb: ClassVar[str] = "index"

    indexes: tuple[str, ...]
    drop: bool = False
    probes: tuple[str, ...] = ()
    seconds: float = 10.0

    @property
    def detail(self) -> str:
        told = f"{counted(len(self.indexes), 'declared index')}, writers wait {format_duration(self.pause)} at most"
        if not (self.drop and self.indexes):
            return told
        tables = dict.fromkeys(_UNIQUE.sub("", one).partition("(")[0].strip().strip('"') for one in self.indexes)
        return f"{told}; every other index of {', '.join(tables)} that is not unique is dropped"

    def done(self, hands: Hands) -> Iterator[Event]:
        with self.room() as room:
            before = self._probed(hands, room)
            found = self._ensured(hands, room) if self.indexes else []
            yield from (said(self.target, one) for one in found if one["state"] != "failed")
            after = before if is_settled(before, found) else self._probed(hands, room)
        yield from measured(self.target, self.probes, before, after)
        require_done(found, self.probes, after, self.seconds)

    def _ensured(self, hands: Hands, room: str) -> list[dict[str, Any]]:
        pause = self.pause.total_seconds()
        given = {"indexes": self.indexes, "pause": pause, "drop": self.drop}
        within_s = pause * (len(self.indexes) + 1)
        found: list[dict[str, Any]] = self.ask(hands, "indexing:index", temporaries=room, within_s=within_s, **given)
        return found

    def _probed(self, hands: Hands, room: str) -> list[dict[str, Any]]:
        """One that does not end in time, and that SQLite cannot break off either, ends with its child."""
        if not self.probes:
            return []
        within_s = 2 * self.seconds * len(self.probes)
        given = {"queries": self.probes, "seconds": self.seconds}
        try:
            found: list[dict[str, Any]] = self.ask(hands, "tuning:probe", temporaries=room, within_s=within_s, **given)
        except TimedOut:
            hands.check()
            return [{"ms": None, "plan": ""} for _ in self.probes]
        return found


def said(target: str, one: Mapping[str, Any]) -> Event:
    """What came of one index, as an event."""
    name = one["name"]
    match one["state"]:
        case "created":
            return IndexCreated(target=target, index=name, declared=one["declared"], took_ms=one["ms"])
        case "redundant":
            return IndexRedundant(target=target, index=name, by=one["by"])
        case "dropped":
            return IndexDropped(target=target, index=name, sql=one["sql"])
        case state:
            how = "there" if state == "present" else "the beginning of another"
            return IndexFound(target=target, index=name, declared=one["declared"], how=how)
