"""Where the tables and keys of a TOML text stand. Only locates: what a text means is tomllib's business.

Table headers are found by a scan of the text, which is cheap and also tells the order of jobs across kinds. So are
plain keys; others, and values, are located by toml-rs, which is imported when the first one is asked for.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

KeyPath = tuple[str | int, ...]
Position = tuple[int, int]

_BASIC, _LITERAL = r'"(?:[^"\\\n]|\\.)*"', r"'[^'\n]*'"
_SKIPPED = rf'"""(?:\\.|(?!""").)*"""+|\'\'\'(?:(?!\'\'\').)*\'\'\'+|{_BASIC}|{_LITERAL}|\#[^\n]*'
_TOKEN, _TOKEN_OR_KEY = (
    re.compile(
        rf"(?P<key>{key})|(?P<skip>{_SKIPPED})|(?P<head>^[ \t]*\[)|(?P<open>\[)|(?P<close>\])", re.MULTILINE | re.DOTALL
    )
    for key in (r"(?!)", r"^[ \t]*[A-Za-z0-9_-]+(?=[ \t]*=)")
)
_KEY = rf"(?:[A-Za-z0-9_-]+|{_BASIC}|{_LITERAL})"
_HEADER = re.compile(rf"[ \t]*\[\[?[ \t]*({_KEY}(?:[ \t]*\.[ \t]*{_KEY})*)[ \t]*\]")


def headers(text: str) -> Iterator[tuple[KeyPath, Position]]:
    """Each table header of a text, in order, with the place of its bracket; also of a text that is not quite TOML."""
    return ((path, position) for path, position, _ in _scanned(text, _TOKEN))


def _scanned(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[KeyPath, Position, bool]]:
    """Headers, and keys if the pattern has them; the last says which. Keys in an array of tables are left out."""
    line, counted, depth, at = 1, 0, 0, 0
    table: KeyPath | None = ()
    while token := pattern.search(text, at):
        at = token.end()
        header = _HEADER.match(text, token.start()) if token["head"] and depth == 0 else None
        if header:
            at = header.end()
            line += text.count("\n", counted, at)
            counted = at
            path = _keys(header[1])
            table = path if path and not header[0].lstrip().startswith("[[") else None
            if path:
                yield path, (line, len(token["head"])), False
        elif token["head"] or token["open"]:
            depth += 1
        elif token["close"]:
            depth = max(0, depth - 1)
        elif token["key"] and depth == 0 and table is not None:
            line += text.count("\n", counted, at)
            counted = at
            key = token["key"].lstrip(" \t")
            yield (*table, key), (line, len(token["key"]) - len(key) + 1), True


def _keys(dotted: str) -> tuple[str, ...]:
    if '"' not in dotted and "'" not in dotted:
        return tuple(part.strip() for part in dotted.split("."))
    try:
        table: Any = tomllib.loads(f"{dotted} = 0")
    except ValueError:
        return ()
    path: list[str] = []
    while isinstance(table, dict):
        [(key, table)] = table.items()
        path.append(key)
    return tuple(path)


class Places:
    """Where the tables, keys and values of one valid text stand, as (line, column) in characters, counted from 1."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def tables(self) -> dict[KeyPath, Position]:
        """Where each table begins: at its header, or else at the first header inside it; in the order of the text."""
        exact: dict[KeyPath, Position] = {}
        starts: dict[KeyPath, Position] = {}
        for path, position in headers(self._text):
            for end in range(1, len(path) + 1):
                starts.setdefault(path[:end], position)
            exact.setdefault(path, position)
        return starts | exact

    @cached_property
    def keys(self) -> dict[KeyPath, Position]:
        """Where each key stands that is neither dotted nor quoted, nor in an array of tables or an inline table."""
        return {path: position for path, position, is_key in _scanned(self._text, _TOKEN_OR_KEY) if is_key}

    def find(self, path: KeyPath, part: Literal["key", "value"] = "key") -> Position:
        """Where this key, or its value, stands; else the nearest table around it; else the start of the text."""
        for end in range(len(path), 0, -1):
            around = path[:end]
            if around in self.tables:
                return self.tables[around]
            if (part == "key" or end < len(path)) and around in self.keys:
                return self.keys[around]
            if node := self._node(around):
                return self._position(node, part if end == len(path) and f"{part}_line" in node else "key")
        return 1, 1

    def _node(self, path: KeyPath) -> dict[str, Any] | None:
        node: Any = self._nodes
        for step in path:
            inside = node["value"] if _is_leaf(node) else node
            if isinstance(inside, dict) and step in inside:
                node = inside[str(step)]
            elif isinstance(inside, list) and isinstance(step, int) and step < len(inside):
                node = inside[step]
            else:
                return None
        return _first_leaf(node)

    def _position(self, node: dict[str, Any], part: str) -> Position:
        part = part if f"{part}_line" in node else "value"
        line, column = _first(node[f"{part}_line"]), _first(node[f"{part}_col"])
        before = self._lines[line - 1].encode()[: column - 1]  # toml-rs counts bytes
        return line, len(before.decode(errors="ignore")) + 1

    @cached_property
    def _lines(self) -> list[str]:
        return self._text.split("\n")

    @cached_property
    def _nodes(self) -> dict[str, Any]:
        import toml_rs  # noqa: PLC0415, TID251 - its home, and only needed when a key is to be located

        try:
            document = toml_rs.load_with_metadata(self._text, toml_version="1.0.0")
        except ValueError:  # the two parsers differ at the edges, e.g. on leap seconds: then headers must do
            return {}
        return document.meta["nodes"]


def _is_leaf(node: dict[str, Any]) -> bool:
    return isinstance(node.get("value_line"), (int, tuple))


def _first_leaf(node: dict[str, Any]) -> dict[str, Any] | None:
    if _is_leaf(node):
        return node
    leaves = [leaf for child in node.values() if (leaf := _first_leaf(child))]
    return min(leaves, key=lambda leaf: (_first(leaf["value_line"]), _first(leaf["value_col"])), default=None)


def _first(span: int | tuple[int, int]) -> int:
    return span if isinstance(span, int) else span[0]
