"""How copytruncate takes a log from under its writers: where the file system can collapse, without losing a line.

logrotate copies a log and cuts it, and what is written in between is lost. Here a log that a process appends to is
rotated in place by maintd's own engine (inplace.py), so it keeps a line of blanks, less than two blocks, at its head.
One that nobody has open is copied and cut while nobody can open it. Only where neither is possible it is cut beside its
writers, as soon as what they wrote meanwhile was copied too.
"""

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

from maintd import allocation, durable, place, writers
from maintd.actions.hands import Hands
from maintd.actions.inplace import FinishInPlace, RotateInPlace
from maintd.errors import MaintdError
from maintd.events import Event, Failure
from maintd.intents import Interrupted
from maintd.logrotate.considering import Considered
from maintd.logrotate.deeds import LogrotateFailed
from maintd.logrotate.due import Ruling
from maintd.logrotate.stanza import Options
from maintd.rungs import Reopening
from maintd.steps import Seen
from maintd.units import format_size
from maintd.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Collapse(RotateInPlace):
    """Archives the lines of a log that is being written, and takes them out of it; looks anew after a script."""

    failure: ClassVar[type[Failure]] = LogrotateFailed

    may_change: bool = False

    def apply(self, hands: Hands) -> Iterator[Event]:
        if self.may_change:
            seen = Seen.of(self.target, os.lstat(self.target))
            yield from replace(self, seen=seen, may_change=False).apply(hands)
        else:
            yield from super().apply(hands)


@dataclass(frozen=True, kw_only=True)
class FinishCollapse(FinishInPlace):
    """Completes or takes back what a run that was interrupted had begun."""

    failure: ClassVar[type[Failure]] = LogrotateFailed


def finish(found: Interrupted) -> FinishCollapse:
    """The step that completes or takes back an interrupted rotation in place."""
    return FinishCollapse(
        target=found.log, reason="a run of before was interrupted", archive=found.archive, journal=found.journal
    )


def ruled(
    logs: Sequence[Considered], options: Options, intents: str, interrupted: Mapping[str, Interrupted]
) -> tuple[list[Considered], frozenset[str]]:
    """The logs, of which some are to wait, and the paths of those that are collapsed; `intents` is where that is noted.

    A log waits while its writers leave no other way than collapsing it and it is too small for that, and if an
    interrupted rotation of it is to be completed first.
    """
    found = [_waiting(log, "an interrupted rotation of it is completed first", interrupted) for log in logs]
    if not options.copytruncate:
        return found, frozenset()
    if not options.ifempty:
        marked = _marked(found)
        found = [_waiting(log, "it holds nothing that was not rotated yet (notifempty)", marked) for log in found]
    due = [log.seen for log in found if log.is_due and log.seen is not None and _may_collapse(log.seen, options)]
    if options.rotate == 0 or not intents:
        return found, frozenset()
    rungs = writers.choose(due, Reopening(mode="collapse"))
    found = [
        _waiting(log, writers.AT_WORK.put_off, {seen.path for seen in due if rungs[seen.inode] == writers.AT_WORK})
        for log in found
    ]
    paths = {seen.path: seen for seen in due if rungs[seen.inode].way == "collapse"}
    small = {path: seen for path, seen in paths.items() if seen.size < 2 * allocation.unit(path)}
    waiting = [
        _waiting(log, f"a process writes it, and {format_size(log.seen.size)} cannot be taken out of it yet", small)
        if log.seen
        else log
        for log in found
    ]
    return waiting, frozenset(paths.keys() - small.keys())


def _waiting(log: Considered, reason: str, those: Container[str]) -> Considered:
    if not log.is_due or log.seen is None or log.seen.path not in those:
        return log
    return replace(log, ruling=Ruling(is_due=False, reason=reason))


def _marked(logs: Sequence[Considered]) -> set[str]:
    """The paths of logs that have nothing but the mark of what was taken out of them."""
    found = set()
    for seen in (log.seen for log in logs if log.is_due and log.seen is not None):
        with (
            suppress(OSError, MaintdError),
            durable.directory(os.path.dirname(seen.path)) as dir_fd,
            durable.opened(os.path.basename(seen.path), dir_fd=dir_fd) as file,
        ):
            found |= {seen.path} if place.head_of(file) == seen.size else set()
    return found


def _may_collapse(seen: Seen, options: Options) -> bool:
    """Whether the engine takes this file; as another user it is asked only about that user's own."""
    return not seen.oddity and (options.su is None or options.su.uid == seen.uid)
