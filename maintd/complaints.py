"""What pydantic finds wrong with a table of the config, in words for the person who wrote it."""

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from maintd.rules import BROKEN
from maintd.toml_places import KeyPath
from maintd.values import dataclass

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SECRET = re.compile(r"pass|secret|token|credential", re.IGNORECASE)
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string": 'a text in quotes ("…")',
    "is_instance_of": 'a text in quotes ("…")',
    "list": "a list ([…])",
    "tuple": "a list ([…])",
    "set": "a list ([…])",
    "frozen_set": "a list ([…])",
    "dict": "a table",
    "model": "a table",
    "mapping": "a table",
    "time_delta": 'a duration ("90s", "7d")',
}
_LIMITS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} or fewer entries",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "string_pattern_mismatch": "must look like {pattern}",
}


@dataclass(frozen=True)
class Complaint:
    """One fault: the path of its key below the table, what is wrong, and whether the key or its value is to blame."""

    path: KeyPath
    message: str
    part: Literal["key", "value"] = "value"


def complaints(error: ValidationError, model: type[BaseModel], table: Any) -> list[Complaint]:
    """Every fault that `model` finds in `table`: one for each value, and one for each rule that is broken."""
    found: dict[KeyPath, Complaint] = {}
    broken: list[Complaint] = []
    for detail in error.errors(include_url=False):
        path = _path(detail["loc"], table, missing=detail["type"] == "missing")
        if detail["type"] == BROKEN:
            broken.append(Complaint(path, detail["msg"]))
            continue
        if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
            continue  # it would be long enough, but for entries that are told of themselves
        complaint = _complaint(path, detail, model)
        earlier = found.get(path)
        found[path] = complaint if earlier is None else _either(earlier, complaint)
    return [*found.values(), *broken]


def _either(first: Complaint, second: Complaint) -> Complaint:
    """One complaint for a value that fits no member of a union."""
    expected, *got = first.message.split(", got ")
    if not expected.startswith("expected ") or not second.message.startswith("expected "):
        return first
    other = second.message.removeprefix("expected ").split(", got ")[0]
    return Complaint(first.path, ", got ".join([f"{expected} or {other}", *got]), first.part)


def _complaint(path: KeyPath, detail: Mapping[str, Any], model: type[BaseModel]) -> Complaint:
    kind, context = detail["type"], detail.get("ctx", {})
    got = "" if any(_SECRET.search(str(step)) for step in path) else f", got {_given(detail['input'])}"
    if kind == "missing":
        return Complaint(path, "is missing", "key")
    if kind == "extra_forbidden":
        return Complaint(path, unknown_key(str(path[-1]), options(model, path[:-1])), "key")
    if kind in ("value_error", "assertion_error"):
        message = str(context["error"])
        return Complaint(path, message if got else message.replace(repr(detail["input"]), "the given value"))
    if kind in ("literal_error", "enum"):
        return Complaint(path, _choice(context["expected"], detail["input"], got))
    if kind in _LIMITS:
        counts = kind in ("too_short", "too_long")
        return Complaint(path, _LIMITS[kind].format(**context) + ("" if counts else got))
    expected = _EXPECTED.get(kind) or _EXPECTED.get(
        re.sub(r"_(type|parsing|parsing_size|from_float|attributes_type)$", "", kind)
    )
    if expected == _EXPECTED["list"] and isinstance(detail["input"], dict) and options(model, path):
        expected = f"tables in a list ([[….{path[-1]}]])"
    return Complaint(path, f"expected {expected}{got}" if expected else detail["msg"] + got)


def unknown_key(key: str, known: tuple[str, ...]) -> str:
    """Says that a key is unknown, and which one may be meant."""
    by_reference = [name for name in (f"{key}_file", f"{key}_env") if name in known]
    if by_reference:
        return f"a secret is not written here: use {' or '.join(by_reference)}"
    return "unknown key" + did_you_mean(key, known)


@lru_cache(maxsize=256)
def did_you_mean(word: str, known: tuple[str, ...]) -> str:
    """` (did you mean "keep"?)`, or nothing if no known word is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def dotted(path: KeyPath) -> str:
    """A path as it would be written in TOML, with places in lists in brackets."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _BARE.fullmatch(step) else quoted(step)
            text += f".{key}" if text else key
    return text


def quoted(text: str, *, longest: int = 60) -> str:
    """A text in quotes on one line, cut where it is overlong."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    escaped = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in cut.replace("\\", "\\\\"))
    return '"' + escaped.replace('"', '\\"') + '"'


def options(model: type[BaseModel], path: KeyPath) -> tuple[str, ...]:
    """The keys that the table at `path` inside a table of this model may hold."""
    for step in path:
        field = model.model_fields.get(str(step))
        inner = next(_models(field.annotation), None) if field else None
        if isinstance(step, str) and inner is None:
            return ()
        model = inner or model
    return tuple(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _path(location: tuple[str | int, ...], table: Any, *, missing: bool) -> KeyPath:
    """The part of pydantic's location that the file knows: without the names of the members of unions."""
    path: list[str | int] = []
    for index, step in enumerate(location, start=1):
        if _holds(table, step):
            table = table[step]
        elif not (missing and index == len(location)):
            continue
        path.append(step)
    return tuple(path)


def _holds(table: Any, step: str | int) -> bool:
    if isinstance(table, list):
        return isinstance(step, int) and step < len(table)
    return isinstance(table, dict) and step in table


def _choice(expected: str, given: Any, got: str) -> str:
    choices = tuple(re.findall(r"'([^']*)'", expected))
    hint = did_you_mean(given, choices) if isinstance(given, str) and got else ""
    return f"expected {expected.replace(chr(39), chr(34))}{got}{hint}"


def _given(value: Any) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number beyond 64 bits"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"
