"""What a disk may hold after a power cut that keeps nothing but what it must: a model, fed with a run as it goes on.

A change of a directory is there for certain once that directory was synced, and else only after those before it; the
removal of a name may come first. A file holds what it held when it was synced last; what was written after is gone, or
is NUL bytes of the same length. File systems that keep more than that (ext4, xfs, btrfs do) hide what lacks a sync.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .lab import Call


@dataclass(eq=False)
class Node:
    """A file or directory (content None). `kept` is what a power cut leaves of its content."""

    info: os.stat_result
    content: bytes | None
    kept: bytes | None = b""


@dataclass
class Change:
    """One change of names, by paths from the root. `unsynced` are the directories that do not hold it for certain."""

    removed: frozenset[str]
    added: dict[str, Node]
    unsynced: set[str]


State = dict[str, tuple[os.stat_result, bytes | None]]
"""A tree: mode, owner and times, and the content; None for a directory."""


@dataclass
class Volatile:
    """The tree below `root`, all of which is on the disk at first. `without` is not synced by what syncs it."""

    root: Path
    without: str = ""
    _names: dict[str, Node] = field(default_factory=dict)
    _certain: dict[str, Node] = field(default_factory=dict)
    _pending: list[Change] = field(default_factory=list)
    _called: Call | None = None

    def __post_init__(self) -> None:
        self._names = self._look()
        self._certain = dict(self._names)
        for node in self._names.values():
            node.kept = node.content

    def before(self, call: Call) -> None:
        """Takes in what the call before this one has done."""
        self._take_in()
        self._called = call

    def end(self) -> None:
        """Takes in what the last call has done."""
        self._take_in()
        self._called = None

    def synced(self, inode: int) -> None:
        """Somebody else has written and synced a file."""
        self._take_in()
        for node in self._names.values():
            if node.info.st_ino == inode:
                node.kept = node.content

    def states(self) -> Iterator[State]:
        """What may be there if the power goes now."""
        for count in range(len(self._pending) + 1):
            yield self._state(self._pending[:count])
        yield self._state([change for change in self._pending if not change.added])
        yield self._state(self._pending, nul=True)

    def _state(self, changes: list[Change], *, nul: bool = False) -> State:
        names = dict(self._certain)
        for change in changes:
            _apply(change, names)
        return {path: (node.info, _left(node, nul=nul)) for path, node in names.items()}

    def _take_in(self) -> None:
        names = self._look()
        removed = frozenset(path for path, node in self._names.items() if names.get(path) is not node)
        added = {path: node for path, node in names.items() if self._names.get(path) is not node}
        self._names = names
        if removed or added:
            directories = {os.path.dirname(path) for path in (*removed, *added)}
            self._pending.append(Change(removed, added, directories))
        if self._called and self._called.name in ("fsync", "fdatasync"):
            self._sync(os.path.relpath(self._called.files[0], self.root))
        self._called = None

    def _sync(self, path: str) -> None:
        node = self._names.get(path)
        if path == "." or (node and node.content is None):
            if self.without != "directories":
                self._sync_directory("" if path == "." else path)
        elif node and self.without != "files":
            node.kept = node.content

    def _sync_directory(self, directory: str) -> None:
        for change in list(self._pending):
            change.unsynced.discard(directory)
            if not change.unsynced:
                _apply(change, self._certain)
                self._pending.remove(change)

    def _look(self) -> dict[str, Node]:
        """Every name below the root; nodes that are known stay the same, with what is in them now.

        Two children may be at work: what one was allowed to do is done while a call of the other is waited for.
        """
        while True:
            with contextlib.suppress(FileNotFoundError):  # removed or renamed meanwhile
                return self._look_once()

    def _look_once(self) -> dict[str, Node]:
        known = {node.info.st_ino: node for node in self._names.values()}
        found = {}
        for directory, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                path = os.path.join(directory, name)
                found[os.path.relpath(path, self.root)] = _node(path, known)
        return found


def _node(path: str, known: dict[int, Node]) -> Node:
    info = os.lstat(path)
    node = known.get(info.st_ino)
    if node and (node.info.st_size, node.info.st_mtime_ns) == (info.st_size, info.st_mtime_ns):
        node.info = info
        return node
    content = None if os.path.isdir(path) else Path(path).read_bytes()
    if not node:
        return Node(info, content)
    node.info, node.content = info, content
    return node


def _apply(change: Change, names: dict[str, Node]) -> None:
    for path in change.removed:
        names.pop(path, None)
    names.update(change.added)


def _left(node: Node, *, nul: bool) -> bytes | None:
    if node.content is None or node.kept == node.content:
        return node.content
    synced = node.kept if node.kept and node.content.startswith(node.kept) else b""  # what was only added to
    return synced + bytes(len(node.content) - len(synced)) if nul else node.kept


def restore(root: Path, state: State) -> None:
    """Makes an empty folder such a tree."""
    for path, (info, content) in sorted(state.items()):
        place = root / path
        if content is None:
            place.mkdir()
        else:
            place.write_bytes(content)
        os.chown(place, info.st_uid, info.st_gid)
        place.chmod(info.st_mode & 0o7777)
        os.utime(place, ns=(info.st_atime_ns, info.st_mtime_ns))
