"""Who is told what: on the edge, once for what belongs together, again while it goes on, and when it is over."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

from maintd.alert_settings import Alerts as Settings
from maintd.alert_settings import is_named
from maintd.alert_store import AlertStore, Incident, Item, Silence
from maintd.couriers import Delivered
from maintd.dispatch import Dispatch
from maintd.events import LEVELS, Event
from maintd.names import legible
from maintd.notices import Notice
from maintd.state import Standing

CASCADE, CONFIG = "cascade", "config"
_OF_CASCADE = ("program.*", "check.process.*", "limit.*", "revive.*")
_GONE = "no longer looked at: it was taken out of the config, changed, or disabled"
_MOST_FADING = 1000
"""So many things that nothing ends are known at a time; beyond that the oldest are forgotten."""


class Alerts:
    """Used by the daemon's main thread alone. What it knows outlives the daemon, in `store`.

    What is wrong is known whether there is anybody to tell or not: a channel, or a route, that comes later is told.
    """

    def __init__(self, store: AlertStore, emit: Callable[[Event], None], put: Callable[[Delivered], None]) -> None:
        self._store = store
        self.dispatch = Dispatch(store, emit, put)
        self._settings = Settings()
        self._zone: tzinfo = UTC
        self._told: dict[str, float] = {}
        self._heard: dict[str, float] = {}

    @property
    def is_on(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._settings.channels)

    def take_over(self, settings: Settings, zone: tzinfo, host: str, jobs: Iterable[str], now: datetime) -> None:
        """Goes by these settings, of a config that is not refused; what was wrong with jobs that are gone is over."""
        self._settings, self._zone = settings, zone
        self.dispatch.take_over(settings, host)
        known = set(jobs)
        for incident in list(self._store.incidents.values()):
            kind, _, _ = incident.name.partition(".")
            is_job = "." in incident.name and kind != "program" and not incident.fades
            heard = tuple(name for name in incident.heard if name in settings.channels)
            if is_job and incident.name not in known:
                self._end(incident, _GONE, now)
            elif incident.key == CONFIG:
                self._end(incident, "another config was taken over", now)
            elif heard != incident.heard:
                self._store.note(replace(incident, heard=heard, told=incident.told if heard else ""))

    def resume(
        self, standings: Iterable[Standing], severities: Mapping[str, str], watched: Collection[str], now: datetime
    ) -> None:
        """What an earlier maintd knew of checks and could not write down before its end is made up for.

        Of other things than `watched` (keys) nobody may be left who knows that they are over: those that are not heard
        of again fade.
        """
        for incident in list(self._store.incidents.values()):
            if incident.key != CASCADE and incident.key not in severities:
                self._store.note(replace(incident, fades=incident.key not in watched))
        for standing in standings:
            open_now = self._store.incidents.get(standing.job)
            if standing.said in ("down", "degraded", "flapping", "flapping down", "blind") and open_now is None:
                level = (
                    "warning" if standing.said in ("degraded", "flapping") else severities.get(standing.job, "error")
                )
                title = f"{standing.job}: {standing.said}"
                self.note(Notice(standing.job, standing.job, level, title, standing.reason), now)
            elif standing.said == "up" and open_now is not None:
                self.note(Notice(standing.job, standing.job, "info", f"{standing.job}: up", "", is_over=True), now)

    def open(self, key: str) -> Incident | None:
        return self._store.incidents.get(key)

    def about(self, what: str) -> dict[tuple[str, str], str]:
        """The keys of what is wrong with things of jobs, such as a "limit" or a "storage", by (job, target)."""
        split = {incident.key: incident.key.split(" ", 2) for incident in self._store.incidents.values()}
        return {(parts[0], parts[2]): key for key, parts in split.items() if parts[1:2] == [what] and len(parts) == 3}

    @property
    def programs(self) -> dict[str, bool]:
        """The programs of supervisord that had failed when that was last known, and whether each was given up."""
        found = {incident.name: incident.is_worse for incident in self._store.incidents.values()}
        return {name.removeprefix("program."): worse for name, worse in found.items() if name.startswith("program.")}

    def cascade(self, within: timedelta) -> list[str] | None:
        """Those that failed in the cascade that is not over, or `within` before it began; None if there is none."""
        cascade = self.open(CASCADE)
        if cascade is None:
            return None
        failed = sorted(self._store.incidents.values(), key=lambda incident: incident.since)
        of_it = [one.name for one in failed if one.since >= cascade.since - within]
        return [name.removeprefix("program.") for name in of_it if name.startswith("program.")]

    # What happens

    def note(self, notice: Notice, now: datetime) -> None:
        """Takes in that something is wrong, or over."""
        before = self._store.incidents.get(notice.key)
        if notice.is_over:
            if before is not None:
                self._end(before, notice.text, now)
            for incident in list(self._store.incidents.values()):
                if notice.ends and incident.key.endswith(notice.ends):
                    self._end(incident, notice.text, now)
        elif before is None:
            self._raise(incident_of(notice, now), now)
        else:
            self._heard[notice.key] = time.monotonic()
            is_milder = LEVELS.index(notice.level) < LEVELS.index(before.worst)
            worst = (before.worst_text or before.text) if is_milder else ""
            made = replace(before, level=notice.level, title=notice.title, text=notice.text, fades=notice.fades)
            made = replace(made, worst_text=worst)
            gets_worse = notice.is_worse and not before.is_worse
            if gets_worse or LEVELS.index(notice.level) > LEVELS.index(before.worst):
                self._raise(replace(made, is_pending=True, is_worse=before.is_worse or notice.is_worse), now)
            else:
                self._store.note(made)
        if notice.key == CASCADE:
            self._gather(is_over=notice.is_over)

    def went_well(self, job: str, now: datetime) -> None:
        """A run of a job left nothing undone, so that what had failed in one before is over."""
        incident = self._store.incidents.get(job)
        if incident is not None and not job.startswith("check."):
            self._end(incident, "a run went well", now)

    def leave(self, key: str, now: datetime) -> None:
        """Nobody looks any more whether this is over."""
        incident = self._store.incidents.get(key)
        if incident is not None:
            self._end(incident, _GONE, now)

    def _raise(self, incident: Incident, now: datetime) -> None:
        self._heard[incident.key] = time.monotonic()
        self._store.note(incident)
        if not self._is_of_cascade(incident) and not self._is_quiet(incident.name, now):
            self._tell(incident, "wrong", now, self._channels(incident))

    def _channels(self, incident: Incident) -> list[str]:
        """The channels that a route leads to."""
        return self._settings.to(incident.name, max(incident.level, incident.worst, key=LEVELS.index))

    def _is_of_cascade(self, incident: Incident) -> bool:
        """Whether it is told of with the cascade that lasts, and not by itself."""
        return CASCADE in self._store.incidents and is_named(incident.name, _OF_CASCADE)

    def _tell(self, incident: Incident, what: str, now: datetime, channels: Sequence[str]) -> None:
        """Has it told on these channels."""
        self._told[incident.key] = time.monotonic()
        level = max(incident.level, incident.worst, key=LEVELS.index)
        heard = tuple(sorted({*incident.heard, *channels}))
        told = replace(incident, told_at=now, is_pending=False, heard=heard)
        if channels and level not in incident.told.split():
            told = replace(told, told=f"{incident.told} {level}".strip())
        item = _item(told, what, incident.text, now)
        self._store.note(told, [(channel, incident.key, item) for channel in channels])

    def _end(self, incident: Incident, text: str, now: datetime, *, silently: bool = False) -> None:
        for known in (self._told, self._heard):
            known.pop(incident.key, None)
        item = _item(incident, "over", f"{text or 'over'}; it was: {incident.worst_text or incident.text}", now)
        heard = [] if silently else [name for name in incident.heard if name in self._settings.channels]
        tellings = [(channel, incident.key, item) for channel in heard]
        self._store.note(None, tellings, gone=incident.key)

    def _gather(self, *, is_over: bool) -> None:
        """A cascade has begun: what it consists of is not told one by one. It is over: what is left of it is."""
        members = [one for one in self._store.incidents.values() if is_named(one.name, _OF_CASCADE)]
        for incident in members:
            if is_over:
                self._store.note(replace(incident, is_pending=True))
                continue
            withdrawn = [telling for telling in self._store.withdraw(incident) if telling.item.what == "wrong"]
            if not withdrawn:
                continue
            others = withdrawn[0].item.others  # at which levels they have heard of it nevertheless
            unheard = {telling.channel for telling in withdrawn}
            told = others if unheard >= {*incident.heard} else incident.told
            heard = incident.heard if others else tuple(name for name in incident.heard if name not in unheard)
            self._store.note(replace(incident, told=told, heard=heard))

    # Silences

    def silence(self, silence: Silence) -> None:
        self._store.silence(silence)

    def end_silence(self, pattern: str) -> bool:
        return self._store.end_silence(pattern)

    def shift(self, jump: timedelta, now: datetime) -> None:
        """The wall clock was set by `jump`: silences last as long as they were to last.

        An Alertmanager goes by the clock: it takes what it was told to be over, so far forward, and is told again.
        """
        for silence in list(self._store.silences.values()):
            self._store.silence(replace(silence, until=silence.until + jump))
        if jump <= self._settings.remind:
            return
        for incident in list(self._store.incidents.values()):
            channels = [] if self._is_quiet(incident.name, now) else self._by_clock(incident.heard)
            item = _item(incident, "still", incident.text, now)
            self._store.note(incident, [(channel, incident.key, item) for channel in channels])

    def _by_clock(self, channels: Iterable[str]) -> list[str]:
        """Those of these channels on which what is not told again is over after a while."""
        known = self._settings.channels
        return [name for name in channels if name in known and known[name].alertmanager]

    def _is_quiet(self, name: str, now: datetime) -> bool:
        local = now.astimezone(self._zone)
        return any(is_named(name, (pattern,)) for pattern in self._store.silences) or any(
            pause.window.contains(local) and is_named(name, pause.jobs) for pause in self._settings.maintenance
        )

    # Once a second

    def tick(self, now: datetime, rests: Callable[[str], bool]) -> None:
        """Tells what was put off, and what goes on for long; sends what has waited for its like.

        Nobody is reminded of a check that `rests`; an Alertmanager is told on, or it would take it to be over.
        """
        for pattern in [pattern for pattern, one in self._store.silences.items() if one.until <= now]:
            self._store.end_silence(pattern)
        fading = [incident for incident in self._store.incidents.values() if incident.fades]
        for incident in fading[:-_MOST_FADING]:
            self._end(incident, "", now, silently=True)
        for incident in list(self._store.incidents.values()):
            self._look_again(incident, now, rests)
        self.dispatch.tick()

    def _look_again(self, incident: Incident, now: datetime, rests: Callable[[str], bool]) -> None:
        remind, at = self._settings.remind.total_seconds(), time.monotonic()
        if incident.fades and at - self._heard.setdefault(incident.key, at) >= remind:
            self._end(incident, "", now, silently=True)
            return
        if incident.key not in self._told:  # it was told by an earlier maintd, whose clock this may not be
            ago = (now - (incident.told_at or now)).total_seconds()
            self._told[incident.key] = at - min(max(ago, 0.0), remind)
        channels = self._channels(incident)
        is_new = not incident.told or LEVELS.index(incident.level) > LEVELS.index(incident.worst)
        if not incident.is_pending and at - self._told[incident.key] < remind:
            channels = [name for name in channels if name not in incident.heard]  # new ones, or a route leads there now
            is_new = True
        if channels and not is_new and rests(incident.name):
            channels = self._by_clock(channels)
        if not (incident.is_pending or channels) or self._is_of_cascade(incident):
            return
        if not self._is_quiet(incident.name, now):
            self._tell(incident, "wrong" if is_new else "still", now, channels)

    # For status

    def status(self) -> dict[str, object]:
        """What `maintd status` shows of it."""
        return {
            "open": [
                {"name": one.name, "level": one.level, "title": legible(one.title), "since": one.since.isoformat()}
                for one in sorted(self._store.incidents.values(), key=lambda one: -LEVELS.index(one.level))
                if self.is_on
            ],
            "silences": [
                {"pattern": one.pattern, "until": one.until.isoformat(timespec="seconds"), "reason": one.reason}
                for one in self._store.silences.values()
            ],
            "channels": self.dispatch.status(),
        }


def incident_of(notice: Notice, now: datetime) -> Incident:
    """What begins with a notice."""
    return Incident(
        key=notice.key,
        id=os.urandom(8).hex(),
        name=notice.name,
        level=notice.level,
        title=notice.title,
        text=notice.text,
        since=now,
        fades=notice.fades,
        is_worse=notice.is_worse,
    )


def _item(incident: Incident, what: str, text: str, now: datetime) -> Item:
    since, at = (when.isoformat(timespec="seconds") for when in (incident.since, now))
    others = " ".join(incident.told.split()[:-1])
    return Item(
        what, incident.id, incident.name, incident.worst, legible(incident.title), legible(text), since, at, others
    )
