"""The plan of a logrotate run: for each stanza its logs and scripts in logrotate's order, and the state at its end.

The needs of a step say what its failure stops: firstaction its stanza, prerotate the rotation, postrotate what comes
after it. What fails for one log stops no other, and what fails in one stanza stops no other stanza.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, pairwise
from typing import ClassVar

from maintd import grounds
from maintd.durable import Ownership
from maintd.events import Failure
from maintd.logrotate import copytruncate, generations, recovery, scripts, unfinished
from maintd.logrotate.bodies import CompressFile
from maintd.logrotate.considering import Considered
from maintd.logrotate.deeds import Inode, MakeOlddir, MakeWay
from maintd.logrotate.log_steps import LogSteps, Setting
from maintd.logrotate.logs import LogSet
from maintd.logrotate.scripts import RunScript, Script
from maintd.logrotate.stanza import Options, ScriptName, Stanza
from maintd.steps import Action, Finding, Step
from maintd.values import dataclass

Needs = tuple[Action, ...]


@dataclass(frozen=True, kw_only=True)
class LogFailed(Failure):
    """A log of a logrotate stanza is not rotated, because of an error that was seen before anything was done."""

    name: ClassVar[str] = "log.failed"

    @property
    def msg(self) -> str:
        return self.error_msg


@dataclass(frozen=True)
class Planned:
    """A stanza, what was decided on each of its logs, and its steps; `rotations` are those that say which succeeded."""

    found: LogSet
    logs: tuple[Considered, ...]
    steps: tuple[Step, ...]
    rotations: Mapping[str, Action | None]
    set_aside: Mapping[str, Inode]
    """The logs that a run which does not come to its end may leave without their scripts, by path."""


def plan(found: LogSet, logs: Sequence[Considered], setting: Setting) -> Planned:
    """The steps of one stanza. The forecast in `setting` is then what they leave behind."""
    logs, collapsed = copytruncate.ruled(logs, found.stanza.options, setting.intents, setting.interrupted)
    logs, recoveries = recovery.plan(logs, found.stanza.options, setting)
    one = _Stanza(found.stanza, logs, setting, collapsed)
    steps = tuple(chain(recoveries, _findings(logs), one.completed(), one.made_up.steps, one.steps(), one.rest()))
    return Planned(found, tuple(logs), steps, one.rotations, one.set_aside)


def _findings(logs: Iterable[Considered]) -> Iterator[Finding]:
    for log in logs:
        if log.trouble:
            yield refusal(log.path, log.trouble)
        elif not log.is_due:
            yield Finding(target=log.path, reason=log.ruling.reason)


def refusal(path: str, text: str) -> Finding:
    """An error that is no step's."""
    advice = "correct its stanza, or what it names; maintd check shows what is wrong with it"
    event = LogFailed(target=path, tried="rotate it", error="refused", error_msg=text, advice=advice)
    return Finding(target=path, reason=text, event=event)


