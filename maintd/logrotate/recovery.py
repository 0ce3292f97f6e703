"""What an interrupted run left of a log: a new one that has not got its name yet, and halves of copies."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from maintd import grounds, names
from maintd.actions.delete import Clean, CleanFresh
from maintd.actions.rename import FinishRotation
from maintd.events import Event
from maintd.logrotate import generations
from maintd.logrotate.considering import Considered
from maintd.logrotate.due import Ruling
from maintd.logrotate.log_steps import LogSteps, Setting
from maintd.logrotate.stanza import Options
from maintd.steps import Action, Finding, Seen
from maintd.values import dataclass

_LEFT = "an interrupted run left it"


@dataclass(frozen=True, kw_only=True)
class LogUnfinished(Event):
    """A renamecopy of a log was interrupted; what it left is archived by this run, and the log itself by the next."""

    name: ClassVar[str] = "log.unfinished"
    level: ClassVar[str] = "warning"

    left: str

    @property
    def msg(self) -> str:
        name = os.path.basename(self.target)
        return f"{self.left} of an interrupted renamecopy is completed first; {name} is rotated by the next run"


def completed(log: LogSteps) -> Iterator[Finding]:
    """What is said of a log whose leftover takes its turn."""
    if log.is_left:
        left = os.path.basename(log.path) + ".tmp"
        event = LogUnfinished(target=log.name, left=left)
        yield Finding(target=f"{log.path}.tmp", reason=event.msg, event=event)


def plan(logs: Sequence[Considered], options: Options, setting: Setting) -> tuple[list[Considered], list[Action]]:
    """The logs, and the steps that put what is left of a run of before in order.

    A log that is missing and had its new one made already gets that, and is no error.
    """
    found: list[Considered] = []
    steps: list[Action] = []
    for log in logs:
        folder, name = os.path.split(log.path)
        if log.is_unsafe or not (log.is_due or log.seen is None) or not os.path.isdir(folder or "."):
            found.append(log)
            continue
        path = os.path.join(grounds.resolve(folder or "."), name)
        fresh = setting.forecast.seen(os.path.join(os.path.dirname(path), names.temporary(name)))
        if fresh and log.seen is None:
            reason = "an interrupted run had set it aside, and its new one gets its name"
            steps.append(FinishRotation(target=path, reason=reason, seen=fresh))
            log = replace(log, ruling=Ruling(is_due=False, reason=reason), trouble="")  # noqa: PLW2901 - the same log
        elif fresh:
            steps.append(CleanFresh(target=fresh.path, reason=_LEFT, seen=fresh))
        found.append(log)
        steps += (Clean(target=seen.path, reason=_LEFT, seen=seen) for seen in _halves(path, options, setting))
    return found, steps


def _halves(log: str, options: Options, setting: Setting) -> Iterator[Seen]:
    """Copies of this log that were not made to their end."""
    folder = grounds.real(generations.archive_directory(log, options))
    for name in setting.forecast.beginning_with(folder, generations.stem(log, options)):
        whole = name.removesuffix(names.TEMPORARY)
        if whole != name and generations.is_archive(whole, log, options, setting.now):
            seen = setting.forecast.seen(os.path.join(folder, name))
            if seen:
                yield seen
