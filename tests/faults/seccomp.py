"""Seccomp's user notification: the calls of a process and its children are held until another process answers.

seccomp(2), seccomp_unotify(2), <linux/seccomp.h>. It needs no right at all, and costs some 20 µs a call.
"""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .calls import AUDIT_ARCH, CHANGES, KINDS, MACHINE, Kind

_LIBC = ctypes.CDLL(None, use_errno=True)
_SECCOMP = {"x86_64": 317, "aarch64": 277}.get(MACHINE, -1)
_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE_RECV = 1, 1 << 3, 1 << 5
_PR_SET_NO_NEW_PRIVS = 38
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JSET|K, BPF_RET
_NR, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


@dataclass(frozen=True)
class Notice:
    """A call that waits for its answer."""

    id: int
    tid: int
    kind: Kind
    arguments: tuple[int, ...]


def install() -> int:
    """Has every call of the table by this process and its children wait for whoever has the returned descriptor."""
    instructions = list(_instructions())
    raw = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    program = _Program(len(instructions), ctypes.addressof(buffer))
    if os.geteuid() != 0 and _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE_RECV, _NEW_LISTENER):  # a held call stays so on signals: Linux 5.19
        listener: int = _LIBC.syscall(_SECCOMP, _SET_MODE_FILTER, flags, ctypes.byref(program))
        if listener >= 0:
            return listener
    raise OSError(ctypes.get_errno(), "seccomp")


def _instructions() -> Iterator[tuple[int, int, int, int]]:
    """The filter: (code, skip if true, skip if false, value) each."""
    yield _LOAD, 0, 0, _ARCH
    yield _IF_EQUAL, 1, 0, AUDIT_ARCH
    yield _RETURN, 0, 0, _ALLOW
    yield _LOAD, 0, 0, _NR
    for kind in KINDS.values():
        if kind.flags is None:
            yield _IF_EQUAL, 0, 1, kind.number
        else:
            yield _IF_EQUAL, 0, 4, kind.number
            yield _LOAD, 0, 0, _ARGUMENTS + 8 * kind.flags  # the lower half, on little-endian machines
            yield _IF_ANY_BIT, 1, 0, CHANGES
            yield _RETURN, 0, 0, _ALLOW
        yield _RETURN, 0, 0, _NOTIFY
    yield _RETURN, 0, 0, _ALLOW


def receive(listener: int) -> Notice | None:
    """The next call that waits; None if whoever made it was killed meanwhile."""
    buffer = bytearray(80)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    identity, tid, _flags, number, _arch, _pointer, *arguments = struct.unpack("=QIIiIQ6Q", buffer)
    return Notice(identity, tid, KINDS[number], tuple(arguments))


def proceed(listener: int, notice: Notice) -> None:
    """Has the kernel make the call."""
    _answer(listener, struct.pack("=QqiI", notice.id, 0, 0, _CONTINUE))


def fail(listener: int, notice: Notice, code: int) -> None:
    """Has the call fail with this errno; with 0 it succeeds, and nothing was done."""
    _answer(listener, struct.pack("=QqiI", notice.id, 0, -code, 0))


def _answer(listener: int, response: bytes) -> None:
    try:
        fcntl.ioctl(listener, _SEND, bytearray(response))
    except OSError as error:
        if error.errno != errno.ENOENT:  # killed while it waited
            raise
