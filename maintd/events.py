"""What an Event is. Each kind of event is a frozen dataclass, declared beside what emits it; none is made elsewhere."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

from maintd.errors import Trouble
from maintd.values import dataclass

LEVELS = ("debug", "info", "warning", "error", "critical")
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened. `name` is `noun.verb`, a state `noun.adjective`, one target's failure `noun.failed`.

    `target` is what it happened to, mostly a path. Fields carry their unit in their name (`in_bytes`, `dur_ms`); a
    field that is None is left out of the line.
    """

    name: ClassVar[str]
    level: ClassVar[str] = "info"
    is_repetitive: ClassVar[bool] = False
    """Whether run after run may find the same, which is told once an hour then."""

    target: str = ""

    @property
    def msg(self) -> str:
        """One sentence for people."""
        raise NotImplementedError

    @property
    def core(self) -> str:
        """What makes one that `is_repetitive` news, if that changes."""
        return ""

    def fields(self) -> dict[str, Any]:
        """The event's own fields, in the order of their declaration, without `target`."""
        pairs = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {name: value for name, value in pairs if name != "target" and value is not None}


@dataclass(frozen=True, kw_only=True)
class Failure(Event):
    """One target's failure: what was tried, why it did not work, and what the operator can do.

    `usual_advice` is given where the error itself comes with none.
    """

    level: ClassVar[str] = "error"
    usual_advice: ClassVar[str] = "it is tried again at the next run; if it stays so, look at what is named here"

    tried: str
    error: str
    error_msg: str
    advice: str

    @property
    def msg(self) -> str:
        return f"could not {self.tried}: {self.error_msg} ({self.advice})"

    @property
    def core(self) -> str:
        return self.msg

    @classmethod
    def from_trouble(cls, target: str, tried: str, trouble: Trouble) -> "Failure":
        advice = trouble.advice or cls.usual_advice
        return cls(target=target, tried=tried, error=trouble.error, error_msg=trouble.error_msg, advice=advice)


def every_kind(root: type[Event] = Event) -> Iterator[type[Event]]:
    """Every declared kind of event among the modules imported so far, by depth."""
    for kind in root.__subclasses__():
        if "name" in vars(kind):
            yield kind
        yield from every_kind(kind)
