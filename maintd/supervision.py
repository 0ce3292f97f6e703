"""What is done about supervisord's programs: they are followed and measured, and what happens to them leads to runs."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime

from maintd import contexts, lives
from maintd.awake import Awake
from maintd.cascades import Incident
from maintd.ceilings import Ceilings
from maintd.config import Config
from maintd.events import Event
from maintd.failing import Failing
from maintd.job import Job
from maintd.log import Envelope, Log
from maintd.programs import Change, Changes, Programs
from maintd.supervisor import Program
from maintd.triggers import Due, Fallen, Scheduled

_AGAIN = 2.0
"""Seconds after which a job is asked again what is to be done about a program that is FATAL."""
_OBSERVED = 60.0
"""The same of one that only observes: it would say what it has said."""


class Supervision:
    """Used by the daemon's main thread alone. `put` takes to its inbox what is due, and what was seen.

    Without a job that goes by programs, or [cascade] in the config, supervisord is not asked for anything.
    """

    def __init__(self, config: Config, log: Log, put: Callable[[Due | Changes], None], awake: Awake) -> None:
        self._config = config
        self._log = log
        self._put = put
        self._failing = Failing()
        self._awaited: set[str] = set()
        self._not_before: dict[str, float] = {}
        self.incident = Incident(config.cascade)
        self.programs = Programs(lambda: contexts.supervisor(self._config), put, self._say)
        self.ceilings = Ceilings(
            lambda: self.programs.known, put, self._emit_for, lambda: self.incident.lasts, clock=awake.now
        )

    @property
    def alive(self) -> bool:
        return self.programs.alive and self.ceilings.alive

    def resume(self, failed: Mapping[str, bool], cascade: Collection[str] | None) -> None:
        """Programs that an earlier maintd has told to have failed may run by now; its cascade of these may not be over.

        Of each it says whether that one was told to be given up.
        """
        now = time.monotonic()
        self._failing.recall(failed, now)
        if cascade is not None:
            self.incident.goes_on(cascade or ["what had failed"], now)

    def recall(self, over: Iterable[tuple[str, str]], *, is_silent: bool) -> list[tuple[str, str]]:
        """Before programs are followed: what an earlier maintd has told, and nobody knows yet to be over.

        Returns what is watched of `over`, which are limits and programs.
        """
        if is_silent:
            self.programs.recall_silence()
        return self.ceilings.recall(over)

    def stop(self) -> None:
        self.programs.stop()

    def take_over(self, config: Config, since: float | None = None) -> None:
        """Goes by another config from now on; at first by what has failed `since` then (seconds since boot) as well."""
        self._config = config
        self.incident.settings = config.cascade
        if self.follows(config):
            self.programs.start(since)

    @staticmethod
    def follows(config: Config) -> bool:
        """Whether supervisord is asked for anything."""
        return "cascade" in config.sources or any(job.follows_programs and job.enabled for job in config.jobs.values())

    def install(self, name: str) -> None:
        """A job, new or changed."""
        job = self._config.jobs[name]
        ceiling = job.ceiling() if job.enabled else None
        if ceiling is None:
            self.ceilings.remove(name)
        else:
            self.ceilings.set(name, ceiling)

    def forget(self, name: str) -> None:
        """A job that is gone, or has changed and is installed anew."""
        self._awaited.discard(name)
        if name not in self._config.jobs:
            self.ceilings.remove(name)
        else:  # who is over its limit is known on, but no run is awaited for it
            self.ceilings.ended(name, acted=False)

    def ended(self, due: Due, *, acted: bool, observed: bool = False) -> None:
        """A run that it had begun has ended, or was not even begun; `observed` if it only said what it would do."""
        self._awaited.discard(due.job)
        self._not_before[due.job] = time.monotonic() + (_OBSERVED if observed else _AGAIN)
        self.ceilings.ended(due.job, acted=acted or observed)

    def note(self, changes: Changes) -> list[Due]:
        """Says what has changed; the checks are due now of programs that have failed, or run again.

        What is only on its way, in a restart that somebody asked for, is no reading to count.
        """
        news = [change.program for change in changes.found if self._note(change)]
        now = datetime.now(UTC)
        return [
            Due(name, Scheduled(now))
            for name, job in self._config.jobs.items()
            if job.kind == "check.process" and any(program.is_named(getattr(job, "program", "")) for program in news)
        ]

    def tick(self) -> list[Due]:
        """Once a second: ends what is over, and says which jobs are to start what is FATAL."""
        now = time.monotonic()
        ended = self.incident.tick(now)
        if ended is not None:
            self._say(ended)
        self._end_failures(now)
        self.ceilings.tick()
        if self.incident.lasts:
            return []
        fallen = [program for program in self.programs.known or () if program.state == "FATAL"]
        found = [self._due(name, job, fallen) for name, job in self._config.jobs.items()] if fallen else []
        return [due for due in found if due]

    def _due(self, name: str, job: Job, fallen: list[Program]) -> Due | None:
        wanted = tuple(program.name for program in fallen if job.revives(program))
        if not (wanted and job.enabled) or name in self._awaited:
            return None
        if time.monotonic() < self._not_before.get(name, 0.0):
            return None
        self._awaited.add(name)
        return Due(name, Fallen(wanted))

    def _note(self, change: Change) -> bool:
        """Whether it is news to the checks of the program."""
        program, now = change.program, time.monotonic()
        if change.failed is None:
            self._note_change(change)
            return bool(change.was) and program.state == "RUNNING"
        failed, lines = change.failed, change.last_lines or None
        known = self._failing.is_given_up(program.name) if failed.is_final else program.name in self._failing
        if known and not change.was:
            return False  # an earlier maintd has told of that
        is_new = self._failing.is_new(program.name, self._config.cascade.calm.total_seconds(), now)
        self._failing.failed(program.name, now, is_final=failed.is_final)
        if failed.is_final:
            self._say(lives.ProgramFatal(target=program.name, reason=failed.reason, last_lines=lines))
        else:
            crashed = lives.ProgramCrashed(
                target=program.name,
                state=program.state,
                pid=program.pid,
                reason=failed.reason,
                exit_status=failed.exit_status,
                last_lines=lines,
            )
            self._say(crashed)
        was_seen = bool(change.was) or not failed.is_final
        is_late = not change.was and program.stopped_for > self._config.cascade.within.total_seconds()
        began = self.incident.failed(program.name, now, is_new=is_new and was_seen and not is_late)
        if began is not None:
            self._say(began)
        return was_seen

    def _note_change(self, change: Change) -> None:
        """What is no failure. A program that was to run once, and did after it had failed, has recovered with that."""
        program = change.program
        if program.name not in self._failing:
            if change.was and program.state in lives.STEADY:
                self._say(lives.ProgramChanged(target=program.name, state=program.state, was=change.was))
        elif program.state == "EXITED" and not program.error:
            self._failing.end(program.name)
            self._say(lives.ProgramChanged(target=program.name, state=program.state, was="failed"))

    def _end_failures(self, now: float) -> None:
        """Programs that have run for a while without a failure have recovered; what was stopped matters no more."""
        calm, known = self._config.cascade.calm.total_seconds(), self.programs.known
        if known is None:
            return
        states = {program.name: program.state for program in known}
        for name in list(self._failing):
            state = states.get(name, lives.REMOVED)
            self._failing.saw(name, now, is_running=state == "RUNNING")
            if state == "RUNNING" and self._failing.is_well(name, calm, now):
                self._say(lives.ProgramRecovered(target=name, failures=self._failing.end(name)))
            elif state in ("STOPPED", lives.REMOVED):
                self._failing.end(name)
                self._say(lives.ProgramChanged(target=name, state=state, was="failed"))
        self._failing.forget(now)

    def _say(self, event: Event) -> None:
        self._log.emit(event)

    def _emit_for(self, event: Event, job: str) -> None:
        found = self._config.jobs.get(job)
        is_own = found is not None and event.name == "limit.exceeded"
        self._log.emit(event, Envelope(job, level=found.severity if found and is_own else ""))
