"""logrotate's state file: when each log was last rotated, read and written as logrotate does, and locked.

A line is a name in quotes and a local time. Unlike logrotate, which then forgets all that follows (seen with 3.21), a
line that cannot be read costs that line only.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat as st
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

from maintd import durable, grounds, names
from maintd.durable import Ownership
from maintd.errors import Locked, Refused
from maintd.values import dataclass

_TOPS = (b"logrotate state -- version 1", b"logrotate state -- version 2")
_MODE = 0o640
_YEAR = 31_556_926
"""Seconds of a year as logrotate counts it; seen by bisection."""
_NUMBER = r"\s*([+-]?\d+)"
_TIME = re.compile(f"{_NUMBER}-{_NUMBER}-{_NUMBER}(?:-{_NUMBER}(?::{_NUMBER}(?::{_NUMBER})?)?)?", re.ASCII)
_RANGES = {
    "year": (1970, 2100),
    "month": (1, 12),
    "day": (0, 31),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
_SPACE = b" \t\n\v\f\r"
_QUOTES = b"'\""
_BACKSLASH = b"\\"


@dataclass(frozen=True)
class Status:
    """When each log was last rotated, by its path, local and naive. Faults: what was not read, in logrotate's words."""

    entries: Mapping[str, datetime]
    faults: tuple[str, ...] = ()


def read(path: str) -> Status:
    """The state file, or an empty one if there is none. OSError if it cannot be read, Refused if it is no file."""
    try:
        descriptor = _opened(path)
    except FileNotFoundError:
        return Status({})
    with os.fdopen(descriptor, "rb") as file:
        return parse(file.read(), path)


def parse(data: bytes, path: str) -> Status:
    """A state file's content; `path` is for the faults."""
    entries: dict[str, datetime] = {}
    faults: list[str] = []
    if not data:
        return Status({})
    lines = data.removesuffix(b"\n").split(b"\n")
    if not data.endswith(b"\n"):  # it was cut off, it seems, and is read as far as it goes
        what = f"line {len(lines)} too long" if len(lines) > 1 else "bad top line"
        faults.append(f"{what} in state file {path}")
    for number, line in enumerate(lines, start=1):
        if number == 1:
            if line not in _TOPS and not faults:
                faults.append(f"bad top line in state file {path}")
            continue
        words = split(line)
        if words == []:
            continue
        if words is None or len(words) != 2 or b"\0" in line:
            faults.append(f"bad line {number} in state file {path}")
            continue
        name, time = (os.fsdecode(word) for word in words)
        name = unescaped(name)
        try:
            entries[name] = _time(time)
        except ValueError as error:
            fault = f"{error} for file {name} in" if str(error) else f"bad line {number} in"
            faults.append(f"{fault} state file {path}")
    return Status(entries, tuple(faults))


def split(line: bytes) -> list[bytes] | None:
    r"""The words of a line, or None if it ends with a backslash; a quote may stay open.

    Words stand between white space; in quotes of either kind a backslash covers that quote only, and else it stays
    (what `unescaped` is for); outside of them it covers what follows and goes. Empty words do not count.
    """
    words, word, quote = [], bytearray(), b""
    rest = iter(line[index : index + 1] for index in range(len(line)))
    for char in rest:
        if char == _BACKSLASH:
            follower = next(rest, None)
            if follower is None:
                return None
            word += (_BACKSLASH if quote and follower != quote else b"") + follower
        elif char == quote:
            quote = b""
        elif quote:
            word += char
        elif char in _QUOTES:
            quote = char
        elif char in _SPACE:
            words.append(bytes(word))
            word.clear()
        else:
            word += char
    words.append(bytes(word))
    return [found for found in words if found]


def unescaped(name: str) -> str:
    r"""A name without the escapes of the state file: `\\` and `\n`. Other backslashes are themselves."""
    return re.sub(r"\\([\\n])", lambda match: "\n" if match[1] == "n" else "\\", name)


