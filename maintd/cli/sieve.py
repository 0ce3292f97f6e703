"""Which lines match a regular expression: blocks are looked through for literals of it first, not line by line."""

import os
import re
from collections.abc import Iterator

_UNSAFE = re.compile(r"\(\?[=!<>(aiLmsux-]|\\[AZ]|[*+?}]\+")
"""What may match a line by itself, and not where that stands among others: looks around, ends, flags, possessive."""
_SPECIAL = frozenset(".^$*+?{}[]\\|()")
_OPTIONAL = frozenset("*?{")
_REPEAT = re.compile(r"\d*,?\d*\}")
_CLASSES = frozenset("dDsSwWbB")
_FOLDING = "(?i)"


class Sieve:
    """The lines that a pattern of Python's `re` matches somewhere; it is matched against bytes. Raises re.error."""

    def __init__(self, pattern: str) -> None:
        raw = os.fsencode(pattern)
        self._line = re.compile(raw)
        self._folds = pattern.startswith(_FOLDING)
        pattern = pattern.removeprefix(_FOLDING)
        self._block = None if _UNSAFE.search(pattern) else re.compile(raw, re.MULTILINE)
        found = literals(pattern)
        self._is_literal = "|".join(found) == pattern
        wanted = map(os.fsencode, dict.fromkeys(found))
        self._literals = [text.lower() for text in wanted] if self._folds else [*wanted]

    def lines(self, block: bytes, start: int = 0, end: int | None = None) -> bytes:
        """The matching lines of a part of a block that holds whole lines; the last one may lack its newline."""
        end = len(block) if end is None else end
        if self._literals:
            return b"".join(self._by_literals(block, start, end))
        if self._block:
            return b"".join(self._by_block(self._block, block, start, end))
        whole = _split(block, start, end)
        return b"".join(line for line in whole if self._line.search(line.removesuffix(b"\n")))

    def _by_literals(self, block: bytes, done: int, end: int) -> Iterator[bytes]:
        """Each literal is looked for on from where it was found last, so that one that is rare costs one look."""
        is_match, find = self._line.search, (block.lower() if self._folds else block).find  # re folds ASCII alone, too
        places = {wanted: find(wanted, done, end) for wanted in self._literals}
        while places := {wanted: place for wanted, place in places.items() if place >= 0}:
            place, wanted = min((place, wanted) for wanted, place in places.items())
            del places[wanted]
            others = min(places.values(), default=end)
            while 0 <= place <= others:
                start, done = block.rfind(b"\n", done, place) + 1 or done, _end(block, place)
                line = block[start:done]
                if self._is_literal or is_match(line.removesuffix(b"\n")):
                    yield line
                place = find(wanted, done, end)
            places = {other: at if at >= done else find(other, done, end) for other, at in places.items()}
            places[wanted] = place

    def _by_block(self, pattern: re.Pattern[bytes], block: bytes, done: int, end: int) -> Iterator[bytes]:
        """A line that matches by itself also does among others, from where it does or before; so none is missed."""
        is_ended = block.endswith(b"\n", done, end)  # else a match at the very end is one of the last line
        while done < end and (match := pattern.search(block, done, end)) and match.start() < end + (not is_ended):
            start, done = block.rfind(b"\n", done, match.start()) + 1 or done, _end(block, match.start())
            line = block[start:done]
            if self._line.search(line.removesuffix(b"\n")):
                yield line


class Sifted:
    """Sifts a stream that comes in chunks of any size: lines are put together over their borders."""

    def __init__(self, sieve: Sieve) -> None:
        self._sieve = sieve
        self._begun: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        """The matching lines that end in this chunk."""
        start, end = chunk.find(b"\n") + 1, chunk.rfind(b"\n") + 1
        if not end:
            self._begun.append(chunk)
            return b""
        first = b"".join([*self._begun, chunk[:start]])
        self._begun = [chunk[end:]]
        return self._sieve.lines(first) + self._sieve.lines(chunk, start, end)

    def begun(self) -> bytes:
        """What there is of the line that has not ended yet."""
        return b"".join(self._begun)

    def torn(self) -> bytes:
        """That line, if it matches, where what it goes on with is missing: it ends here."""
        line = self.rest()
        return line and line + b"\n"

    def rest(self) -> bytes:
        """That line, if it matches, at the end of the stream."""
        line, self._begun = self.begun(), []
        return self._sieve.lines(line)


def _split(block: bytes, done: int, end: int) -> Iterator[bytes]:
    while done < end:
        start, done = done, _end(block, done)
        yield block[start:done]


def _end(block: bytes, place: int) -> int:
    return block.find(b"\n", place) + 1 or len(block)


def literals(pattern: str) -> list[str]:
    """Texts of which every match of a pattern is sure to hold one; none if that is not clear.

    They are the longest of each alternative, without a newline, read off the pattern's top level alone. Where a group
    has flags nothing is clear.
    """
    if "(?" in pattern:
        return []
    found: list[str] = []
    runs, run, place, depth = [""], "", 0, 0
    while place < len(pattern):
        char, place = pattern[place], place + 1
        if char == "\\":
            char, place = pattern[place : place + 1], place + 1
            is_text = not char.isalnum()
            if not is_text and char not in _CLASSES:
                return []
        else:
            is_text = char not in _SPECIAL
            if char == "|" and not depth:
                found.append(max([*runs, run], key=len))
                runs, run = [""], ""
                continue
            depth += (char == "(") - (char == ")")
            place = _after_class(pattern, place) if char == "[" else place
            repeat = _REPEAT.match(pattern, place) if char == "{" else None
            place = repeat.end() if repeat else place
        follows = pattern[place : place + 1]
        if is_text and char != "\n" and not depth and follows not in _OPTIONAL:
            run += char
            if follows != "+":
                continue
        runs.append(run)
        run = ""
    found.append(max([*runs, run], key=len))
    return found if all(found) else []


def _after_class(pattern: str, place: int) -> int:
    """Where a character class ends that begins before `place`; a bracket right at its start is a character of it."""
    place += pattern[place : place + 1] == "^"
    place += pattern[place : place + 1] == "]"
    while place < len(pattern) and pattern[place] != "]":
        place += 2 if pattern[place] == "\\" else 1
    return place + 1
