"""One log, read on from where the look before left it, over rotations, also those of an archive just made."""

import contextlib
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import field
from typing import Any, Self

from maintd.errors import is_shortage
from maintd.predecessors import Generation, generations, opened, opened_plain
from maintd.reached import Reached, Text
from maintd.values import dataclass

MOST = 16 << 20
"""Bytes of one log, and of what it was before, that are read in one look; of more only the last so many."""
_TRIES = 3
"""How often what lies beside a log is listed, if it is renumbered meanwhile."""
_File = tuple[int, int, int]
"""Device, inode, and 0 or the time of a change (predecessors.py)."""


class Packed(Exception):
    """Lines stand in a compressed generation, whose path it has."""


@dataclass
class Follower:
    """How far a log was read: which file it was, when that was changed (ns), and how far each file is `known`.

    A first look begins at the end. A log that is new `since` (ns) begins at its start, and with what was set aside of
    it from then on. `packed` are the compressed generations that are done with; `before` are the paths of the newest
    others, to which a program may write on; and it `is_behind` until all generations are read. In this look `skipped`
    bytes were too many to be read, `missed` generations could not be, and `lost` was what the log had been. One that
    `unpacks` reads packed ones too.
    """

    path: str
    file: _File | None = None
    changed: int = 0
    is_behind: bool = False
    before: list[str] = field(default_factory=list)
    known: dict[_File, Reached] = field(default_factory=dict)
    packed: set[_File] = field(default_factory=set)
    since: int | None = None
    unpacks: bool = False
    skipped: int = 0
    missed: int = 0
    lost: _File | None = None

    @classmethod
    def of(cls, path: str, state: Any) -> Self:
        """One that goes on from a `state`."""
        file, changed, is_behind, before, known, packed = state
        files = {tuple(one): Reached.from_state(reached) for one, reached in known}
        done = {tuple(one) for one in packed}
        return cls(path, tuple(file), changed, is_behind, before, files, done)

    @property
    def state(self) -> Any:
        """All that the next look needs, as JSON can have it."""
        known = [(file, reached.state) for file, reached in self.known.items()]
        return self.file, self.changed, self.is_behind, self.before, known, list(self.packed)

    def lines(self) -> Generator[bytes]:
        """The whole lines that were added since the last time. Raises OSError if the log cannot be read.

        It may be left after any line, and the next time goes on with the one after that. Raises Packed if there are
        lines in what is to be unpacked for it, which only a child should do.
        """
        with opened(self.path) as descriptor:
            info = os.fstat(descriptor)
            live, file = Text(descriptor), (info.st_dev, info.st_ino, 0)
            if self.file is None:
                self._begin(live, file, info.st_mtime_ns)
            if self._is_anew(live, file, info.st_mtime_ns):
                yield from self._aside(live, file)
            else:
                for path in self.before:
                    yield from self._before(path)
            live = Text(descriptor)
            self.is_behind = not self.known[file].goes_on_in(live)  # it was cut while what lies beside it was read
            if not self.is_behind:
                self._skip(file, live, live.size - self.known[file].at - MOST)
                yield from self._read(file, live)
                self.changed = info.st_mtime_ns

    def _is_anew(self, live: Text, file: _File, changed: int) -> bool:
        """Whether something was set aside since; an empty log that was cut since looks as one that was not."""
        if self.is_behind or self.file != file or not self.known[file].goes_on_in(live):
            return True
        return self.known[file].at == 0 and changed != self.changed

    def _begin(self, live: Text, file: _File, changed: int) -> None:
        self.file = file
        self.changed = changed if self.since is None else self.since
        self.is_behind = self.since is not None
        self.known[file] = Reached.of(live, live.last_line_end() if self.since is None else 0)
        for one in self._generations(file):
            if self.since is None or one.changed < self.since:
                self._pass_over(one)
                self.before = self.before if one.is_packed else [one.path]

    def _pass_over(self, one: Generation) -> None:
        if one.is_packed:
            self.packed.add(one.file)
            return
        try:
            with opened_plain(one) as descriptor:
                text = Text(descriptor)
                self.known[one.file] = Reached.of(text, text.last_line_end())
        except OSError as error:
            if is_shortage(error):
                raise

    def _generations(self, live: _File) -> list[Generation]:
        """Those beside the log, each once; without what is being compressed, which is there as it was, too."""
        found = generations(self.path)
        plain = {one.path for one in found if not one.is_packed}
        whole = [one for one in found if not (one.is_packed and os.path.splitext(one.path)[0] in plain)]
        return list({one.file: one for one in whole if one.file != live}.values())

    def _aside(self, live: Text, file: _File) -> Iterator[bytes]:
        """What was written before the log was begun anew: the rest of what it was then, and all that came between.

        Of what is more than may be read in a look only the last so much. How far the log itself was read is known then.
        """
        with contextlib.ExitStack() as stack:
            found, texts = self._texts(live, file, stack)
            was, self.file, self.is_behind = self.file, file, True
            loose = self._loose([(file, live), *((one.file, text) for one, text in texts)], found)
            unknown = [(one, text) for one, text in texts if one.file not in self.known]
            self._place(unknown, loose, Text(live.descriptor) if was == file else None)
            texts = [(one, text) for one, text in texts if one.file in self.known]
            if file not in self.known:
                rest = loose.get(file)
                self.known[file] = Reached.of(live, rest.at if rest and rest.goes_on_in(live) else 0)
            if was in loose and was not in {file, *(one.file for one in found)} and not self.missed:
                self.lost = was
            sizes = [text.size - self.known[one.file].at for one, text in texts]
            excess = sum(sizes) + live.size - self.known[file].at - MOST
            for (one, text), size in zip(texts, sizes, strict=True):
                excess -= self._skip(one.file, text, min(excess, size))
                yield from self._read(one.file, text)
                if one.is_packed:
                    self.packed.add(one.file)
        self.packed &= {one.file for one in found}
        active = [one.path for one, _ in texts if not one.is_packed and one.changed >= self.changed]
        self.before = active or self.before
        self.is_behind = False

    def _texts(
        self, live: Text, file: _File, stack: contextlib.ExitStack
    ) -> tuple[list[Generation], list[tuple[Generation, Text]]]:
        """The generations, the oldest first; and those of them to which something may have been added, open."""
        for tries in range(_TRIES):
            found = self._generations(file)
            self.missed = self.skipped = 0
            try:
                return found, self._opened(found, live, file, stack, is_last=tries == _TRIES - 1)
            except FileNotFoundError:  # they were renumbered just now
                stack.close()
        raise AssertionError

    def _opened(
        self, found: list[Generation], live: Text, file: _File, stack: contextlib.ExitStack, *, is_last: bool
    ) -> list[tuple[Generation, Text]]:
        texts, room = [], MOST - live.size
        for one in reversed(found):
            is_old = one.changed < self.changed
            is_done = is_old and one.file in self.known and not self.is_behind
            if is_done or one.file in self.packed or (one.is_packed and is_old and self.file != file):
                continue
            if one.is_packed and room <= 0:
                self.packed.add(one.file)
                self.skipped += one.size
                continue
            if one.is_packed and not self.unpacks:
                raise Packed(one.path)
            try:
                text = Text(stack.enter_context(opened_plain(one)))
            except OSError as error:
                if is_shortage(error) or (isinstance(error, FileNotFoundError) and not is_last):
                    raise
                self.missed += not is_old
                continue
            reached = self.known.get(one.file)
            room -= text.size - (reached.at if reached else 0)
            texts.append((one, text))
        return texts[::-1]

    def _loose(self, texts: Iterable[tuple[_File, Text]], found: list[Generation]) -> dict[_File, Reached]:
        """What is known of files that are gone, or hold something else by now: what was in them may be in others."""
        there = {one.file for one in found} | {self.file}
        for file, _ in texts:
            if file in self.known and not self.known[file].at:  # its inode may be used again
                del self.known[file]
        others = {file for file, text in texts if file in self.known and not self.known[file].goes_on_in(text)}
        others |= {file for file in self.known if file not in there}
        gone = {file: self.known.pop(file) for file in sorted(others, key=lambda one: -self.known[one].at)}
        return {file: reached for file, reached in gone.items() if reached.at}

    def _place(self, texts: list[tuple[Generation, Text]], loose: dict[_File, Reached], log: Text | None) -> None:
        """Finds out how far files that were not seen before were read under other names, or as the log itself.

        The newest may be a copy of a `log`, the same file as at the last look, that is to be cut: it is left unknown.
        """
        newest = texts[-1][0] if texts else None
        count = 0
        while count != len(texts):
            count = len(texts)
            texts = [(one, text) for one, text in texts if not self._is_placed(one, text, loose)]
        for one, text in texts:
            if not (log and one is newest and Reached.of(text, text.size).goes_on_in(log)):
                self.known[one.file] = Reached.of(text, text.size if one.changed < self.changed else 0)

    def _is_placed(self, one: Generation, text: Text, loose: dict[_File, Reached]) -> bool:
        for file, reached in loose.items():
            if reached.goes_on_in(text):
                self.known[one.file] = Reached.of(text, reached.at)
                del loose[file]
                return True
        for file, reached in loose.items():
            rest = reached.behind(text)
            if rest is not None:
                self.known[one.file] = Reached.of(text, text.size)
                loose[file] = rest
                if not rest.at:
                    del loose[file]
                return True
        return False

    def _before(self, path: str) -> Iterator[bytes]:
        """What was added to a generation, by a program that has not reopened its log."""
        with contextlib.ExitStack() as stack:
            try:
                text = Text(stack.enter_context(opened(path)))
            except OSError as error:
                if is_shortage(error):
                    raise
                return
            info = os.fstat(text.descriptor)
            file = info.st_dev, info.st_ino, 0
            if file != self.file and file in self.known and self.known[file].goes_on_in(text):
                self._skip(file, text, text.size - self.known[file].at - MOST)
                yield from self._read(file, text)

    def _skip(self, file: _File, text: Text, size: int) -> int:
        if size <= 0:
            return 0
        self.known[file] = Reached.of(text, self.known[file].at + size)
        self.skipped += size
        return size

    def _read(self, file: _File, text: Text) -> Iterator[bytes]:
        """Its lines from where it was left. Known of it are the bytes that were read: it may be cut meanwhile."""
        rest = b""
        while self.known[file].at + len(rest) < text.size:
            block = text.read(1 << 20, self.known[file].at + len(rest))
            if not block:
                break
            read, done = rest + block, 0
            whole, newline, rest = read.rpartition(b"\n")
            try:
                for line in whole.split(b"\n") if newline else ():
                    done += len(line) + 1
                    yield line
            finally:
                self.known[file] = self.known[file].and_then(read[:done])
