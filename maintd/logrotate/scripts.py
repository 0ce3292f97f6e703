"""Running the scripts of a stanza, as /bin/sh -c runs them, and writing the state file when all is done."""

import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from maintd.actions.command import CommandFinished, RunCommand
from maintd.actions.hands import Hands
from maintd.errors import MaintdError
from maintd.events import Event, Failure
from maintd.logrotate import programs, status
from maintd.logrotate.deeds import LogrotateFailed
from maintd.logrotate.stanza import ScriptName
from maintd.steps import Action, Lane
from maintd.values import dataclass

Needs = tuple[Action, ...]
LIMIT = timedelta(days=1)
"""For how long a script may run. logrotate waits for ever, and so does whatever comes after it."""


@dataclass(frozen=True, kw_only=True)
class StateWritten(Event):
    """The state file of a logrotate run was written."""

    name: ClassVar[str] = "state.written"

    rotated: int

    @property
    def msg(self) -> str:
        return f"wrote down when each log was rotated, {self.rotated} of them now"


@dataclass(frozen=True)
class Streams:
    """The descriptors that scripts get as standard output and error, and as 3 if a log file was asked for (-l)."""

    out: int = 2
    err: int = 2
    log: int | None = None


SILENT = Streams()
"""Where standard output is not for people."""


@dataclass(frozen=True)
class Script:
    """A script by its keyword, its text, and where it prints; None if a daemon runs it, which keeps what it prints."""

    name: ScriptName
    text: str
    streams: Streams | None


@dataclass(frozen=True, kw_only=True)
class RunScript(RunCommand):
    """Runs one script of a stanza, as logrotate does: where maintd itself runs, in its environment."""

    failure: ClassVar[type[Failure]] = LogrotateFailed
    lane: ClassVar[Lane] = Lane.HEAVY

    script: ScriptName
    streams: Streams | None

    @property
    def detail(self) -> str:
        return self.script

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        status, said = self._run_here(hands, self.streams) if self.streams else self._run_apart(hands)
        if status != 0:
            how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
            raise MaintdError(f"its {self.script} script {how}" + (f": {said}" if said else ""))
        hands.told_at = time.monotonic()
        yield CommandFinished(target=self.target, command=self.script, output=said)

    def _run_apart(self, hands: Hands) -> tuple[int, str]:
        """As a daemon does: in a child, which ends the script with it; what it prints is for the event."""
        answer = self._run(hands)
        return answer["status"], answer["output"]

    def _run_here(self, hands: Hands, streams: Streams) -> tuple[int, str]:
        latest = time.monotonic() + self.limit.total_seconds()
        latest = latest if hands.deadline is None else min(latest, hands.deadline)
        return programs.run_here(self.argv, (streams.out, streams.err, streams.log), latest, hands.stop), ""


@dataclass(frozen=True, kw_only=True)
class RunSharedScript(RunScript):
    """Runs a script once for all logs of a stanza, if there is one of whose `ways` all was done."""

    ways: tuple[tuple[Action, ...], ...]

    def is_possible(self, done: AbstractSet[int]) -> bool:
        return super().is_possible(done) and any(all(id(need) in done for need in way) for way in self.ways)


def run(script: Script, arguments: tuple[str, ...], needs: Needs = ()) -> RunScript:
    """The step that runs a script; what it is about is its first argument."""
    return RunScript(needs=needs, **_fields(script, arguments))


def run_once(script: Script, logs: str, needs: Needs, ways: Sequence[Needs]) -> RunSharedScript:
    """The step that runs a script with sharedscripts, where `logs` are all names of the stanza."""
    return RunSharedScript(needs=needs, ways=tuple(ways), **_fields(script, (logs,)))


def _fields(script: Script, arguments: tuple[str, ...]) -> dict[str, Any]:
    return {
        "target": arguments[0],
        "reason": f"the stanza has a {script.name} script",
        "argv": ("/bin/sh", "-c", script.text, "logrotate_script", *arguments),
        "limit": LIMIT,
        "script": script.name,
        "streams": script.streams,
    }


@dataclass(frozen=True, kw_only=True)
class WriteState(Action):
    """Writes the state file: `entries` as they are, and `now` for each log whose step was done.

    What failed keeps its old entry, so that it is due again at the next run. It is written also if the run was ended.
    """

    verb: ClassVar[str] = "write"
    failure: ClassVar[type[Failure]] = LogrotateFailed
    concludes: ClassVar[bool] = True

    entries: Mapping[str, datetime]
    rotations: Mapping[str, Action | None] = field(default_factory=dict)
    now: datetime

    def is_possible(self, _done: AbstractSet[int]) -> bool:
        return True

    def apply(self, hands: Hands) -> Iterator[Event]:
        rotated = [log for log, step in self.rotations.items() if step is None or id(step) in hands.done]
        status.write(self.target, {**self.entries, **dict.fromkeys(rotated, self.now)})
        yield StateWritten(target=self.target, rotated=len(rotated))
