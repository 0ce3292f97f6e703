"""Which generations stay: a pure function from (generations, policy, now) to Verdicts with reasons.

The rule: a generation is kept if any `keep*` says so (or if none is set); then `max_age` and `max_total` remove, oldest
first. `keep_within` and the newest generation win over everything: a crash loop must not push out its own cause.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from maintd.units import format_duration, format_size


@dataclass(frozen=True, slots=True)
class Generation:
    """One archive of one log: its path, when it was set aside, its size in bytes."""

    path: str
    time: datetime
    size: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What to keep. `keep` counts generations of one log; `max_total` is in bytes over all logs of the job."""

    keep: int | None = None
    keep_within: timedelta | None = None
    max_age: timedelta | None = None
    max_total: int | None = None

    @property
    def is_empty(self) -> bool:
        """An empty policy deletes nothing: it never means 'delete everything'."""
        return self.keep is None and self.max_age is None and self.max_total is None


@dataclass(frozen=True, slots=True)
class Verdict:
    generation: Generation
    kept: bool
    reason: str
    protected: bool = False


def decide(logs: Mapping[str, Sequence[Generation]], policy: Policy, now: datetime) -> list[Verdict]:
    """A verdict for each generation of each log; a log's generations are given oldest first.

    None counts as younger than the one after it: it is older, and its time wrong.
    """
    verdicts: list[Verdict] = []
    for generations in logs.values():
        ranked = enumerate(_newest_first(generations), start=1)
        verdicts.extend([_judge(generation, rank, policy, now) for rank, generation in ranked][::-1])
    return verdicts if policy.max_total is None else _within_total(verdicts, policy.max_total)


def _newest_first(generations: Sequence[Generation]) -> Iterator[Generation]:
    youngest = datetime.max.replace(tzinfo=UTC)
    for generation in reversed(generations):
        youngest = min(youngest, generation.time)
        yield replace(generation, time=youngest)


def _judge(generation: Generation, rank: int, policy: Policy, now: datetime) -> Verdict:
    age = now - generation.time
    if rank == 1:
        return Verdict(generation, kept=True, reason="the newest is always kept", protected=True)
    if policy.keep_within is not None and age <= policy.keep_within:
        reason = f"within keep_within {format_duration(policy.keep_within)}"
        return Verdict(generation, kept=True, reason=reason, protected=True)
    if policy.max_age is not None and age > policy.max_age:
        return Verdict(generation, kept=False, reason=f"older than max_age {format_duration(policy.max_age)}")
    if policy.keep is not None and rank > policy.keep:
        return Verdict(generation, kept=False, reason=f"generation {rank}, keep is {policy.keep}")
    return Verdict(generation, kept=True, reason=f"generation {rank}")


def _within_total(verdicts: list[Verdict], limit: int) -> list[Verdict]:
    """Removes the oldest of what is kept, over all logs, until the rest fits into `limit` bytes."""
    total = sum(verdict.generation.size for verdict in verdicts if verdict.kept)
    removed: dict[str, Verdict] = {}
    for verdict in sorted(verdicts, key=lambda verdict: verdict.generation.time):
        if total <= limit:
            break
        if verdict.kept and not verdict.protected:
            reason = f"the job's archives take {format_size(total)}, max_total is {format_size(limit)}"
            removed[verdict.generation.path] = Verdict(verdict.generation, kept=False, reason=reason)
            total -= verdict.generation.size
    return [removed.get(verdict.generation.path, verdict) for verdict in verdicts]
