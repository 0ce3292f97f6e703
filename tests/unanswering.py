"""A file system with one file, `file`, that answers until a line comes on stdin: `unanswering.py DIR`.

It speaks the kernel's side of FUSE (linux/fuse.h, protocol 7.31), as little of it as opening that file takes.
"""

import os
import select
import struct
import subprocess
import sys

ENOSYS = 38


class Op:
    """Operations of the protocol, by their numbers there."""

    LOOKUP, FORGET, GETATTR, OPEN, RELEASE, FLUSH, INIT, OPENDIR, RELEASEDIR = 1, 2, 3, 14, 18, 25, 26, 27, 29
    INTERRUPT = 36


def attributes(node: int) -> bytes:
    mode = 0o40755 if node == 1 else 0o100644
    return struct.pack("<6Q3I7I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(operation: int, node: int) -> bytes | None:
    """What it says to a request; None to one that it does not know."""
    match operation:
        case Op.INIT:
            return struct.pack("<4I2H2I2HI7I", 7, 31, 65536, 0, 0, 0, 4096, 1, 0, 0, 0, *[0] * 7)
        case Op.LOOKUP:
            return struct.pack("<4Q2I", 2, 1, 0, 0, 0, 0) + attributes(2)
        case Op.GETATTR:
            return struct.pack("<Q2I", 0, 0, 0) + attributes(node)
        case Op.OPEN | Op.OPENDIR:
            return struct.pack("<Q2I", 1, 0, 0)
        case Op.RELEASE | Op.FLUSH | Op.RELEASEDIR:
            return b""
    return None


device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
subprocess.run(["mount", "-i", "-t", "fuse", "-o", options, "unanswering", sys.argv[1]], pass_fds=[device], check=True)
os.write(1, b"ready\n")
while 0 not in select.select([0, device], [], [])[0]:
    _, operation, request, node = struct.unpack_from("<2I2Q", os.read(device, 1 << 17))
    if operation not in (Op.FORGET, Op.INTERRUPT):
        body = answer(operation, node)
        head = struct.pack("<IiQ", 16 + len(body or b""), -ENOSYS if body is None else 0, request)
        os.write(device, head + (body or b""))
os.write(1, b"silent\n")
sys.stdin.read()
