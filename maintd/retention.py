"""Which generations stay: a pure function from (generations, policy, now) to Verdicts with reasons.

The rule: a generation is kept if any `keep_*` says so (or if none is set); then `max_age`, `max_count` and `max_total`
remove, oldest first. `keep_within`, the newest generation and what a process has open win over everything: a crash
loop must not push out its own cause. The periods of `keep_hourly` … `keep_yearly` are counted as restic counts them
(restic-forget(1)): of each of the last so many hours, days, … in which there is one, the newest stays.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from types import MappingProxyType

from maintd.units import counted, format_duration, format_size
from maintd.values import dataclass

_YEARS = timedelta(days=365_000)

Bucket = Callable[[datetime], tuple[int, ...]]
_PERIODS: Mapping[str, Bucket] = MappingProxyType(
    {
        "hourly": lambda at: (at.year, at.month, at.day, at.hour, at.fold),
        "daily": lambda at: (at.year, at.month, at.day),
        "weekly": lambda at: at.isocalendar()[:2],
        "monthly": lambda at: (at.year, at.month),
        "yearly": lambda at: (at.year,),
    }
)


@dataclass(frozen=True)
class Generation:
    """One of the files among which the newest count: its path, when it is from (aware), its size in bytes.

    Where times may be wrong, `order` says which is older: it counts before the time. `held` if a process has it open.
    """

    path: str
    time: datetime
    size: int
    order: int = 0
    held: bool = False


@dataclass(frozen=True)
class Policy:
    """What to keep. `keep_last` to `keep_yearly` and `max_count` count the generations of one group.

    `max_total` is in bytes, over all groups.
    """

    keep_last: int | None = None
    keep_within: timedelta | None = None
    max_age: timedelta | None = None
    max_total: int | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    max_count: int | None = None

    @property
    def is_empty(self) -> bool:
        """An empty policy deletes nothing: it never means 'delete everything'. `keep_within` alone is empty too."""
        return not self.keeps and self.max_age is None and self.max_total is None and self.max_count is None

    @property
    def keeps(self) -> dict[str, int]:
        """The rules that count, by their options."""
        named = ("keep_last", *(f"keep_{period}" for period in _PERIODS))
        return {name: count for name in named if (count := getattr(self, name)) is not None}

    def ageless(self) -> "Policy":
        """The same for a moment when the clock is not to be trusted: nothing goes by its age."""
        return replace(self, max_age=None, keep_within=None if self.keep_within is None else _YEARS)


@dataclass(frozen=True)
class Verdict:
    """`protected`: no limit removes it. `is_left`: it was given up, and is left to a later run."""

    generation: Generation
    kept: bool
    reason: str
    protected: bool = False
    is_left: bool = False


def decide(
    groups: Mapping[str, Iterable[Generation]], policy: Policy, now: datetime, zone: tzinfo = UTC
) -> list[Verdict]:
    """A verdict for each generation of each group, oldest first within it; hours, days, … are those of `zone`.

    The order in which they are given does not matter. None counts as younger than the next one: it is older, and its
    time wrong.
    """
    verdicts: list[Verdict] = []
    for group in sorted(groups):
        newest_first = list(_newest_first(groups[group]))
        judged = list(_within_count(_judged(newest_first, policy, now, zone), policy.max_count))
        verdicts.extend(judged[::-1])
    return verdicts if policy.max_total is None else _within_total(verdicts, policy.max_total)


def within_share(verdicts: list[Verdict], share: float, gone: int = 0) -> list[Verdict]:
    """The same, with at most this share (0 to 1) of all generations given up, but one at least: the oldest.

    So many as are `gone` already count as given up too.
    """
    condemned = sorted((verdict for verdict in verdicts if not verdict.kept), key=_age)
    count = len(verdicts) + gone
    most = max(0, max(1, int(share * count)) - gone)
    left = {id(verdict) for verdict in condemned[most:]}
    said = f"left to a later run: of {counted(count, 'file')} at most {share:.0%} go in one"
    return [
        replace(verdict, kept=True, is_left=True, reason=f"{said} ({verdict.reason})")
        if id(verdict) in left
        else verdict
        for verdict in verdicts
    ]


def _age(verdict: Verdict) -> datetime:
    """What puts verdicts in order, the oldest first; those of one time stay in the order that they have."""
    return verdict.generation.time


def _newest_first(generations: Iterable[Generation]) -> Iterator[Generation]:
    youngest = datetime.max.replace(tzinfo=UTC)
    ordered = sorted(generations, key=lambda generation: (generation.order, generation.time, generation.path))
    for generation in reversed(ordered):
        youngest = min(youngest, generation.time)
        yield replace(generation, time=youngest)


def _judged(newest_first: list[Generation], policy: Policy, now: datetime, zone: tzinfo) -> Iterator[Verdict]:
    keeping = _Keeping(policy, zone)
    is_first = True
    for rank, generation in enumerate(newest_first, start=1):
        reason = keeping.reason(generation, rank)
        if rank == 1 or (is_first and generation.time <= now):
            yield Verdict(generation, kept=True, reason="the newest is always kept", protected=True)
        elif generation.held:
            yield Verdict(
                generation, kept=True, reason="a process has it open, or that cannot be known", protected=True
            )
        else:
            yield _judge(generation, rank, policy, now, reason)
        is_first &= generation.time > now


def _judge(generation: Generation, rank: int, policy: Policy, now: datetime, reason: str) -> Verdict:
    age = now - generation.time
    if policy.keep_within is not None and age <= policy.keep_within:
        within = "" if policy.keep_within == _YEARS else f" {format_duration(policy.keep_within)}"
        return Verdict(generation, kept=True, reason=f"within keep_within{within}", protected=True)
    if policy.max_age is not None and age > policy.max_age:
        return Verdict(generation, kept=False, reason=f"older than max_age {format_duration(policy.max_age)}")
    if reason:
        return Verdict(generation, kept=True, reason=reason)
    keeps = policy.keeps
    if keeps.keys() == {"keep_last"}:
        return Verdict(generation, kept=False, reason=f"generation {rank}, keep is {policy.keep_last}")
    rules = ", ".join(f"{name} {count}" for name, count in keeps.items())
    return Verdict(generation, kept=False, reason=f"generation {rank}, beyond {rules}")


class _Keeping:
    """The `keep_*` that count, asked about the generations of one group from the newest to the oldest."""

    def __init__(self, policy: Policy, zone: tzinfo) -> None:
        self._last, self._zone = policy.keep_last or 0, zone
        self._left = {name.removeprefix("keep_"): count for name, count in policy.keeps.items() if name != "keep_last"}
        self._keeps_all = not policy.keeps
        self._seen: dict[str, tuple[int, ...]] = {}

    def reason(self, generation: Generation, rank: int) -> str:
        """Why it is kept, or nothing."""
        reasons = [f"generation {rank}"] if self._keeps_all or rank <= self._last else []
        local = generation.time.astimezone(self._zone)
        for period, left in self._left.items():
            bucket = _PERIODS[period](local)
            if left and self._seen.get(period) != bucket:
                self._left[period] -= 1
                self._seen[period] = bucket
                reasons.append(f"keep_{period}")
        return ", ".join(reasons)


def _within_count(verdicts: Iterable[Verdict], limit: int | None) -> Iterator[Verdict]:
    """Removes what is kept, and newer than which `limit` others of the group are kept already."""
    kept = 0
    for verdict in verdicts:
        kept += verdict.kept
        if limit is not None and verdict.kept and kept > limit and not verdict.protected:
            yield Verdict(verdict.generation, kept=False, reason=f"more than max_count {limit} are kept")
        else:
            yield verdict


def _within_total(verdicts: list[Verdict], limit: int) -> list[Verdict]:
    """Removes the oldest of what is kept, over all groups, until the rest fits into `limit` bytes."""
    total = sum(verdict.generation.size for verdict in verdicts if verdict.kept)
    removed: dict[str, Verdict] = {}
    for verdict in sorted(verdicts, key=_age):
        if total <= limit:
            break
        if verdict.kept and not verdict.protected:
            reason = f"the job's files take {format_size(total)}, max_total is {format_size(limit)}"
            removed[verdict.generation.path] = Verdict(verdict.generation, kept=False, reason=reason)
            total -= verdict.generation.size
    return [removed.get(verdict.generation.path, verdict) for verdict in verdicts]