class _Stanza:
    """One stanza while its steps are made."""

    def __init__(
        self, stanza: Stanza, logs: Sequence[Considered], setting: Setting, collapsed: AbstractSet[str]
    ) -> None:
        self._stanza = stanza
        self._options: Options = stanza.options
        self._setting = setting
        self._everything = logs
        self._logs = [
            LogSteps(log, stanza, setting, is_collapsed=log.seen.path in collapsed)
            for log in logs
            if log.is_due and log.seen is not None
        ]
        self._waiting: list[Finding] = []
        self.made_up = unfinished.MadeUp((), {})
        if setting.is_resident:
            self.made_up = unfinished.make_up(stanza, logs, setting)
            self._put_off()

    def _put_off(self) -> None:
        """Leaves out the logs that have to wait: for a writer of what is compressed first, or for their scripts."""
        for log in list(self._logs):
            held = log.is_held_back()
            if not held and log.name not in self.made_up.rotations:
                continue
            self._logs.remove(log)
            why = (
                f"{os.path.basename(held)} is still written by a process, and compressed first"
                if held
                else ("an interrupted rotation of it is completed first")
            )
            self._waiting.append(Finding(target=log.name, reason=why, is_put_off=bool(held)))

    @property
    def set_aside(self) -> dict[str, Inode]:
        return unfinished.noted(self._stanza, self._logs)

    def completed(self) -> Iterator[Finding]:
        """The logs that have to wait for what an interrupted run left of them."""
        yield from chain.from_iterable(map(recovery.completed, self._logs))

    def rest(self) -> Iterator[Step]:
        """What a daemon does about logs that are not rotated."""
        yield from self._waiting
        if not self._setting.is_resident:
            return
        busy = {log.path for log in self._logs} | {finding.target for finding in self._waiting}
        for log in self._everything:
            if log.seen is not None and log.seen.path not in busy and log.path not in busy:
                yield from LogSteps(log, self._stanza, self._setting, is_collapsed=False).compress_rest()

    @property
    def rotations(self) -> dict[str, Action | None]:
        """For each log that is rotated when all steps were made: the one that says so."""
        done = {log.name: next(iter(log.proof), None) for log in self._logs if log.proof is not None}
        return {**self.made_up.rotations, **done}

    def steps(self) -> Iterator[Step]:
        olddirs = list(self._olddirs())
        yield from olddirs
        first: Needs = tuple(olddirs[-1:])
        if not self._logs:
            return
        for script in self._script("firstaction", (self._stanza.text,), first):
            first = (script,)
            yield script
        if self._options.sharedscripts:
            yield from self._together(first)
        elif not self._compresses_later():
            for log in self._logs:
                yield from log.begin(first)
                yield from self._one(log)
                yield from self._after([log])
        else:
            yield from self._begun(first)
            for log in self._logs:
                yield from self._one(log)
            yield from self._after(self._logs)
        yield from self._script("lastaction", (self._stanza.text,), first)

    def _one(self, log: LogSteps) -> Iterator[Step]:
        """From making room for one log's archive to its postrotate."""
        yield from log.make_room()
        if log.rotation.is_blocked:
            yield self._blocked(log)
            return
        for script in self._script("prerotate", (log.name,), log.last):
            log.last = (script,)
            yield script
        yield from self._rotated(log)
        for script in self._script("postrotate", (log.name, log.archive), log.last):
            log.last = (script,)
            yield script

    def _together(self, first: Needs) -> Iterator[Step]:
        """All logs with scripts that run once."""
        if self._overlap():
            for log in self._logs:
                yield from log.begin(first)
                yield from log.make_room()
        else:
            yield from self._begun(first)
            for log in self._logs:
                yield from log.make_room()
        yield from (self._blocked(log) for log in self._logs if log.rotation.is_blocked)
        logs = [log for log in self._logs if not log.rotation.is_blocked]
        if not logs:
            return
        for script in self._shared("prerotate", first, [log.last for log in logs]):
            yield script
            for log in logs:
                log.last = (*log.last, script)
        for log in logs:
            yield from self._rotated(log)
        for script in self._shared("postrotate", first, [log.last for log in logs]):
            yield script
            for log in logs:
                log.last = (*log.last, script)
        yield from self._after(logs)

    def _begun(self, first: Needs) -> Iterator[Step]:
        """What each log begins with; compressions come together, so that several are done at a time."""
        yield from _compressions_together(list(chain.from_iterable(log.begin(first) for log in self._logs)))

    def _after(self, logs: Sequence[LogSteps]) -> Iterator[Step]:
        done = [log for log in logs if not log.rotation.is_blocked]
        if "preremove" in self._stanza.scripts:  # whose order can be told
            for log in done:
                yield from log.settle()
                yield from log.finish()
            return
        yield from _compressions_together(list(chain.from_iterable(log.settle() for log in done)))
        for log in done:
            yield from log.finish()

    def _rotated(self, log: LogSteps) -> Iterator[Step]:
        yield from log.rotate(may_change=bool({"firstaction", "prerotate"} & set(self._stanza.scripts)))

    def _blocked(self, log: LogSteps) -> Finding:
        return refusal(log.name, f"{log.name}: {log.rotation.is_blocked}, skipping rotation")

    def _script(self, name: ScriptName, arguments: tuple[str, ...], needs: Needs) -> Iterator[RunScript]:
        text = self._stanza.scripts.get(name)
        if text is not None:
            yield scripts.run(Script(name, text, self._setting.streams), arguments, needs)

    def _shared(self, name: ScriptName, first: Needs, needs: Sequence[Needs]) -> Iterator[RunScript]:
        text = self._stanza.scripts.get(name)
        if text is not None:
            yield scripts.run_once(Script(name, text, self._setting.streams), self._stanza.text, first, needs)

    def _compresses_later(self) -> bool:
        """Whether compressions may come after all rotations, where nothing can tell the difference."""
        return self._options.compress and "preremove" not in self._stanza.scripts and not self._overlap()

    def _overlap(self) -> bool:
        """Whether the archives of one log may be logs of the stanza, or another's archives."""
        paths = sorted((path, index) for index, log in enumerate(self._logs) for path in (log.stem, log.path))
        neighbours = chain(pairwise(paths), zip(paths, paths[2:], strict=False))
        return any(index != other and path.startswith(stem) for (stem, index), (path, other) in neighbours)

    def _olddirs(self) -> Iterator[Action]:
        """Makes the directories for archives that are missing, as the stanza says, whatever is due."""
        make, su = self._options.createolddir, self._options.su
        if self._options.olddir is None or make is None:
            return
        made: dict[str, Action] = {}
        for log in self._everything:
            if log.is_unsafe or not os.path.isdir(os.path.dirname(log.path) or "."):
                continue
            folder = grounds.real(generations.archive_directory(log.path, self._options))
            for path in _missing(folder):
                if path in made:
                    continue
                uid, gid = (su.uid, su.gid) if su else (os.geteuid(), os.getegid())
                owner = Ownership(
                    0o755 if make.mode is None else make.mode,
                    uid if make.uid is None else make.uid,
                    gid if make.gid is None else make.gid,
                )
                above = made.get(os.path.dirname(path))
                needs = (above,) if above else ()
                made[path] = MakeOlddir(target=path, reason="createolddir", needs=needs, su=su, ownership=owner)
                yield made[path]


def _missing(folder: str) -> list[str]:
    """The directories that are missing, outermost first."""
    found: list[str] = []
    while not os.path.lexists(folder):
        found.append(folder)
        folder = os.path.dirname(folder)
    return found[::-1]


def _compressions_together(steps: Sequence[Action]) -> list[Action]:
    """Steps in an order in which compressions that do not need each other are neighbours, which are done at a time."""
    levels: dict[int, int] = {}
    for step in steps:
        is_compression = isinstance(step, CompressFile)
        needs = (*step.needs, step.unless) if isinstance(step, MakeWay) else step.needs
        before = max((levels[id(need)] for need in needs if id(need) in levels), default=0)
        levels[id(step)] = before + (1 if is_compression and before % 2 == 0 else 2 if is_compression else before % 2)
    return sorted(steps, key=lambda step: levels[id(step)])
