"""One logrotate run: configs are read, logs ruled on, and all of it is planned; nothing is changed here."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain

from maintd import intents
from maintd.logrotate import copytruncate, logs, planning, sources, status, unfinished
from maintd.logrotate.commandline import MAILER
from maintd.logrotate.considering import Considered, consider
from maintd.logrotate.due import first_sight
from maintd.logrotate.forecast import Forecast
from maintd.logrotate.log_steps import Setting
from maintd.logrotate.logs import LogSet
from maintd.logrotate.planning import Planned
from maintd.logrotate.scripts import SILENT, Streams, WriteState
from maintd.logrotate.stanza import Complaint
from maintd.steps import Action, Step
from maintd.values import dataclass


@dataclass(frozen=True)
class Overview:
    """All that a run would do, and what is wrong with the configs and the state; `now` is local and naive."""

    complaints: tuple[Complaint, ...]
    faults: tuple[str, ...]
    recoveries: tuple[Action, ...]
    stanzas: tuple[Planned, ...]
    beginning: tuple[Action, ...]
    ending: tuple[Action, ...]
    failed: bool

    @property
    def steps(self) -> Iterator[Step]:
        yield from self.recoveries
        yield from self.beginning
        yield from chain.from_iterable(stanza.steps for stanza in self.stanzas)
        yield from self.ending


@dataclass(frozen=True)
class Resident:
    """How a daemon runs stanzas, which comes back to them: what has to wait is put off, what was cut off made up for.

    `amend` has the last word on a log, whose time in the state file it is given; None leaves the log out. With
    `by_age` False nothing goes because of its age. Nothing is written down if nothing has changed.
    """

    amend: Callable[[Considered, datetime | None], Considered | None]
    by_age: bool = True


def overview(  # noqa: PLR0913 - what a command line can say is said by name
    configs: Iterable[str],
    state: str,
    now: datetime,
    *,
    forced: bool = False,
    mail: str = MAILER,
    streams: Streams = SILENT,
    resident: Resident | None = None,
) -> Overview:
    """Reads, rules and plans. OSError and Refused if the state file cannot be read.

    Rotations in place are noted beside the state file; without one there are none.
    """
    reading = sources.read(configs, is_resident=resident is not None)
    expansion = logs.expand(reading.stanzas)
    known = status.read(state)
    noted = "" if state == os.devnull else f"{os.path.abspath(state)}.{intents.DIRECTORY}"
    interrupted = {one.log: one for one in intents.interrupted(noted)} if noted else {}
    setting = Setting(Forecast(), now, mail, streams, noted, interrupted)
    if resident is None:
        setting = replace(setting, directory=_current())
    else:
        setting = replace(setting, streams=None, is_resident=True, unfinished=unfinished.read(state))
    planned = []
    for found in expansion.sets:
        considered = list(consider(found, known.entries, now, forced=forced))
        if resident:
            considered = [log for one in considered if (log := resident.amend(one, known.entries.get(one.path)))]
            found = found if resident.by_age else _ageless(found)  # noqa: PLW2901 - the same logs
        planned.append(planning.plan(found, considered, setting))
    paths = [log.path for stanza in planned for log in stanza.logs]
    rotations: dict[str, Action | None] = {}
    for stanza in planned:
        rotations |= stanza.rotations
    there = {path for path in paths if os.path.lexists(path)}
    entries = status.kept({**dict.fromkeys(paths, first_sight(now)), **known.entries}, there, now)
    write = WriteState(
        target=os.path.abspath(state),
        reason="when each log was rotated",
        entries=entries,
        rotations=rotations,
        now=now.replace(microsecond=0),
    )
    is_news = bool(rotations or entries != known.entries)
    beginning, end = _notes(planned, state, setting) if resident else ((), ())
    return Overview(
        complaints=(*reading.complaints, *expansion.complaints),
        faults=known.faults,
        recoveries=tuple(copytruncate.finish(one) for one in interrupted.values()),
        stanzas=tuple(planned),
        beginning=beginning,
        ending=(*([write] if is_news or not resident else []), *end),
        failed=reading.failed or expansion.failed or bool(known.faults),
    )


def _current() -> str:
    """The directory that the run was started in."""
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return "/"


def _ageless(found: LogSet) -> LogSet:
    """A stanza without its maxage."""
    options = found.stanza.options
    options = replace(options, criteria=replace(options.criteria, maxage=0))
    return replace(found, stanza=replace(found.stanza, options=options))


def _notes(
    planned: Sequence[Planned], state: str, setting: Setting
) -> tuple[tuple[unfinished.Note, ...], tuple[unfinished.Forget, ...]]:
    """The steps around all others, that note what is set aside until all is done; none if nothing is."""
    logs = {path: inode for stanza in planned for path, inode in stanza.set_aside.items()}
    target = unfinished.place(state)
    note = unfinished.Note(
        target=target, reason="for the next run, if this one is cut off", logs={**setting.unfinished, **logs}
    )
    forget = unfinished.Forget(target=target, reason="nothing was cut off")
    return (note,) if logs else (), (forget,) if logs or setting.unfinished else ()
