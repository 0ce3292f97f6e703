"""Which files stanzas name at this moment: wildcards, a log in two stanzas, and where their archives are to go."""

import errno
import os
import stat as st
from collections.abc import Iterable, Mapping

from maintd.logrotate import wildcards
from maintd.logrotate.stanza import Complaint, Stanza
from maintd.values import dataclass


@dataclass(frozen=True)
class LogSet:
    """A stanza with its logs, in the order of its patterns; one that matches nothing stands for itself."""

    stanza: Stanza
    logs: tuple[str, ...]


@dataclass(frozen=True)
class Expansion:
    """All stanzas that can be worked on with their logs, in order, and what is wrong."""

    sets: tuple[LogSet, ...]
    complaints: tuple[Complaint, ...]

    @property
    def failed(self) -> bool:
        """Whether logrotate would exit with 1 because of this."""
        return any(complaint.fails for complaint in self.complaints)


def expand(stanzas: Iterable[Stanza]) -> Expansion:
    """The logs of stanzas as they are on the disk now. A log belongs to the first stanza that names it.

    A stanza without an olddir that it can use is left out. Directories are no logs; a symbolic link is named, and for
    whoever rotates to refuse.
    """
    owners: dict[str, Stanza] = {}
    sets: list[LogSet] = []
    complaints: list[Complaint] = []
    for stanza in stanzas:
        own, doubles = _own(stanza, owners)
        complaints += doubles
        trouble = _olddir_trouble(stanza, own)
        if trouble:
            complaints.append(Complaint(stanza.file, stanza.end, "error", trouble, "stanza", fails=True))
            continue
        owners |= dict.fromkeys(own, stanza)
        sets.append(LogSet(stanza, tuple(own)))
    return Expansion(tuple(sets), tuple(complaints))


def olddir(stanza: Stanza, log: str) -> str | None:
    """The directory for the archives of a log, None if they stay beside it."""
    name = stanza.options.olddir
    return None if name is None else os.path.join(os.path.dirname(log), name)


def _own(stanza: Stanza, owners: Mapping[str, Stanza]) -> tuple[dict[str, None], list[Complaint]]:
    """The logs of a stanza that are not another's, and the complaints about the others.

    As in logrotate, what a pattern names after such a log goes with it, unless duplicates are ignored.
    """
    own: dict[str, None] = {}
    complaints: list[Complaint] = []
    for pattern in stanza.patterns:
        paths = [path for path in wildcards.expand(pattern) if not _is_directory(path)]
        for number, path in enumerate(paths, 1):
            owner = stanza if path in own else owners.get(path)
            if owner is None:
                own[path] = None
                continue
            complaints.append(_duplicate(stanza, path, owner, len(paths) - number))
            if complaints[-1].fails:
                break
    return own, complaints


def _is_directory(path: str) -> bool:
    try:
        return st.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):  # ValueError: a NUL in it
        return False


def _duplicate(stanza: Stanza, path: str, owner: Stanza, others: int) -> Complaint:
    if owner.options.ignoreduplicates:
        return Complaint(stanza.file, stanza.line, "note", f"ignore duplicate log entry for {path}", "log")
    more = f", and {others} more of its pattern left out" if others else ""
    return Complaint(stanza.file, stanza.line, "error", f"duplicate log entry for {path}{more}", "log", fails=True)


def _olddir_trouble(stanza: Stanza, paths: Iterable[str]) -> str | None:
    """Why archives cannot go to the olddir: it is missing and not to be made, or on another device than a log."""
    if stanza.options.olddir is None:
        return None
    return next(filter(None, (_trouble_of(stanza, path) for path in paths)), None)


def _trouble_of(stanza: Stanza, log: str) -> str | None:
    options = stanza.options
    target = olddir(stanza, log)
    assert target is not None
    device = _device(os.path.dirname(log) or ".")
    if isinstance(device, str):
        return None if options.missingok else f"error verifying log file path {os.path.dirname(log)}: {device}"
    other = _device(target)
    if isinstance(other, str):
        is_made = options.createolddir is not None and other == os.strerror(errno.ENOENT)
        return None if is_made else f"error verifying olddir path {target}: {other}"
    if device != other and not (options.copy or options.copytruncate or options.renamecopy):
        return f"olddir {target} and log file {log} are on different devices"
    return None


def _device(directory: str) -> int | str:
    """The device that a directory lies on, or why that cannot be told."""
    try:
        return os.stat(directory).st_dev
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a NUL in it
        return str(error)
