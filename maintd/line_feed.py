"""The lines that are added to logs from one look to the next and match an expression, counted."""

import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from maintd.expressions import matcher
from maintd.log_reading import Follower
from maintd.predecessors import Listings, file_of, is_named_after, opened

_LONGEST_LINE = 4096
_CHECKED = 1000
"""After so many lines the time is looked at."""
_SHARE = 0.8


def count(  # noqa: PLR0913 - what a child is asked comes by name
    _progress: Callable[[int], None],
    *,
    paths: list[str],
    old: Collection[str],
    since: int,
    logs: dict[str, Any],
    matches: str,
    ignores: str | None,
    limit: float,
    unpacks: bool = True,
) -> dict[str, Any]:
    """Counts the lines of the `paths` that match. `logs` are paths with what was returned of each the last time.

    What the `old` ones, which were there at the first look of all, held then does not count; that was `since` (ns). Of
    a log and what is named after it only the log is followed. `logs` are in the order in which they were read.

    Returns the `count`, the `logs` as they are then, the last `line`, how many bytes were `skipped` and how many
    generations `missed`, and whether it `is_late`: most of `limit` seconds had gone before everything was read. Bytes
    come as the characters 0 to 255. Raises Packed unless it `unpacks`.
    """
    end = time.monotonic() + _SHARE * limit
    is_wanted, is_unwanted = matcher(matches), matcher(ignores) if ignores else None
    found, last, skipped, missed, is_late = 0, b"", 0, 0, False
    states: dict[str, Any] = {}
    lost, listings = set(), Listings()
    for path in _followed(paths, logs):
        is_late = is_late or (bool(states) and time.monotonic() > end)
        if is_late and (path in logs or path not in old):  # others are begun with, or what comes would be old
            continue
        follower = _follower(path, old, since, logs)
        follower.unpacks, follower.listings = unpacks, listings
        with contextlib.closing(follower.lines()) as lines:
            for number, whole in enumerate(lines):
                line = whole[:_LONGEST_LINE]
                if is_wanted(line) and not (is_unwanted and is_unwanted(line)):
                    found, last = found + 1, line
                if number % _CHECKED == 0 and time.monotonic() > end:
                    is_late = True
                    break
        states[path] = follower.state
        skipped += follower.skipped
        missed += follower.missed
        lost.add(follower.lost)
    missed += len(lost - {None, *(state[0] for state in states.values())})
    told = {"skipped": skipped, "missed": missed, "is_late": is_late}
    return {"count": found, "logs": states, "line": last.decode("latin-1")} | told


def _followed(paths: list[str], logs: Mapping[str, Any]) -> list[str]:
    """Those that are logs, and not what one of them, or one that is just being begun anew, was before.

    First come new ones, then those that were read longest ago.
    """
    known, turns = {*paths, *logs}, {path: turn for turn, path in enumerate(logs)}
    followed = [path for path in paths if not any(is_named_after(path, other) for other in known)]
    return sorted(followed, key=lambda path: turns.get(path, -1))


def _follower(path: str, old: Collection[str], since: int, logs: Mapping[str, Any]) -> Follower:
    """One for a log as it was left; for a new one from its start, unless it was read under another name."""
    if path in logs:
        return Follower.of(path, logs[path])
    if path in old:
        return Follower(path)
    with opened(path) as descriptor:
        file = file_of(descriptor)
    renamed = (state for state in logs.values() if tuple(state[0]) == file)
    state = next(renamed, None)
    return Follower(path, since=since) if state is None else Follower.of(path, state)