def _time(text: str) -> datetime:
    """A local time from its numbers, of which the last may be missing. ValueError with which one is out of range."""
    match = _TIME.match(text)
    if not match:
        raise ValueError
    numbers = [int(number or 0) for number in match.groups()]
    for number, (unit, (lowest, highest)) in zip(numbers, _RANGES.items(), strict=True):
        if not lowest <= number <= highest:
            raise ValueError(f"bad {unit} {number}")
    year, month, day, hour, minute, second = numbers
    first = datetime(year, month, 1, hour, minute, second)  # noqa: DTZ001 - the file has no zone
    return first + timedelta(days=day - 1)  # 31 April is 1 May


def render(entries: Mapping[str, datetime]) -> bytes:
    """A state file of version 2; in order of names, where logrotate's has none."""
    lines = [_TOPS[1]]
    for name, time in sorted(entries.items()):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        moment = f"{time.year}-{time.month}-{time.day}-{time.hour}:{time.minute}:{time.second}"
        lines.append(os.fsencode(f'"{quoted}" {moment}'))
    return b"\n".join(lines) + b"\n"


def kept(entries: Mapping[str, datetime], seen: Collection[str], now: datetime) -> dict[str, datetime]:
    """The entries without those of logs that were not rotated for a year, and not `seen` by this run either."""
    since = now.timestamp() - _YEAR
    return {name: time for name, time in entries.items() if name in seen or time.timestamp() >= since}


def write(path: str, entries: Mapping[str, datetime]) -> None:
    """Puts a new state file in the place of the old one, durable, with its owner and mode, but never for all to read.

    Who can read it could lock it (CVE-2022-1348). A link is replaced, not followed. /dev/null stays what it is.
    """
    if path == os.devnull:
        return
    folder, name = os.path.split(os.path.abspath(path))
    temporary = names.temporary(name)
    with contextlib.ExitStack() as stack:
        old = _opened(path, make=True)
        stack.callback(os.close, old)
        dir_fd = stack.enter_context(durable.directory(grounds.real(folder)))
        info = os.fstat(old)
        ownership = Ownership(st.S_IMODE(info.st_mode) & 0o777 & ~st.S_IROTH, info.st_uid, info.st_gid)
        durable.discard(temporary, dir_fd=dir_fd)
        new = durable.create(temporary, ownership, dir_fd=dir_fd)
        stack.callback(os.close, new)
        try:
            durable.copy_extended(old, new)
            durable.dress(new, ownership)  # an access control list has brought its own mode
            durable.write_all(new, render(entries))
            os.fsync(new)
            durable.replace(temporary, name, dir_fd=dir_fd)
        except BaseException:
            durable.discard(temporary, dir_fd=dir_fd)
            raise


@contextlib.contextmanager
def locked(path: str, *, wait: bool = False) -> Iterator[str]:
    """Holds the lock that logrotate takes, a flock on the state file, which is made if need be; yields a warning or "".

    Without `wait`, raises Locked if another process holds it; OSError and Refused if there can be no lock: logrotate's
    exit code is 3 for all of these. /dev/null is not locked, nor is, with a warning, a file that anybody could lock.
    """
    if path == os.devnull:
        yield ""
        return
    descriptor, is_ours = _opened(path, make=True), False
    try:
        if os.fstat(descriptor).st_mode & st.S_IROTH:
            yield (
                f"state file {path} is world-readable and thus can be locked from other unprivileged users."
                " Skipping lock acquisition..."
            )
            return
        _flock(descriptor, path, wait=wait)
        is_ours = _is_still(descriptor, path)
        if is_ours:
            yield ""
    finally:
        os.close(descriptor)
    if not is_ours:  # who held the lock has put a new file there, as a run does at its end
        with locked(path, wait=wait) as warning:
            yield warning


def _flock(descriptor: int, path: str, *, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        raise Locked(
            f"state file {path} is already locked",
            hint="logrotate does not support parallel execution on the same set of logfiles",
        ) from error


def _is_still(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _opened(path: str, *, make: bool = False) -> int:
    """The state file for reading, which is enough for a lock. If it is made, it is with the mode logrotate gives it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if not make:
            raise
        descriptor = durable.lock_file(path, _MODE)
    if not st.S_ISREG(os.fstat(descriptor).st_mode) and path != os.devnull:
        os.close(descriptor)
        raise Refused(f"{names.printable(path)} is not a regular file, so it cannot be a state file")
    return descriptor
