"""What logrotate's configuration language consists of: a file's text taken apart into names, directives and braces.

The rules were found by running logrotate -d on files: a line's place does not matter, only the order of what stands in
it; a keyword without an argument may be followed by the next one; an argument goes to the end of its line, comments
and braces in it too; names go on until a brace, over lines, with the comment lines between them left out.
"""

import re
from collections.abc import Callable, Iterator
from typing import Literal

from maintd.values import dataclass

Shape = Literal["flag", "value", "number", "script"]
"""What follows a keyword: nothing, the rest of its line, a number or nothing, lines up to endscript."""
_BLANK = " \t"
BLANKS = " \t\n\v\f\r"
"""What isspace(3) takes for blank; str.isspace knows more, which may stand in names."""
_KEYWORD = re.compile(r"[A-Za-z]+")
_NAME_STARTS = "/\"'~"
_NUMBER_STARTS = re.compile(r"[-+]?\d")
_ENDSCRIPT = re.compile(r"^[ \t]*endscript(?:[^A-Za-z]|\Z)", re.MULTILINE)
_NO_SCRIPT = re.compile(r"\s[ \t]*endscript(?:[^A-Za-z]|\Z)", re.ASCII)
_COMMENT_LINE = re.compile(r"[ \t]*#.*\n?")
_CHUNK = re.compile(r"[^{}\n]+|\n")
_SPACE = re.compile(r"[ \t\n]*")


@dataclass(frozen=True)
class Names:
    """The names of a stanza's logs as they are written, up to its opening brace."""

    line: int
    text: str


@dataclass(frozen=True)
class Directive:
    """A known keyword with its argument; for a script that is its text."""

    line: int
    keyword: str
    value: str = ""


@dataclass(frozen=True)
class Close:
    """The closing brace of a stanza."""

    line: int


@dataclass(frozen=True)
class Fault:
    """What cannot be read, in logrotate's words. It costs its line, the stanza it is in, or the rest of the file."""

    line: int
    text: str
    loses: Literal["line", "stanza", "file"]


Node = Names | Directive | Close | Fault


def parse(text: str, shape: Callable[[str], Shape | None]) -> Iterator[Node]:
    """The parts of a config file in order; `shape` knows the keywords, and answers None for one that is unknown.

    A Fault that loses the file is the last part. Names always have an opening brace, but their Close may be missing at
    the end of the file, which is no fault. Names in a stanza are one, which costs that and what they begin; but if a
    line of it has swallowed a brace at its end, they begin a stanza of their own.
    """
    reader = _Reader(text, shape)
    while (nodes := reader.step()) is not None:
        for node in nodes:
            yield node
            if isinstance(node, Fault) and node.loses == "file":
                return


def words(text: str) -> tuple[str, ...]:
    """Splits names and arguments as a shell does, by popt(3), which logrotate uses for that.

    Quotes group and a backslash takes the next character as it is. Within quotes it stays, unless it is before such a
    quote, so that glob(3) sees it. A quote that is not closed ends with the text; empty words are none.
    """
    found: list[str] = []
    word, quote, escaped = "", "", False
    for char in text:
        if escaped:
            word += char if not quote or char == quote else "\\" + char
            escaped = False
        elif char == "\\":
            escaped = True
        elif quote:
            word, quote = (word, "") if char == quote else (word + char, quote)
        elif char in "\"'":
            quote = char
        elif char in BLANKS:
            found.append(word)
            word = ""
        else:
            word += char
    return tuple(filter(None, [*found, word]))


