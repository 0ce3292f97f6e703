"""What /proc says of a process and all that it has started: time, memory, threads, files, ports (proc(5))."""

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator

from maintd.values import dataclass

TICKS = os.sysconf("SC_CLK_TCK")
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_ESTABLISHED, _LISTENING = "01", "0A"


def tree(pid: int) -> list[int]:
    """A process and its descendants, as they are now."""
    found, left = [pid], [pid]
    while left:
        one = left.pop()
        for child in _children(one):
            if child not in found:
                found.append(child)
                left.append(child)
    return found


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                yield from map(int, file.read().split())


def uptime(pid: int) -> float:
    """Seconds since a process was started, by a clock that nobody can set. Raises OSError if it is gone."""
    started = int(_stat(pid)[19]) / TICKS
    return max(time.clock_gettime(time.CLOCK_BOOTTIME) - started, 0.0)


def is_there(pid: int, identity: tuple[int, int]) -> bool:
    """Whether that process, by its pid and its (start, uid), is there and has not ended."""
    try:
        fields = _stat(pid)
        return fields[0] not in (b"Z", b"X") and (int(fields[19]), os.stat(f"/proc/{pid}").st_uid) == identity
    except OSError:
        return False


def cpu_seconds(pids: Iterable[int]) -> dict[tuple[int, int], float]:
    """The CPU time that each process has used, by its pid and start."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = _stat(pid)
            found[pid, int(fields[19])] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def _stat(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()


def pss(pids: Iterable[int]) -> int:
    """Bytes of memory, each shared page counted by its share. Raises PermissionError where they may not be seen."""
    total = 0
    for pid in pids:
        with (
            contextlib.suppress(FileNotFoundError, ProcessLookupError),
            open(f"/proc/{pid}/smaps_rollup", "rb") as lines,
        ):
            total += next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Pss:")), 0)
    return total


def threads(pids: Iterable[int]) -> int:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(_stat(pid)[17])
    return total


def open_files(pids: Iterable[int]) -> int:
    """How many descriptors they have. Raises PermissionError where they may not be seen."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += len(os.listdir(f"/proc/{pid}/fd"))
    return total


@dataclass(frozen=True)
class Sockets:
    """The TCP sockets of some processes: the ports that they listen on, and how many connections each port has."""

    listening: frozenset[int]
    connections: dict[int, int]


def sockets(pids: Iterable[int]) -> Sockets:
    """Raises PermissionError where they may not be seen."""
    own: set[str] = set()
    known = list(pids)
    for pid in known:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    match = _SOCKET.fullmatch(os.readlink(f"/proc/{pid}/fd/{number}"))
                    own |= {match[1]} if match else set()
    listening, connections = set(), dict[int, int]()
    for state, port, inode in _tcp(known[0]) if known else ():
        if state == _LISTENING and inode in own:
            listening.add(port)
        elif state == _ESTABLISHED:
            connections[port] = connections.get(port, 0) + 1
    return Sockets(frozenset(listening), connections)


def _tcp(pid: int) -> Iterator[tuple[str, int, str]]:
    """(state, local port, inode) of the TCP sockets in a process's network namespace."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{name}", encoding="ascii") as lines:
            next(lines, None)
            for line in lines:
                fields = line.split()
                yield fields[3], int(fields[1].rpartition(":")[2], 16), fields[9]
