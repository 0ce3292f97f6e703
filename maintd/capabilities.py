"""Which Linux capabilities this process lacks, and what it cannot do without each (capabilities(7))."""

import os
from collections.abc import Sequence

from maintd import linux

NEEDED = {
    "CAP_CHOWN": (0, "give a new log its owner"),
    "CAP_DAC_OVERRIDE": (1, "work in directories of other users"),
    "CAP_FOWNER": (3, "set mode and times of other users' files"),
    "CAP_KILL": (5, "signal other users' processes"),
    "CAP_SETGID": (6, "work as the owner of a directory"),
    "CAP_SETUID": (7, "work as the owner of a directory"),
    "CAP_SYS_PTRACE": (19, "see who holds a log"),
    "CAP_LEASE": (28, "ask the kernel whether anybody may write another user's file"),
}

_FOR_OTHERS = ("CAP_CHOWN", "CAP_FOWNER", "CAP_SYS_PTRACE")
"""For another user's log. CAP_LEASE is spared by a scan of /proc, CAP_KILL where supervisord is who is told."""


LANDLOCK = "Landlock"
"""Not a capability, but what the kernel may lack for fencing root's work in directories that others can write."""


def missing() -> list[str]:
    """The names of the capabilities that are not effective, in the order of NEEDED; LANDLOCK last, for root."""
    with open("/proc/self/status", "rb") as lines:
        effective = next((int(line.split()[1], 16) for line in lines if line.startswith(b"CapEff:")), 0)
    lacking = [name for name, (bit, _) in NEEDED.items() if not effective >> bit & 1]
    return lacking + [LANDLOCK] * (os.geteuid() == 0 and not linux.landlock_abi())


def may_become_others() -> bool:
    """Whether a child of this process may give up its user for another."""
    return not {"CAP_SETGID", "CAP_SETUID"} & set(missing())


def lacking(path: str, info: os.stat_result, missing: Sequence[str]) -> list[str]:
    """Those of the missing capabilities without which this process hardly can rotate or compress a file."""
    wanted = set(_FOR_OTHERS) if info.st_uid != os.geteuid() else set()
    may = os.access(path, os.R_OK, effective_ids=True)
    if not may or not os.access(os.path.dirname(path), os.W_OK | os.X_OK, effective_ids=True):
        wanted.add("CAP_DAC_OVERRIDE")
    return [name for name in missing if name in wanted]
