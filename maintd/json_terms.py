"""Comparisons with what a JSON document holds: `status == "ok"`, `queues[0].depth < 100`."""

import json
import operator
import re
from collections.abc import Callable
from typing import Any

from maintd.values import dataclass

_TERM = re.compile(r"\s*(?P<path>\$?[^\s=!<>]*)\s*(?P<sign>==|!=|<=|>=|<|>)\s*(?P<value>.+?)\s*")
_STEP = re.compile(r"\.?(?:(?P<key>[^.\[\]]+)|\[(?P<index>-?\d+)\])")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FORMS = 'write it as: status == "ok", or workers[0].queue < 100'


@dataclass(frozen=True)
class JsonTerm:
    """One comparison: the value at `path` (keys and places in lists) with a value of JSON."""

    text: str
    path: tuple[str | int, ...]
    sign: str
    value: Any

    @classmethod
    def parse(cls, given: Any) -> Any:
        """Reads a term. Raises ValueError with the form that it has."""
        if isinstance(given, JsonTerm):
            return given
        match = _TERM.fullmatch(given) if isinstance(given, str) else None
        if match is None:
            raise ValueError(f"{given!r} is no comparison: {_FORMS}")
        path = match["path"].removeprefix("$")
        steps = list(_STEP.finditer(path))
        if "".join(step[0] for step in steps) != path:
            raise ValueError(f"{match['path']!r} is no path in JSON: {_FORMS}")
        try:
            value = json.loads(match["value"])
        except ValueError:
            raise ValueError(f"{match['value']!r} is no value of JSON: {_FORMS}") from None
        return cls(
            given, tuple(int(step["index"]) if step["index"] else step["key"] for step in steps), match["sign"], value
        )

    def __str__(self) -> str:
        return self.text

    def complaint(self, document: Any) -> str | None:
        """Why the document does not meet the term, or None if it does."""
        value = document
        for step in self.path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return f"it has no {self._where()}"
        try:
            is_met = _SIGNS[self.sign](value, self.value)
        except TypeError:
            return f"{self._where()} is {_short(value)}, which cannot be compared with {self.value!r}"
        return None if is_met else f"{self._where()} is {_short(value)}, not {self.sign} {json.dumps(self.value)}"

    def _where(self) -> str:
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".") or "$"


def _short(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:  # it could be read, but is too deep to be written
        text = f"a {type(value).__name__} too deep to be shown"
    return text if len(text) <= 80 else text[:79] + "…"
