"""Which logs of a stanza are rotated now, and why or why not: the rules of due.py, and what logrotate refuses."""

import errno
import os
import stat as st
from collections.abc import Iterator, Mapping
from datetime import datetime

from maintd import grounds
from maintd.logrotate.due import Ruling, rule
from maintd.logrotate.logs import LogSet
from maintd.logrotate.stanza import Options
from maintd.steps import Seen
from maintd.values import dataclass


@dataclass(frozen=True)
class Considered:
    """A log by its name in the config, and what was decided. `trouble` is an error that makes the exit code 1.

    `seen` has the path without symbolic links on the way to it; None if there is no such file, or its directory
    `is_unsafe`. `rotated` is its time in the state file.
    """

    path: str
    seen: Seen | None
    ruling: Ruling
    trouble: str = ""
    is_unsafe: bool = False
    rotated: datetime | None = None

    @property
    def is_due(self) -> bool:
        return self.ruling.is_due


def consider(found: LogSet, entries: Mapping[str, datetime], now: datetime, *, forced: bool) -> Iterator[Considered]:
    """Decides on each log of a stanza in turn; `entries` are those of the state file."""
    options = found.stanza.options
    for path in found.logs:
        folder, name = os.path.split(path)
        try:
            trouble = _unable(path, options) or _insecure(path, os.stat(folder or "."), options)
            if trouble:
                yield Considered(path, None, Ruling(is_due=False, reason="it is not safe to"), trouble, is_unsafe=True)
                continue
            real = os.path.join(grounds.resolve(folder or "."), name)
            seen = Seen.of(real, os.lstat(real))
        except (OSError, ValueError) as error:  # ValueError: a NUL in it
            yield _missing(path, error, options)
            continue
        why = _passed_over(seen, options)
        ruling = Ruling(is_due=False, reason=why) if why else rule(options, seen, entries.get(path), now, forced=forced)
        yield Considered(path, seen, ruling, rotated=entries.get(path))


def _unable(path: str, options: Options) -> str:
    """Why who runs this cannot work as `su` says, or nothing."""
    su, me = options.su, (os.geteuid(), os.getegid())
    if su is None or me[0] == 0 or me == (su.uid, su.gid):
        return ""
    return f"{path}: uid {me[0]}, gid {me[1]} cannot become uid {su.uid}, gid {su.gid}, as su says; only root can"


def _insecure(path: str, folder: os.stat_result, options: Options) -> str:
    """Why root must not work in this directory, or nothing: others could lead it elsewhere."""
    is_open = folder.st_mode & st.S_IWOTH or (folder.st_mode & st.S_IWGRP and folder.st_gid != 0)
    if os.geteuid() != 0 or options.su or not is_open:
        return ""
    return (
        f'skipping "{path}" because parent directory has insecure permissions (It\'s world writable or writable by'
        ' group which is not "root") Set "su" directive in config file to tell logrotate which user/group should be'
        " used for rotation."
    )


def _missing(path: str, error: OSError | ValueError, options: Options) -> Considered:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    if options.missingok and isinstance(error, OSError) and error.errno == errno.ENOENT:
        return Considered(path, None, Ruling(is_due=False, reason="there is none (missingok)"))
    trouble = f"stat of {path} failed: {reason}"
    return Considered(path, None, Ruling(is_due=False, reason="it cannot be looked at"), trouble)


def _passed_over(seen: Seen, options: Options) -> str:
    """Why a file is no log that is rotated, which is no error; or nothing."""
    if st.S_ISLNK(seen.mode):
        return "it is a symbolic link, and none is rotated"
    if not st.S_ISREG(seen.mode):
        return "it is no regular file"
    if seen.nlink > 1 and not options.allowhardlink:
        return f"it has {seen.nlink} names (hard links), and allowhardlink is not set"
    return ""
