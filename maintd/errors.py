"""What can go wrong, in words for the person who has to act."""

import errno
from collections.abc import Sequence

from maintd.values import dataclass


class MaintdError(Exception):
    """Something went wrong that a person can mend; `hint` says how."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Refused(MaintdError):
    """The target is not, or no longer, what a step may touch. Nothing was changed."""


class Aborted(MaintdError):
    """A step ended early because it was told to stop. Its temporary is gone; the next run starts it anew."""


class NotYet(MaintdError):
    """Somebody still has the file open. Nothing was changed; it is tried again later, which is no failure."""


class Blind(Refused):
    """Whether anybody has the file open cannot be known by this process, for want of the capabilities that it names."""


class TimedOut(MaintdError):
    """A time limit was reached."""


TOO_SLOW = "raise its timeout, or look at what is slow"


class Damaged(MaintdError):
    """A snapshot, or what came out of it, is not what it was."""


class Locked(MaintdError):
    """Another maintd holds the lock of this state directory."""


class Unreachable(MaintdError):
    """The daemon, or supervisord, does not answer."""


class OutOfReach(MaintdError):
    """An object store does not answer, or lets nobody in: it is so for everything that is to go there."""


class Rejected(MaintdError):
    """A message is not taken as it is, however often it is sent."""


class Crashed(MaintdError):
    """A worker met what was not foreseen: what it was given is at fault, or maintd."""


class Denied(MaintdError):
    """supervisord answers, and its answer is that it cannot: there is no such program, for example."""


_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRNOTAVAIL}


def is_shortage(error: BaseException) -> bool:
    """Whether maintd or its machine was short of something: descriptors, memory, processes, ports to connect from.

    That says nothing of what was to be reached.
    """
    return getattr(error, "errno", None) in _SHORTAGES


@dataclass(frozen=True)
class Problem:
    """One fault of a config file. `line` and `column` count from 1; 0 means that the place is not known."""

    file: str
    line: int
    column: int
    message: str
    severity: str = "error"

    def __str__(self) -> str:
        place = ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])
        return f"{place}: {self.severity}: {self.message}"


class ConfigError(MaintdError):
    """A configuration that cannot be used, with every problem found in it."""

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint=hint)
        self.problems = tuple(problems)


_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, or lower keep or max_total; this is tried again by itself",
    errno.EDQUOT: "the owner's quota is used up: raise it or free space; this is tried again by itself",
    errno.EROFS: "the file system is mounted read-only, often after an I/O error: look at dmesg, then remount it",
    errno.EIO: "the disk failed to read or write: look at dmesg and the disk's SMART data",
    errno.EACCES: "run maintd as root or as the owner, or let it enter and write the directory",
    errno.EPERM: "the operation is not permitted: run as root, and look for chattr +a or +i (lsattr)",
    errno.EMFILE: "too many open files: raise minfds in supervisord.conf or LimitNOFILE",
    errno.ENFILE: "the whole system has too many open files: raise fs.file-max",
    errno.ENOENT: "it is gone, or was never there",
    errno.EXDEV: "source and target lie on different file systems: choose a directory on the same one",
    errno.EEXIST: "a file of that name is there already and is left alone: move it away",
    errno.ELOOP: "a symbolic link is in the way, where none is followed: name the directory itself",
    errno.ENOMEM: "no memory left: see what uses it",
    errno.EADDRNOTAVAIL: "no port is left to connect from (ss -s), or this machine has no address of that kind",
    errno.EOPNOTSUPP: "this file system cannot do that",
    errno.ENAMETOOLONG: "the name with its stamp is longer than 255 bytes: use a shorter log name",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.EISDIR: "it is a directory, where a file is expected",
    errno.EBUSY: "something is mounted there (findmnt), or the kernel uses it: it cannot be renamed or removed",
    errno.ETXTBSY: "the file is being executed",
}


@dataclass(frozen=True)
class Trouble:
    """An exception as events carry it: a short code, a sentence, and what to do."""

    error: str
    error_msg: str
    advice: str


def trouble(exception: BaseException) -> Trouble:
    """Describes any exception for an event; an OSError by its errno's name and the paths it names."""
    if isinstance(exception, OSError) and exception.errno:
        code = errno.errorcode.get(exception.errno, str(exception.errno))
        names = " → ".join(str(name) for name in (exception.filename, exception.filename2) if name)
        text = f"{exception.strerror}: {names}" if names else str(exception.strerror)
        return Trouble(code, text, _ADVICE.get(exception.errno, ""))
    if isinstance(exception, MaintdError):
        return Trouble(type(exception).__name__.lower(), str(exception), exception.hint)
    return Trouble(type(exception).__name__, str(exception), "this was not foreseen: please report it")
