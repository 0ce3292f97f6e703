"""How each check stands, and since when: readings come in, and what has changed is said once."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import Any

from maintd.changes import CheckDegraded, CheckFailed, CheckFlapping, CheckRecovered, CheckUnknown
from maintd.check import Check, TooEarly
from maintd.course import Course
from maintd.events import Event
from maintd.job import Job
from maintd.log import Envelope
from maintd.names import printable
from maintd.readings import Health, Reading
from maintd.state import Standing, State
from maintd.values import dataclass

FLAPPING, FLAPPING_DOWN, BLIND = "flapping", "flapping down", "blind"
"""What was said, beside a Health: that it changes again and again, and that it was down among that; or that it could
not be told for as long as `_BLIND`."""
_FLAPS = (FLAPPING, FLAPPING_DOWN)
_BLIND = 3600.0
"""Seconds of unknown readings after which that is told as if it were down: nobody looks after it."""
_IMPATIENCE = 1.0
"""Seconds before a check on which another waits is looked at again."""


@dataclass
class _Entry:
    """What is known of one check in this life of maintd; times are monotonic, `read_at` is aware."""

    standing: Standing
    begun: float
    course: Course = field(default_factory=Course)
    reading: Reading | None = None
    read_at: datetime | None = None
    looked: float = 0.0
    bad_since: float = 0.0
    blind_since: float = 0.0
    not_up_since: float | None = None
    asked: float = 0.0
    memory: dict[str, Any] = field(default_factory=dict)


class Standings:
    """Used by the daemon's main thread alone, `memory` apart. They outlive the daemon, in `state`.

    `emit` gets what has changed; `look` has a check looked at now, because what another found depends on it.
    """

    def __init__(self, state: State, emit: Callable[[Event, Envelope], None], look: Callable[[str], None]) -> None:
        self._state = state
        self._emit = emit
        self._look = look
        self._checks: dict[str, Check] = {}
        self._entries: dict[str, _Entry] = {}
        self._direct: dict[str, list[str]] = {}

    def take_over(self, jobs: Mapping[str, Job], now: datetime) -> None:
        """Goes by these jobs from now on; a check of the same name keeps how it stands."""
        before = self._checks
        self._checks = {name: job for name, job in jobs.items() if isinstance(job, Check) and job.enabled}
        self._direct = defaultdict(list)
        for name, check in self._checks.items():
            for other in check.depends_on:
                self._direct[other].append(name)
        kept = {standing.job: standing for standing in self._state.standings()}
        for name in (self._entries.keys() | kept.keys()) - self._checks.keys():
            self._entries.pop(name, None)
            self._state.forget_standing(name)
        for name in before.keys() & self._entries.keys():
            if not self._checks[name].looks_as(before[name]):
                self._entries[name].memory = {}
        for name in self._checks.keys() - self._entries.keys():
            standing = kept.get(name) or Standing(name, Health.UNKNOWN, now, "not looked at yet", Health.UP)
            course = Course(is_flapping=standing.said in _FLAPS)
            self._entries[name] = _Entry(standing, time.monotonic(), course)

    def memory(self, name: str) -> dict[str, Any]:
        """What a check keeps between its looks; asked in the thread of a look."""
        entry = self._entries.get(name)
        return {} if entry is None else entry.memory

    def note(self, name: str, run: str, reading: Reading, now: datetime) -> None:
        """Takes in what a look has found, `now` (aware), in this run."""
        entry = self._entries.get(name)
        if entry is None:
            return
        entry.reading, entry.read_at, entry.looked = reading, now, time.monotonic()
        is_bad = reading.health in (Health.DEGRADED, Health.DOWN)
        entry.bad_since = (entry.bad_since or entry.looked) if is_bad else 0.0
        job = self._checks[name]
        in_grace = is_bad and entry.looked - entry.begun < job.grace.total_seconds()
        counts = not in_grace and reading.error != TooEarly.__name__.lower()
        is_own = self._hindrance(name) is None
        if counts and is_own:
            entry.course.add(reading.health)
        is_blind = is_own and reading.health is Health.UNKNOWN
        entry.blind_since = (entry.blind_since or entry.looked) if is_blind else 0.0
        for affected in (name, *self._dependants(name)):
            self._settle(affected, run if affected == name else "", now)
        hindrance = self._hindrance(name)
        if hindrance is not None:
            self._hasten(hindrance)

    def is_telling(self, name: str) -> bool:
        """Whether the last look at a check has found what is said of it: that it is down, or that it is not."""
        entry = self._entries.get(name)
        if entry is None or entry.reading is None or entry.reading.health is Health.UNKNOWN:
            return False
        is_said = entry.standing.said in (Health.DOWN, FLAPPING_DOWN)
        return is_said == (entry.reading.health is Health.DOWN) and self._hindrance(name) is None

    def rests(self, name: str) -> bool:
        """Whether nobody knows just now how a check is: it is paused, or another one that is down keeps it quiet."""
        return name in self._entries and (self._state.is_paused(name) or self._hindrance(name) is not None)

    # What comes of it

    def _settle(self, name: str, run: str, now: datetime) -> None:
        entry, job = self._entries[name], self._checks[name]
        hindrance = self._hindrance(name)
        if hindrance is not None:
            entry.course.clear()
            self._change(entry, Health.UNKNOWN, f"{hindrance} is down", now)
            return
        if entry.reading is None:
            return
        if entry.course.is_flapping:
            said = FLAPPING_DOWN if entry.course.goes_down else FLAPPING
            if entry.standing.said not in (said, FLAPPING_DOWN):
                self._say(entry, said, Health.DEGRADED, run, now)
            return
        was = entry.standing.health
        if entry.standing.said in _FLAPS and was is Health.DEGRADED:
            was = Health.UNKNOWN  # it is steady again: the last readings alone count
        verdict = entry.course.verdict(was, job.fail_after, job.recover_after)
        is_worse = verdict.badness > entry.standing.health.badness and verdict is not Health.UNKNOWN
        suspect = self._suspect(name) if is_worse else None
        is_open = verdict is Health.UNKNOWN and not entry.course.is_blind(job.fail_after)
        if suspect is not None:
            told = f"it would be {verdict} ({entry.reading.reason}), but for {suspect}, which may be the cause"
            self._change(entry, entry.standing.health, told, now)
        elif not is_open:
            is_blind = verdict is Health.UNKNOWN and self._is_blind_for_long(entry)
            self._say(entry, BLIND if is_blind else verdict, verdict, run, now)

    @staticmethod
    def _is_blind_for_long(entry: _Entry) -> bool:
        if entry.standing.said == BLIND:  # perhaps by an earlier maintd
            return True
        is_long = bool(entry.blind_since) and entry.looked - entry.blind_since >= _BLIND
        return entry.standing.said == Health.UNKNOWN and is_long

    def _say(self, entry: _Entry, said: str, health: Health, run: str, now: datetime) -> None:
        assert entry.reading is not None
        before, reading, lasted = entry.standing, entry.reading, self._lasted(entry, now)
        self._change(entry, health, reading.reason, now)
        if said == before.said:
            return
        bad_from = None if said == Health.UP else before.bad_from
        if before.said == Health.UP:
            bad_from, entry.not_up_since = now, time.monotonic()
        entry.standing = replace(entry.standing, said=said, bad_from=bad_from)
        self._state.record_standing(entry.standing)
        job = self._checks[before.job]
        is_severe = said in (Health.DOWN, FLAPPING_DOWN, BLIND)
        event = _event(reading, said, before.said, entry, lasted)
        self._emit(event, Envelope(before.job, run, job.severity if is_severe else ""))

    @staticmethod
    def _lasted(entry: _Entry, now: datetime) -> float:
        """Seconds since something else than up was said of it, by the wall clock if an earlier maintd said so."""
        if entry.not_up_since is not None:
            return time.monotonic() - entry.not_up_since
        return max((now - (entry.standing.bad_from or entry.standing.since)).total_seconds(), 0)

    def _change(self, entry: _Entry, health: Health, reason: str, now: datetime) -> None:
        reason = printable(reason)
        if health is entry.standing.health:
            if reason != entry.standing.reason:
                entry.standing = replace(entry.standing, reason=reason)
            return
        entry.standing = replace(entry.standing, health=health, since=now, reason=reason)
        self._state.record_standing(entry.standing)

    # Checks that depend on others

    def _hindrance(self, name: str) -> str | None:
        """A check that is down and on which this one depends, also through others.

        One that is paused is none: nobody sees when it is well again.
        """
        for other in _reached(name, lambda check: self._checks[check].depends_on if check in self._checks else ()):
            entry = self._entries.get(other)
            if entry is not None and entry.standing.said == Health.DOWN and not self._state.is_paused(other):
                return other
        return None

    def _dependants(self, name: str) -> Iterator[str]:
        """Those that depend on a check, directly first."""
        return _reached(name, lambda check: self._direct.get(check, ()))

    def _suspect(self, name: str) -> str | None:
        """One that it depends on and that may turn out to be down too, if there is any; all such are looked at now."""
        suspect = None
        for other in self._checks[name].depends_on:
            entry = self._entries.get(other)
            if entry is None or entry.course.is_flapping or entry.standing.health is Health.DEGRADED:
                continue
            if self._state.is_paused(other):
                continue
            if entry.bad_since or entry.looked < self._entries[name].bad_since:
                suspect = suspect or other
                self._hasten(other)
        return suspect

    def _hasten(self, name: str) -> None:
        """Has a check looked at now, since another waits for it, whatever its own interval; not too often."""
        entry = self._entries[name]
        if time.monotonic() - entry.asked > _IMPATIENCE:
            entry.asked = time.monotonic()
            self._look(name)

    # For status

    def told(self) -> list[dict[str, Any]]:
        """Every check for `maintd status`, the worst first."""
        order = sorted(self._entries.values(), key=lambda entry: (-entry.standing.health.badness, entry.standing.job))
        return [self._told(entry) for entry in order]

    def _told(self, entry: _Entry) -> dict[str, Any]:
        standing, reading = entry.standing, entry.reading
        is_current = reading is not None and reading.health is standing.health
        return {
            "name": standing.job,
            "health": standing.health,
            "since": standing.since.isoformat(timespec="seconds"),
            "reason": printable(reading.reason if reading and is_current else standing.reason),
            "flapping": standing.said in _FLAPS,
            "severity": self._checks[standing.job].severity,
            "target": printable(self._checks[standing.job].target),
            "last_health": reading.health if reading else None,
            "last_reason": printable(reading.reason) if reading else None,
            "last_advice": printable(reading.advice) if reading and reading.advice else None,
            "last_look": entry.read_at.isoformat(timespec="seconds") if entry.read_at else None,
            "took_ms": round(reading.took_ms, 1) if reading else None,
        }


def _reached(start: str, following: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """What can be reached from a name, the nearest first, each once however many paths lead there."""
    seen, waiting = {start}, deque([start])
    while waiting:
        for name in following(waiting.popleft()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
                yield name


def _event(reading: Reading, said: str, was: str, entry: _Entry, lasted: float) -> Event:
    since = entry.standing.since.isoformat(timespec="seconds")
    target, reason, advice = reading.target, reading.reason, reading.advice or None
    told = {BLIND: Health.UNKNOWN, FLAPPING_DOWN: FLAPPING}
    said, was = (told.get(word, word) for word in (said, was))
    match said:
        case Health.UP:
            return CheckRecovered(target=target, reason=reason, since=since, was=was, lasted_s=round(lasted, 1))
        case Health.DOWN:
            advice = reading.advice or CheckFailed.usual_advice
            failure = {"error": reading.error or "down", "error_msg": reason, "advice": advice}
            return CheckFailed(target=target, tried="find it up", since=since, was=was, **failure)
        case Health.DEGRADED:
            return CheckDegraded(target=target, reason=reason, since=since, was=was, advice=advice)
        case Health.UNKNOWN:
            return CheckUnknown(target=target, reason=reason, since=since, was=was, advice=advice)
        case _:
            changes = entry.course.changes
            return CheckFlapping(target=target, reason=reason, since=since, was=was, changes=changes)
