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


def holding(path: str) -> str:
    """The mount point of the file system that holds a resolved path; "" where /proc tells nothing."""
    known = points()
    while path not in known and path != "/":
        path = os.path.dirname(path)
    return path if path in known else ""


def is_lost(path: str, before: str) -> bool:
    """Whether what was mounted at `before`, and held a resolved path, is no more, and what lies above it holds it."""
    if not before or os.path.ismount(before) or not f"{path}/".startswith(f"{before}/"):
        return False
    now = holding(path)  # a bind mount of the same file system looks like none
    return bool(now) and now != before and f"{before}/".startswith(f"{now.rstrip('/')}/")


def _unescaped(path: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), path))
