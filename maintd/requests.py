"""What people ask of the daemon through its socket: the verbs that there are, and their arguments, checked."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from maintd.client import Message
from maintd.values import dataclass


class Reply(Protocol):
    """Where the answer to a request goes, message by message, from any thread; None ends it."""

    def put(self, item: Message | None, /) -> None: ...


@dataclass(frozen=True)
class Request:
    """What somebody asks of the daemon: one of the verbs below, with checked arguments."""

    verb: str
    arguments: Mapping[str, Any]
    reply: Reply


@dataclass(frozen=True)
class _Argument:
    """One key of a body: the JSON types it may have, and what it is if it is left out."""

    types: tuple[type, ...]
    default: Any = ...

    def is_valid(self, value: Any) -> bool:
        if isinstance(value, bool):
            return bool in self.types
        if isinstance(value, list):
            return list in self.types and bool(value) and all(isinstance(item, str) for item in value)
        return isinstance(value, self.types) and (not isinstance(value, (int, float)) or 0 < value < 1e10)


VERBS: Mapping[str, Mapping[str, _Argument]] = {
    "status": {},
    "reload": {"force": _Argument((bool,), default=False)},
    "pause": {"job": _Argument((str,)), "seconds": _Argument((int, float, type(None)), default=None)},
    "resume": {"job": _Argument((str,)), "until": _Argument((str, type(None)), default=None)},
    "beat": {"name": _Argument((str,))},
    "silence": {
        "pattern": _Argument((str,)),
        "seconds": _Argument((int, float, type(None)), default=None),
        "reason": _Argument((str,), default=""),
    },
    "do": {
        "jobs": _Argument((list, type(None)), default=None),
        "all": _Argument((bool,), default=False),
        "due_only": _Argument((bool,), default=False),
    },
}


OPEN_VERBS = ("status", "beat")
"""What the socket for a group answers."""


def checked(verb: str, body: bytes) -> dict[str, Any]:
    """The checked arguments of a verb. Raises ValueError in words for the caller."""
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise ValueError("the body is not JSON") from error
    known = VERBS[verb]
    if not isinstance(given, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - one kind of error for whatever a body may hold
    for key in given:
        if key not in known:
            raise ValueError(f"unknown argument {key!r}")
    values = {name: given.get(name, argument.default) for name, argument in known.items()}
    for name, value in values.items():
        if value is ... or not known[name].is_valid(value):
            raise ValueError(f"argument {name!r} is missing" if value is ... else f"argument {name!r} is not valid")
    if verb == "do" and values["all"] == (values["jobs"] is not None):
        raise ValueError("either 'jobs' or 'all' is to be given")
    return values
