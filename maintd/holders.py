"""Who has a file open: may anybody still write it (a lease, microseconds), and who, and how (/proc, milliseconds).

fcntl(2), F_SETLEASE: a read lease is granted only if nobody has the file open for writing, a write lease only if nobody
else has it open at all. The kernel knows about other users' processes, mappings and descriptors in flight, where a scan
of /proc is blind. A lease is given back at once: whoever opens the file meanwhile waits for as long as it is held.
"""

import contextlib
import errno
import fcntl
import os
import re
import signal
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from maintd import capabilities, linux, statx
from maintd.errors import Blind
from maintd.values import dataclass

Inode = tuple[int, int]
_INTERPRETERS = {"python": "cmWX", "pypy": "cmWX", "sh": "c", "bash": "c", "node": "ep", "perl": "eE", "ruby": "e"}
"""Programs that are called by what they run, each with those of its options that take code (-m: a module) or a word."""


@dataclass(frozen=True)
class Holder:
    """A process that has a file open. `start` is its start time in clock ticks since boot, which tells a reused pid.

    `thread` is the one that has it open in a table of descriptors of its own, which others cannot reach; 0 as a rule.
    """

    pid: int
    start: int
    uid: int
    program: str
    writing: bool
    appending: bool
    thread: int = 0

    @property
    def is_supervisord(self) -> bool:
        return self.program in ("supervisord", "supervisor.supervisord")

    @property
    def is_at_work(self) -> bool:
        """Whether it is a process in which maintd does its own work, on this log for example.

        It goes by its name; who else takes that name keeps his log from being rotated, as any writer can.
        """
        return self.program == "maintd.child"

    def __str__(self) -> str:
        return f"{self.program} (pid {self.pid})"


def ignore_lease_breaks() -> None:
    """Has this process survive that somebody opens a file on which it holds a lease: SIGIO kills by default."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def may_be_written(descriptor: int) -> bool:
    """Whether any process could still write the file.

    Falls back to a scan where leases are not to be had; raises Blind if there are processes that it may not look into.
    """
    return _is_open(descriptor, fcntl.F_RDLCK)


def is_open_elsewhere(descriptor: int) -> bool:
    """Whether any other descriptor of the file exists, also for reading."""
    return _is_open(descriptor, fcntl.F_WRLCK)


def _is_open(descriptor: int, kind: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, kind)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EBUSY):
            return True
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOLCK):
            raise
    else:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    info = os.fstat(descriptor)
    found = find({(info.st_dev, info.st_ino)}).get((info.st_dev, info.st_ino), [])
    others = [holder for holder in found if holder.pid != os.getpid()]
    if any(holder.writing for holder in others) or (kind == fcntl.F_WRLCK and others):
        return True
    if "CAP_SYS_PTRACE" in capabilities.missing():
        raise Blind(
            "whether anybody has it open cannot be known: a lease is not to be had (on another user's file it takes "
            "CAP_LEASE; some file systems have none), and to look into other processes takes CAP_SYS_PTRACE",
            hint="give maintd one of the two: in a container with cap_add, under systemd with CapabilityBoundingSet",
        )
    return False


@contextlib.contextmanager
def unwritable(descriptor: int) -> Iterator[bool]:
    """While in the block nobody can open the file for writing (they wait); yields False if somebody has it open.

    To be held for nothing longer than an identity check and an unlink. Where leases are not to be had the answer is
    that of a scan, and an opener is not held up.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        yield not may_be_written(descriptor)
        return
    try:
        yield True
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


