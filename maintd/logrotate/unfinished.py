"""What was begun by a run that did not come to its end: logs that were set aside, and whose scripts have not run.

The scripts tell writers to open the new log. So a run of the daemon notes, beside the state file, which logs it is
about to set aside, and the next one runs what comes after that where a log has been. The command line does as logrotate
does.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from typing import ClassVar

from maintd import durable, grounds, names
from maintd.actions.hands import Hands
from maintd.durable import Ownership
from maintd.events import Event, Failure
from maintd.logrotate import scripts
from maintd.logrotate.considering import Considered
from maintd.logrotate.deeds import Inode, LogrotateFailed
from maintd.logrotate.log_steps import LogSteps, Setting
from maintd.logrotate.scripts import RunScript, Script
from maintd.logrotate.stanza import ScriptName, Stanza
from maintd.steps import Action, Seen
from maintd.values import dataclass

_SUFFIX = ".unfinished"
_AFTER: tuple[ScriptName, ...] = ("postrotate", "lastaction")


@dataclass(frozen=True, kw_only=True)
class Note(Action):
    """Writes down, in the target, which logs are about to be set aside, each with the inode that it has now."""

    verb: ClassVar[str] = "note"
    failure: ClassVar[type[Failure]] = LogrotateFailed

    logs: Mapping[str, Inode] = field(default_factory=dict)

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        folder, name = os.path.split(self.target)
        temporary = names.temporary(name)
        with durable.directory(grounds.real(folder)) as dir_fd:
            durable.discard(temporary, dir_fd=dir_fd)
            file = durable.create(temporary, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
            try:
                durable.write_all(file, json.dumps(self.logs).encode("ascii"))
                os.fsync(file)
            finally:
                os.close(file)
            durable.replace(temporary, name, dir_fd=dir_fd)
        yield from ()


@dataclass(frozen=True, kw_only=True)
class Forget(Action):
    """Removes the note: the run has come to its end, or what it left was made up for."""

    verb: ClassVar[str] = "forget"
    failure: ClassVar[type[Failure]] = LogrotateFailed

    def apply(self, hands: Hands) -> Iterator[Event]:
        hands.check()
        folder, name = os.path.split(self.target)
        with durable.directory(grounds.real(folder)) as dir_fd, suppress(FileNotFoundError):
            durable.unlink(name, None, dir_fd=dir_fd)
        yield from ()


def place(state: str) -> str:
    """Where the note of runs with this state file is."""
    return os.path.abspath(state) + _SUFFIX


def read(state: str) -> dict[str, Inode]:
    """The logs that a run was about to set aside and may have; none if there is no note that can be read."""
    try:
        with open(place(state), "rb") as file:
            found = json.load(file)
        return {str(log): (int(dev), int(ino)) for log, (dev, ino) in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def noted(stanza: Stanza, logs: Sequence[LogSteps]) -> dict[str, Inode]:
    """What is to be written down of the logs of a stanza that are to be set aside."""
    options = stanza.options
    if options.copy or options.copytruncate or not any(name in stanza.scripts for name in _AFTER):
        return {}
    return {log.path: log.inode for log in logs}


def make_up(stanza: Stanza, logs: Sequence[Considered], setting: Setting) -> "MadeUp":
    """The scripts that were to follow, where a log that was noted lies among its archives."""
    lost: dict[str, str] = {}
    for log in logs if setting.unfinished else ():
        folder, name = os.path.split(log.path)
        if log.is_unsafe or not os.path.isdir(folder or "."):
            continue
        path = os.path.join(grounds.resolve(folder or "."), name)
        inode = setting.unfinished.get(path)
        if inode is not None:
            seen = log.seen or Seen(path, *inode, 0, 0, 0, 0, 0, 0)
            archive = LogSteps(replace(log, seen=seen), stanza, setting, is_collapsed=False).lies_at(inode)
            lost |= {log.path: archive} if archive else {}
    steps: list[RunScript] = []
    for name in _AFTER if lost else ():
        text = stanza.scripts.get(name)
        is_for_each = name == "postrotate" and not stanza.options.sharedscripts
        arguments: list[tuple[str, ...]] = list(lost.items()) if is_for_each else [(stanza.text,)]
        if text is not None:
            made = [scripts.run(Script(name, text, setting.streams), given) for given in arguments]
            steps += (replace(step, reason="an interrupted run had set the log aside, and not run it") for step in made)
    return MadeUp(tuple(steps), dict.fromkeys(lost))


@dataclass(frozen=True)
class MadeUp:
    """The scripts of one stanza that are run now, and the logs, by name, that were rotated as far as is known."""

    steps: tuple[RunScript, ...]
    rotations: Mapping[str, Action | None]
