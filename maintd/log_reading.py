"""One log, read on from where the look before left it, over rotations, also those of an archive just made."""

import contextlib
import os
import time
from collections.abc import Generator, Iterator
from dataclasses import field
from typing import Any, Self

from maintd import marks
from maintd.errors import is_shortage
from maintd.placing import Owed, Placing, Undecided
from maintd.predecessors import File, Generation, Listings, Seen, file_of, generations, opened, opened_plain, settled
from maintd.reached import Reached, Text
from maintd.values import dataclass

MOST = 16 << 20
"""Bytes of one log, and of what it was before, that are read in one look; of more only the last so many."""
_TRIES = 3
"""How often what lies beside a log is listed, if it is renumbered meanwhile."""
_AHEAD = 60_000_000_000
"""Nanoseconds after now at which nothing was changed, unless the clock was set back since."""
_DOUBTED = 30_000_000_000
"""Nanoseconds for which a log is left that may have been cut or not."""
_REWRITTEN = 64 << 10
"""Bytes that a program may write each time that it begins its log anew."""


class Packed(Exception):
    """Lines stand in a compressed generation, whose path it has."""


@dataclass
class Follower:
    """How far a log was read: which file it was, when that was changed (ns), and how far each file is `known`.

    A first look begins at the end. A log that is new `since` (ns) begins at its start, and with what was set aside of
    it from then on. `packed` are the compressed generations that are done with; `before` are the paths of the newest
    others, to which a program may write on; and it `is_behind` until all generations are read, whose paths and times of
    change were `seen`, in a directory that was `listed` as it was at a time (ns). A log that was read to its end was
    changed before that when it `settled` (ns); since it was `doubted` (ns) nothing tells whether it was cut;
    and a copy of it may be `owed`.

    In this look `skipped` bytes were too many to be read, `missed` generations could not be, and `lost` was what the
    log had been. One that `unpacks` reads packed ones too.
    """

    path: str
    file: File | None = None
    changed: int = 0
    is_behind: bool = False
    before: list[str] = field(default_factory=list)
    known: dict[File, Reached] = field(default_factory=dict)
    packed: set[File] = field(default_factory=set)
    seen: dict[File, Seen] = field(default_factory=dict)
    listed: int = 0
    settled: int = 0
    doubted: int = 0
    owed: Owed | None = None
    since: int | None = None
    unpacks: bool = False
    listings: Listings = field(default_factory=Listings)
    skipped: int = 0
    missed: int = 0
    lost: File | None = None

    @classmethod
    def of(cls, path: str, state: Any) -> Self:
        """One that goes on from a `state`."""
        file, changed, is_behind, before, known, packed, seen, listed, settled, doubted, owed = state
        one = cls(path, tuple(file), changed, is_behind, before, listed=listed, settled=settled, doubted=doubted)
        one.known = {tuple(file): Reached.from_state(reached) for file, reached in known}
        one.packed = {tuple(file) for file in packed}
        one.seen = {tuple(file): Seen(*seen) for file, seen in seen}
        one.owed = Owed(Reached.from_state(owed[0]), owed[1]) if owed else None
        return one

    @property
    def state(self) -> Any:
        """All that the next look needs, as JSON can have it."""
        known = [(file, reached.state) for file, reached in self.known.items()]
        told = self.file, self.changed, self.is_behind, self.before, known, list(self.packed)
        owed = (self.owed.reached.state, self.owed.by) if self.owed else None
        return *told, list(self.seen.items()), self.listed, self.settled, self.doubted, owed

    def lines(self) -> Generator[bytes]:
        """The whole lines that were added since the last time. Raises OSError if the log cannot be read.

        It may be left after any line, and the next time goes on with the one after that. Raises Packed if there are
        lines in what is to be unpacked for it, which only a child should do.
        """
        with opened(self.path) as descriptor:
            changed, file = os.fstat(descriptor).st_mtime_ns, file_of(descriptor)
            live, listed = Text(descriptor), settled(os.path.dirname(self.path))
            if self.file is None:
                self._begin(live, file, changed)
            if self.changed > time.time_ns() + _AHEAD:
                self.changed = 0  # nothing is older than what is new
            is_rewritten, self.settled = self._is_rewritten(live, file, changed), 0
            if is_rewritten or self._is_anew(live, file, listed):
                yield from self._aside(live, file, is_rewritten=is_rewritten)
            else:
                for path in self.before:
                    yield from self._before(path)
            self.listed = listed
            live = Text(descriptor)
            if not self.is_behind:  # unless it was cut while what lies beside it was read
                self.is_behind = not self.known[file].goes_on_in(live)
            if not self.is_behind:
                self._skip(file, live, live.size - self.known[file].at - MOST)
                yield from self._read(file, live, is_log=True)
            if not self.is_behind:
                self.changed, self.doubted = changed, 0
                info = os.fstat(descriptor)
                self.settled = info.st_mtime_ns if info.st_size == live.start + self.known[file].at else 0

    def _is_rewritten(self, live: Text, file: File, changed: int) -> bool:
        """Whether a program that begins its log anew each time wrote the same again: it was changed, and is no longer.

        One that is full of times was only touched; and what has no time of birth may be on a network, where a server
        sets the time of a change later.
        """
        is_same = self.file == file and live.size == self.known[file].at and self.known[file].goes_on_in(live)
        is_changed = self.settled not in (0, changed) and file[2] > 0
        return is_same and is_changed and live.size <= _REWRITTEN and not live.is_telling(live.size)

    def _is_anew(self, live: Text, file: File, listed: int) -> bool:
        """Whether something was set aside since; where all lines are alike only what is new beside the log shows it."""
        if self.is_behind or self.file != file or not self.known[file].goes_on_in(live):
            return True
        if listed and listed == self.listed:
            return False
        return any(one.file not in self.known and one.file not in self.packed for one in self._generations(file))

    def _begin(self, live: Text, file: File, changed: int) -> None:
        self.file = file
        self.changed = changed if self.since is None else self.since
        self.is_behind = self.since is not None
        self.known[file] = Reached.of(live, live.last_line_end() if self.since is None else 0)
        found = self._generations(file)
        for one in found:
            if self.since is None or one.changed < self.since:
                self._pass_over(one)
                self.before = self.before if one.is_packed else [one.path]
        self._see(found)

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

    def _generations(self, live: File) -> list[Generation]:
        """Those beside the log, each once; without what is being compressed, which is there as it was, too."""
        found = generations(self.path, self.listings)
        plain = {one.path for one in found if not one.is_packed}
        whole = [one for one in found if not (one.is_packed and one.unpacked_path in plain)]
        return list({one.file: one for one in whole if one.file != live}.values())

    def _see(self, found: list[Generation]) -> None:
        self.seen = {one.file: Seen(one.path, one.changed, one.size) for one in found if one.file in self.known}

    def _aside(self, live: Text, file: File, *, is_rewritten: bool) -> Iterator[bytes]:
        """What was written before the log was begun anew: the rest of what it was then, and all that came between.

        Of what is more than may be read in a look only the last so much. How far the log itself was read is known then.
        """
        with contextlib.ExitStack() as stack:
            found, texts = self._texts(live, file, stack)
            live = Text(live.descriptor)  # an archive that is there by now was taken out of it before
            placing = Placing(
                self.known,
                seen=self.seen,
                was=self.file or file,
                file=file,
                live=live,
                found=found,
                texts=texts,
                before=self.changed,
                is_rewritten=is_rewritten,
                owed=self.owed,
            )
            self.is_behind = True
            try:
                placing.place(may_wait=self._may_wait())
            except Undecided:
                self._doubt()
                return
            self.owed = placing.owed
            self.lost = self.file if placing.is_lost and not self.missed else None
            self.file, self.known = file, placing.known
            self._see(found)
            texts = [(one, text) for one, text in texts if one.file in self.known]
            sizes = [text.size - self.known[one.file].at for one, text in texts]
            excess = sum(sizes) + live.size - self.known[file].at - MOST
            for (one, text), size in zip(texts, sizes, strict=True):
                excess -= self._skip(one.file, text, min(excess, size))
                yield from self._read(one.file, text)
                if one.is_packed:
                    self.packed.add(one.file)
        self.packed &= {one.file for one in found}
        self.known = {one: reached for one, reached in self.known.items() if one not in self.packed}
        active = [one.path for one, _ in texts if not one.is_packed and one.changed >= self.changed]
        self.before = active or self.before
        self.is_behind = False

    def _may_wait(self) -> bool:
        return not self.doubted or 0 <= time.time_ns() - self.doubted < _DOUBTED

    def _doubt(self) -> None:
        self.is_behind, self.doubted = True, self.doubted or time.time_ns()

    def _texts(
        self, live: Text, file: File, stack: contextlib.ExitStack
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
        self, found: list[Generation], live: Text, file: File, stack: contextlib.ExitStack, *, is_last: bool
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
                self.packed |= {one.file} if one.is_packed else set()
                continue
            reached = self.known.get(one.file)
            room -= text.size - (reached.at if reached else 0)
            texts.append((one, text))
        return texts[::-1]

    def _before(self, path: str) -> Iterator[bytes]:
        """What was added to a generation, by a program that has not reopened its log."""
        with contextlib.ExitStack() as stack:
            try:
                text = Text(stack.enter_context(opened(path)))
            except OSError as error:
                if is_shortage(error):
                    raise
                return
            file = file_of(text.descriptor)
            if file != self.file and file in self.known and self.known[file].goes_on_in(text):
                self._skip(file, text, text.size - self.known[file].at - MOST)
                yield from self._read(file, text)

    def _skip(self, file: File, text: Text, size: int) -> int:
        if size <= 0:
            return 0
        reached = Reached.of(text, self.known[file].at + size)
        if not reached.at:  # it was cut just now
            return 0
        self.known[file] = reached
        self.skipped += size
        return size

    def _read(self, file: File, text: Text, *, is_log: bool = False) -> Iterator[bytes]:
        """Its lines from where it was left. Known of it are the bytes that were read: it may be cut meanwhile.

        The log itself is read up to a line that was overwritten by a mark: its front is being taken out just now.
        """
        rest = b""
        if not self.known[file].at:
            self.known[file] = Reached.of(text, 0)
        while self.known[file].at + len(rest) < text.size:
            block, now = text.read(1 << 20, self.known[file].at + len(rest)), Text(text.descriptor)
            if not block or now.mark != text.mark or not self.known[file].goes_on_in(now):
                break
            read, done = rest + block, 0
            whole, newline, rest = read.rpartition(b"\n")
            try:
                for line in whole.split(b"\n") if newline else ():
                    if is_log and line.endswith((b" ", b"\t")) and self._is_overwritten(line, file, text, done):
                        self._doubt()
                        return
                    done += len(line) + 1
                    yield line
            finally:
                self.known[file] = self.known[file].and_then(read[:done])

    def _is_overwritten(self, line: bytes, file: File, text: Text, done: int) -> bool:
        at = text.start + self.known[file].at + done
        return marks.is_overwritten(line, at) and self._may_wait()