@contextlib.contextmanager
def alone(descriptor: int) -> Iterator[bool]:
    """While in the block nobody else can open the file at all (they wait), and this process can change it.

    Yields False, and holds nobody up, if somebody has it open, or leases are not to be had. Not to be held long.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def find(inodes: Collection[Inode]) -> dict[Inode, list[Holder]]:
    """The processes that have any of these (device, inode) pairs open, as far as /proc shows them to this user."""
    found: dict[Inode, list[Holder]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            for thread in (0, *_apart(entry)):
                for inode, _, flags in _descriptors(str(thread or entry), inodes):
                    holder = _holder(int(entry), flags, thread)
                    if holder is not None and holder not in found[inode]:
                        found[inode].append(holder)
    return found


def mappers(inodes: Collection[Inode]) -> dict[Inode, list[Holder]]:
    """The processes that have a shared mapping of any of these files through which they may write (proc_pid_maps(5)).

    A mapping outlives the descriptor it was made with. To look for it takes longer than to look for descriptors.
    """
    found: dict[Inode, list[Holder]] = defaultdict(list)
    for entry in filter(str.isdigit, os.listdir("/proc")):
        for inode in _mapped(entry, inodes):
            holder = _holder(int(entry), os.O_RDWR)
            if holder is not None and holder not in found[inode]:
                found[inode].append(holder)
    return found


def _mapped(pid: str, inodes: Collection[Inode]) -> Iterator[Inode]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", "rb") as lines:
        for line in lines:
            _, permissions, _, device, number, *_ = line.split(maxsplit=5)
            if permissions.startswith(b"rw") and permissions.endswith(b"s"):
                inode = os.makedev(*(int(part, 16) for part in device.split(b":"))), int(number)
                if inode in inodes:
                    yield inode


def descriptors(pid: int, inode: Inode) -> list[tuple[int, int]]:
    """The number and the open flags of each descriptor that a process has of this (device, inode)."""
    return [(number, flags) for _, number, flags in _descriptors(str(pid), {inode})]


def _apart(pid: str) -> Iterator[int]:
    """The threads of a process that have tables of descriptors of their own, which /proc/PID/fd does not show."""
    with contextlib.suppress(OSError):
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            if thread != int(pid) and not linux.shares_descriptors(int(pid), thread):
                yield thread


def _descriptors(pid: str, inodes: Collection[Inode]) -> Iterator[tuple[Inode, int, int]]:
    """The (inode, number, open flags) of those descriptors of a process that are of one of `inodes`."""
    with contextlib.suppress(OSError):
        for number, inode in statx.inodes_in(f"/proc/{pid}/fd"):
            if inode in inodes:
                with contextlib.suppress(OSError):
                    yield inode, int(number), _flags(pid, number)


def _flags(pid: str, number: str) -> int:
    with open(f"/proc/{pid}/fdinfo/{number}", "rb") as lines:
        return next(int(line.split()[1], 8) for line in lines if line.startswith(b"flags:"))


def _holder(pid: int, flags: int, thread: int = 0) -> Holder | None:
    identity = start_and_uid(pid)
    if identity is None:
        return None
    writing = flags & os.O_ACCMODE != os.O_RDONLY
    return Holder(pid, *identity, program(thread or pid), writing, bool(flags & os.O_APPEND), thread)


def start_and_uid(pid: int) -> tuple[int, int] | None:
    """The start time (clock ticks since boot) and real uid of a process, or None if it is gone (proc_pid_stat(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            after_name = file.read().rpartition(b")")[2].split()
        return int(after_name[19]), os.stat(f"/proc/{pid}").st_uid
    except (OSError, IndexError, ValueError):
        return None


def program(pid: int) -> str:
    """What a process is called by people: the script or module of an interpreter, else the command's base name."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = [os.fsdecode(word) for word in file.read(4096).split(b"\0") if word]
    except OSError:
        return "?"
    if not words:
        return "?"
    name = os.path.basename(words[0])
    family = name.rstrip("0123456789.")
    return os.path.basename(_script(_INTERPRETERS[family], words[1:]) or name) if family in _INTERPRETERS else name


def _script(options: str, arguments: Sequence[str]) -> str:
    """What an interpreter was told to run: a script, or a module (-m). Nothing if it is code, or standard input."""
    rest = iter(arguments)
    for word in rest:
        if word == "-" or not word.startswith("-"):
            return word.removeprefix("-")
        found = None if word.startswith("--") else re.search(f"[{options}]", word)
        if found is None:
            continue
        value = word[found.end() :] or next(rest, "")
        if found[0] not in "WX":
            return value if found[0] == "m" else ""
    return ""


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal. Without one, SIGUSR1, SIGUSR2 and SIGHUP would end it."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as lines:
            mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    except (OSError, StopIteration, ValueError):
        return False
    return bool(mask >> (number - 1) & 1)
