"""Which files a held call is about, read off the process that waits in it."""

import ctypes
import os
import struct

from .calls import CHANGES
from .seccomp import Notice

_AT_FDCWD = -100
_LONGEST = 4096


def of(notice: Notice) -> tuple[str, ...]:
    """The paths of the files, absolute; a descriptor's is that under which the kernel knows it."""
    return tuple(path for about in notice.kind.about for path in _paths(notice, about))


def is_change(notice: Notice) -> bool:
    """Whether an openat2 would make or cut a file: its flags stand in memory, where no filter sees them."""
    if notice.kind.name != "openat2":
        return True
    flags = _memory(notice.tid, notice.arguments[2], 8)
    return len(flags) == 8 and bool(struct.unpack("=Q", flags)[0] & CHANGES)  # what was killed changes nothing


def _paths(notice: Notice, about: str) -> tuple[str, ...]:
    what, places = about.rstrip("0123456789"), [int(place) for place in about if place.isdigit()]
    values = [notice.arguments[place] for place in places]
    match what:
        case "fd":
            return (_descriptor(notice.tid, values[0]),)
        case "path":
            return (_below(_link(notice.tid, "cwd"), _text(notice.tid, values[0])),)
        case "at" if values[1] == 0:  # utimensat of a descriptor
            return (_descriptor(notice.tid, values[0]),)
        case "at":
            return (_below(_descriptor(notice.tid, values[0]), _text(notice.tid, values[1])),)
        case "addr":
            return (_below(_link(notice.tid, "cwd"), _socket(notice.tid, values[0])),)
        case _:
            return ()


def _below(directory: str, path: str) -> str:
    return os.path.normpath(os.path.join(directory, path))


def _descriptor(tid: int, value: int) -> str:
    number = ctypes.c_int32(value & 0xFFFF_FFFF).value
    return _link(tid, "cwd" if number == _AT_FDCWD else f"fd/{number}")


def _link(tid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{tid}/{name}")
    except OSError:
        return ""


def _text(tid: int, address: int) -> str:
    return os.fsdecode(_memory(tid, address, _LONGEST).partition(b"\0")[0])


def _socket(tid: int, address: int) -> str:
    """The path of a Unix socket's address (unix(7)); an abstract one has none."""
    family, path = struct.unpack("=H108s", _memory(tid, address, 110).ljust(110, b"\0"))
    return os.fsdecode(path.partition(b"\0")[0]) if family == 1 else ""


def _memory(tid: int, address: int, length: int) -> bytes:
    """Memory of a process; less than `length` bytes where a page that is not there follows."""
    try:
        descriptor = os.open(f"/proc/{tid}/mem", os.O_RDONLY)
    except OSError:  # it was killed
        return b""
    try:
        page = 4096 - address % 4096
        found = os.pread(descriptor, min(length, page), address)
        if len(found) == page < length and b"\0" not in found:
            found += os.pread(descriptor, length - page, address + page)
    except OSError:
        return b""
    else:
        return found
    finally:
        os.close(descriptor)