class _Reader:
    """A place in a text, with the line it is on, and whether it is in a stanza."""

    def __init__(self, text: str, shape: Callable[[str], Shape | None]) -> None:
        self._text = text
        self._shape = shape
        self._at = 0
        self._line = 1
        self._in_stanza = False
        self._has_swallowed = False

    def step(self) -> tuple[Node, ...] | None:
        """What comes next, which may be nothing; None at the end."""
        self._skip(_SPACE)
        char = self._text[self._at : self._at + 1]
        if not char:
            return None
        if char == "#":
            self._to_end_of_line()
            return ()
        if char == "}":
            return self._close()
        if char in _NAME_STARTS:
            return self._names()
        if keyword := _KEYWORD.match(self._text, self._at):
            return (self._directive(keyword[0]),)
        return (self._fault("lines must begin with a keyword or a filename (possibly in double quotes)"),)

    def _skip(self, what: re.Pattern[str]) -> bool:
        found = what.match(self._text, self._at)
        return bool(found and self._move(len(found[0])))

    def _move(self, count: int) -> str:
        passed = self._text[self._at : self._at + count]
        self._at += count
        self._line += passed.count("\n")
        return passed

    def _to_end_of_line(self) -> str:
        end = self._text.find("\n", self._at)
        return self._move((len(self._text) if end < 0 else end) - self._at)

    def _fault(self, text: str) -> Fault:
        """A fault of this place, which costs the rest of the line and the stanza or, outside, the file."""
        line = self._line
        self._rest()
        return Fault(line, text, "stanza" if self._in_stanza else "file")

    def _rest(self) -> str:
        """The rest of the line, which is no comment."""
        text = self._to_end_of_line()
        self._has_swallowed = self._has_swallowed or text.rstrip(BLANKS).endswith("}")
        return text

    def _close(self) -> tuple[Node, ...]:
        line = self._line
        if not self._in_stanza:
            return (self._fault("unexpected }"),)
        self._move(1)
        self._in_stanza = self._has_swallowed = False
        if self._to_end_of_line().strip(_BLANK):
            return Close(line), Fault(line, "unexpected text after }", "line")
        return (Close(line),)

    def _names(self) -> tuple[Node, ...]:
        line = self._line
        text, brace = self._to_brace()
        stray: tuple[Node, ...] = ()
        if self._in_stanza:
            more = ", and its stanza in a stanza (missing '}'?)" if brace == "{" and not self._has_swallowed else ""
            stray = (Fault(line, f"unexpected log filename{more}", "stanza"),)
        if brace == "{":
            self._move(1)
            if stray and not self._has_swallowed:
                return stray
            self._in_stanza, self._has_swallowed = True, False
            return *stray, Names(line, text)
        if stray:
            return stray
        if brace == "}":
            return (Fault(line, "unexpected } (missing previous '{')", "file"),)
        return (Fault(line, "missing '{' after log files definition", "file"),)

    def _to_brace(self) -> tuple[str, str]:
        """The text up to the next brace outside comment lines, without them; and that brace, which is still to come."""
        text = ""
        while True:
            while self._text[self._at - 1 : self._at] == "\n" and self._skip(_COMMENT_LINE):
                pass
            chunk = _CHUNK.match(self._text, self._at)
            if chunk is None:
                break
            text += self._move(len(chunk[0]))
        return text, self._text[self._at : self._at + 1]

    def _directive(self, keyword: str) -> Node:
        after = self._text[self._at + len(keyword) : self._at + len(keyword) + 1]
        if after not in BLANKS + "=":
            return self._fault(f"keyword '{keyword}' not properly separated, found 0x{ord(after):x}")
        line, shape = self._line, self._shape(keyword)
        self._move(len(keyword))
        if shape == "script":
            return self._script(keyword)
        if shape == "value" or (shape == "number" and self._has_number()):
            return Directive(line, keyword, _argument(self._rest()))
        if shape is not None:
            self._move(len(after))
            return Directive(line, keyword)
        self._rest()
        return Fault(line, f"unknown option '{keyword}' -- ignoring line", "line")

    def _has_number(self) -> bool:
        end = self._text.find("\n", self._at)
        return bool(_NUMBER_STARTS.match(_argument(self._text[self._at : end if end >= 0 else None])))

    def _script(self, keyword: str) -> Node:
        """The script after its keyword. It begins on the same line, if there is anything on that."""
        line = self._line
        end = _NO_SCRIPT.match(self._text, self._at) or _ENDSCRIPT.search(self._text, self._at)
        if end is None:
            return Fault(line, f"{keyword} without endscript", "file")
        text = self._move(end.start() - self._at).lstrip(_BLANK).removeprefix("\n")
        self._move(end.end() - end.start())
        return Directive(line, keyword, text)


def _argument(text: str) -> str:
    """An argument without the blanks around it, and without the one = that may stand before it."""
    return text.strip(BLANKS).removeprefix("=").strip(BLANKS)
