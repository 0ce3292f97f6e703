"""Which of what lies beside a log was read before: under another name, compressed, copied, or as the log itself.

How many lines are counted depends on how many places that were reached are found again, not on where: one that is taken
for another does no harm, one that is found in what is really new hides lines, and one that is not found doubles them.
Where nothing tells, lines are rather counted twice than missed.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from maintd.predecessors import File, Generation, Seen
from maintd.reached import Reached, Text
from maintd.values import dataclass

_CUT_WITHIN = 10_000_000_000
"""Nanoseconds within which somebody cuts the log that was copied."""


class Undecided(Exception):
    """What was done to the log just now is not seen in full: it was copied, and may be cut; or its front was taken out,
    and the archive has no name yet. It can be read later.
    """


@dataclass(frozen=True)
class Owed:
    """How far a log was read that was cut by the time (ns) of a look, and of which no copy lay there then."""

    reached: Reached
    by: int


class Placing:
    """How far each file was read: what is `known` of the last look, brought to what lies there now.

    `was` is the file that the log was, `file` what it is; `seen` is what generations were at the last look; `texts` are
    those that can have changed, the oldest first. What was not changed since `before` (ns) is old. A log that
    `is_rewritten` was cut, though what was read of it stands in it again. In the end a copy of a log that may still be
    cut is not among the `known`; and of a log of which no copy is there one is `owed`.
    """

    def __init__(  # noqa: PLR0913 - all that was known, and all that is there
        self,
        known: Mapping[File, Reached],
        *,
        seen: Mapping[File, Seen],
        was: File,
        file: File,
        live: Text,
        found: Sequence[Generation],
        texts: Sequence[tuple[Generation, Text]],
        before: int,
        is_rewritten: bool,
        owed: Owed | None,
    ) -> None:
        self.known = dict(known)
        self._seen, self._was, self._file, self._live = seen, was, file, live
        self._found, self._texts, self._before = found, texts, before
        self._there = {file, *(one.file for one in found)}
        self._is_cut, self._is_marked = is_rewritten, False
        self._gone: dict[File, Reached] = {}
        self._free: list[tuple[Generation, Text]] = []
        self.is_lost, self.owed = False, owed

    def place(self, *, may_wait: bool) -> None:
        """Fills `known`, and tells whether it `is_lost` what had not been read of the log.

        Raises Undecided if it `may_wait`.
        """
        own = self._loose()
        self._free = list(self._without_copies([pair for pair in self._texts if pair[0].file not in self.known]))
        if may_wait and self._free and self._may_be_cut_now(*self._free[-1]):
            raise Undecided
        self._compressed()
        if self.owed:
            self._pay(self.owed)
        rest = self._of_log(own) if own else None
        self._others()
        self.is_lost = bool(rest and rest.at) and self._was not in self._there
        if self._file not in self.known:
            goes_on = rest is not None and rest.goes_on_in(self._live) and self._is_sure(self._live, rest.at)
            if rest and not goes_on:
                if may_wait and (self._live.mark not in (b"", rest.mark) or self._live.is_being_collapsed(rest.at)):
                    raise Undecided
                self.owed = Owed(rest, time.time_ns())
            self.known[self._file] = Reached.of(self._live, rest.at if rest and goes_on else 0)
            self.is_lost &= not goes_on
        for one, text in self._unplaced():
            self._put(one, text, text.size if one.changed < self._before else 0)

    def _loose(self) -> Reached | None:
        """Takes what is gone, or holds something else by now, out of what is known; returns that of the log.

        That of a log which may have been cut stays known until that is seen.
        """
        now = [(self._file, self._live), *((one.file, text) for one, text in self._texts)]
        others = {file for file, text in now if file in self.known and not self.known[file].goes_on_in(text)}
        others |= self.known.keys() - self._there
        others |= {self._was} if self._is_cut else set()
        gone = {file: self.known.pop(file) for file in others}
        old = [one for one in self._found if one.is_packed and one.file not in {other.file for other, _ in self._texts}]
        packed = {file for file in gone for one in old if self._has_time(file, one)}
        self._gone = {file: at for file, at in gone.items() if file == self._was or (at.at and file not in packed)}
        self._is_cut = self._was in self._gone
        new = [self._live, *(text for one, text in self._texts if one.file not in self.known)]
        self._is_marked = any(text.mark for text in new)
        if self._was == self._file and not self._is_cut and not self.known[self._was].mark:
            return self.known[self._was]
        return self._gone.pop(self._was, None)

    def _without_copies(self, new: list[tuple[Generation, Text]]) -> Iterator[tuple[Generation, Text]]:
        """Those that do not stand at the front of another text, or only by chance; what does is read there.

        A copy of the log itself is left unknown: what it has may be read in it when the log has been cut.
        """
        others = [text for one, text in self._texts if one.file in self.known]
        later = [text for _, text in new]
        for one, text in new:
            later.remove(text)
            if any(text.is_copied_from(other) for other in (*others, *later)):
                self._put(one, text, text.size)
            elif not text.is_copied_from(self._live):
                others.append(text)
                yield one, text

    def _compressed(self) -> None:
        """Finds generations that were compressed, by their size and when they were changed or what they were named."""
        for is_it in (self._has_time, self._has_name, lambda _file, _one: True):
            self._find(lambda file, one, text, at: self._has_size(file, one, text, at) and is_it(file, one))  # noqa: B023

    def _has_size(self, file: File, one: Generation, text: Text, reached: Reached) -> bool:
        return one.is_packed and (
            text.size == reached.at or (file in self._seen and self._seen[file].size == text.start + text.size)
        )

    def _has_time(self, file: File, one: Generation) -> bool:
        return file in self._seen and self._seen[file].changed == one.changed

    def _has_name(self, file: File, one: Generation) -> bool:
        return one.is_packed and file in self._seen and self._seen[file].path == one.unpacked_path

    def _find(self, is_it: Callable[[File, Generation, Text, Reached], bool]) -> None:
        """Finds what is gone in what is new."""
        for one, text in self._unplaced():
            for file, reached in list(self._gone.items()):
                if reached.goes_on_in(text) and is_it(file, one, text, reached):
                    self._put(one, text, reached.at)
                    del self._gone[file]
                    break

    def _pay(self, owed: Owed) -> None:
        """Finds the copy that was missing at an earlier look: it is new, and holds nothing from after that look."""
        for one, text in self._unplaced():
            if one.changed <= owed.by and owed.reached.goes_on_in(text):
                self._put(one, text, owed.reached.at)
                self.owed = None
                return

    def _of_log(self, own: Reached) -> Reached | None:
        """Finds what the log was when it was read; what is left of it, or None if it was found whole."""
        own = own.with_any_mark if self._is_cut and self._is_marked else own
        rest: Reached | None = own
        while rest is not None and rest.at:
            own, rest = rest, self._rest_of_log(rest)
            if rest is own:
                return own if self._is_cut else None
        return None

    def _rest_of_log(self, own: Reached) -> Reached | None:
        """The same after one more file: nothing, less, or what it was if it is in none."""
        new = [pair for pair in self._unplaced() if pair[1].size and not self._is_older(pair[0], own)]
        for one, text in new:
            if own.goes_on_in(text) and (own.head or self._is_sure(text, own.at)) and self._may_hold(text, own):
                if not self._is_cut:  # the copy shows that it was, which what stands in it does not
                    self._is_cut = True
                    del self.known[self._file]
                self._put(one, text, own.at)
                return None
        if not self._is_cut or (not own.head and own.goes_on_in(self._live) and self._is_sure(self._live, own.at)):
            return own
        for one, text in new:
            rest = own.behind(text) if self._is_sure(text, text.size) else None
            if rest is not None:
                self._put(one, text, text.size)
                return rest
        return own

    def _may_hold(self, text: Text, own: Reached) -> bool:
        """Whether that may be a copy of the log as it was; a log which is gone, and was not compressed, was removed."""
        is_there = self._was in self._there
        return is_there or any(other.is_packed for other, _ in self._free) or text.is_telling(own.at)

    def _is_older(self, one: Generation, own: Reached) -> bool:
        """Whether that cannot be what the log was; if that was cut and its head is known it can, whatever its time."""
        return one.changed < self._before and not (self._is_cut and own.head)

    def _is_sure(self, text: Text, at: int) -> bool:
        """Whether what was read goes on there and not by chance, as in a log whose front was archived in place."""
        return self._is_marked or text.is_telling(at)

    def _may_be_cut_now(self, one: Generation, text: Text) -> bool:
        """Whether that is a new copy of a log which may not have been cut after it, because all its lines are alike."""
        is_new = 0 <= time.time_ns() - one.touched < _CUT_WITHIN and one.file[2] > self._file[2] > 0
        return is_new and not one.is_packed and text.size > 0 and text.is_front_of(self._live)

    def _others(self) -> None:
        """What else is gone may be in what is new if that can hardly be by chance; nobody removes what was newest."""
        newest = max(self._seen, key=lambda file: self._seen[file].changed, default=None)
        self._find(lambda file, one, _text, _reached: self._has_name(file, one))
        self._find(lambda file, one, text, at: (file == newest and one.is_packed) or text.is_telling(at.at))

    def _put(self, one: Generation, text: Text, at: int) -> None:
        self.known[one.file] = Reached.of(text, at)

    def _unplaced(self) -> Iterator[tuple[Generation, Text]]:
        """Those that are still to be placed; it goes on while they are."""
        return (pair for pair in self._free if pair[0].file not in self.known)
