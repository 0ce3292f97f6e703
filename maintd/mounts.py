"""Where file systems are mounted, so that a walk goes into none of those below the directory that it begins in."""

import os
import re

_ESCAPED = re.compile(rb"\\(\d{3})")
_TABLE = "/proc/self/mountinfo"


def points() -> frozenset[str]:
    """The paths at which something is mounted, bind mounts of the same file system among them (proc_pid_mountinfo(5)).

    Empty where /proc tells nothing.
    """
    try:
        with open(_TABLE, "rb") as table:
            return frozenset(_unescaped(line.split()[4]) for line in table)
    except OSError:
        return frozenset()


def _unescaped(path: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), path))
