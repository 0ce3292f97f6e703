"""What a Check is: a job that only looks, beside the lanes, and ends by a hard deadline."""

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict, model_validator
from pydantic_core import core_schema

from maintd import expressions
from maintd.changes import CheckSeen
from maintd.child import Worker
from maintd.errors import MaintdError, Refused, TimedOut, is_shortage, trouble
from maintd.job import Age, Context, Interval, Job, Span
from maintd.patterns import Expansion, Match
from maintd.readings import Health, Reading, Sign, gathered
from maintd.steps import Lane, Step
from maintd.supervisor import Supervisor
from maintd.triggers import Asked
from maintd.units import format_limit
from maintd.values import dataclass
from maintd.written import Written

_QUORUM = re.compile(r"\s*(\d+)\s*(?:of\s*(\d+)\s*)?")
MOST_READINGS = 60


class CannotTell(MaintdError):
    """A check could not find out how its target is, through no fault of that."""


class TooEarly(CannotTell):
    """A check cannot tell yet, as is to be expected: such a reading does not count."""


def complete(expansion: Expansion) -> Expansion:
    """The same. Raises OSError if some of the files stay unseen for what maintd itself is short of."""
    for miss in expansion.misses:
        if miss.error is not None and is_shortage(miss.error):
            raise miss.error
    return expansion


def seen(expansion: Expansion, noun: str) -> list[Match]:
    """The files that patterns name. Raises MaintdError if there are none, with what was found in their place.

    Raises OSError as `complete` does.
    """
    if not complete(expansion).matches:
        told = next((f"{miss.path}: {miss.reason}" for miss in expansion.misses), f"there is no such {noun}")
        raise MaintdError(told)
    return expansion.matches


@dataclass(frozen=True)
class Quorum:
    """So many of the last so many readings; a bare number means that many in a row."""

    count: int
    of: int

    @classmethod
    def parse(cls, given: Any) -> Any:
        """Reads 3 or "3 of 5". Raises ValueError with these forms."""
        match = _QUORUM.fullmatch(given) if isinstance(given, str) else None
        if isinstance(given, int) and not isinstance(given, bool):
            found = cls(given, given)
        elif match:
            found = cls(int(match[1]), int(match[2] or match[1]))
        elif isinstance(given, Quorum):
            return given
        else:
            raise ValueError(f'{given!r} is no number of readings: write 3 (in a row) or "3 of 5"')
        if not 1 <= found.count <= found.of <= MOST_READINGS:
            raise ValueError(f'"{found}": write 3 (in a row) or "3 of 5", of at most {MOST_READINGS} readings')
        return found

    def __str__(self) -> str:
        return str(self.count) if self.count == self.of else f"{self.count} of {self.of}"


class Share(float):
    """A share in percent: 85 is 85 %."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{float(self):g}%"


def _percent(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?\s*%", value.strip()):
        value = Share(value.strip().rstrip("%"))
    elif not isinstance(value, Share):
        raise ValueError(f'{value!r} is not a percentage: write "85%"')
    if not 0 < value <= 100:
        raise ValueError("must be more than 0% and at most 100%")
    return value


_QUORUM_WRITTEN = {"type": ["integer", "string"], "pattern": r"^\d+( of \d+)?$"}
_PERCENT_WRITTEN = {"type": "string", "pattern": r"^\d+(\.\d+)?%$"}
QuorumField = Annotated[Quorum, Written(Quorum.parse, core_schema.is_instance_schema(Quorum), _QUORUM_WRITTEN, str)]
Percent = Annotated[
    float, Written(_percent, core_schema.float_schema(), _PERCENT_WRITTEN, lambda value: str(Share(value)))
]
Number = Annotated[float, Field(ge=0)]
Whole = Annotated[int, Strict(), Field(ge=0)]


class Check(Job):
    """Looks at one thing and says how it is: up, degraded, down or unknown. Changes nothing; its plan has no action.

    A kind says what it looks at in `target` and what it sees in `look`. Of what it measures, `degraded_…` and `down_…`
    are the numbers from which on it is so; without them the number is told and judged by nobody.
    """

    lanes: ClassVar[tuple[Lane, ...]] = ()
    in_child: ClassVar[bool] = False
    """Whether it asks through a child process, which is kept for a while."""
    looks_at: ClassVar[tuple[str, ...]] = ()
    """The options that say what it looks at: once they are others, what it remembers is of something else."""

    every: Interval | None = Field(default=timedelta(minutes=1), description="how often it looks")
    timeout: Span = Field(
        default=timedelta(seconds=10),
        description="a hard deadline for one look as a whole: an answer that drips in does not extend it",
    )
    severity: Literal["warning", "error", "critical"] = Field(
        default="error", description="the level of its `check.failed`"
    )
    fail_after: QuorumField = Field(
        default=Quorum(2, 2), description='how many bad readings it takes: 2 (in a row) or "3 of 5"'
    )
    recover_after: QuorumField = Field(default=Quorum(2, 2), description="how many good readings it takes to recover")
    grace: Age = Field(
        default=timedelta(), description="for so long after maintd has begun with it, bad readings do not count"
    )
    depends_on: tuple[str, ...] = Field(
        default=(),
        description='checks by name ("check.tcp.db"): while one of them is down, this one is unknown and quiet',
    )

    @model_validator(mode="before")
    @classmethod
    def _one_rhythm(cls, given: Any) -> Any:
        """With cron alone it goes by cron alone."""
        return {"every": None} | given if isinstance(given, dict) and "cron" in given else given

    def looks_as(self, other: "Check") -> bool:
        """Whether it looks at the same, so that what that one remembers counts for it."""
        return all(getattr(self, option) == getattr(other, option) for option in self.looks_at)

    @property
    def target(self) -> str:
        """What it looks at, without secrets."""
        raise NotImplementedError

    @property
    def is_by_name(self) -> bool:
        """Whether a look asks the resolver for a name first."""
        return False

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        """What it sees now, until `deadline` (time.monotonic()).

        OSError, MaintdError and TimedOut mean down, CannotTell unknown.
        """
        raise NotImplementedError

    def plan(self, ctx: Context) -> Iterator[Step]:
        begun = time.monotonic()
        error = ""
        try:
            sign = gathered(self.look(ctx, begun + self.timeout.total_seconds()))
        except (TimedOut, TimeoutError):
            limit = format_limit(self.timeout)
            sign, error = Sign(Health.DOWN, f"no answer within {limit}"), "timedout"
        except CannotTell as raised:
            sign, error = Sign(Health.UNKNOWN, str(raised), raised.hint), type(raised).__name__.lower()
        except (OSError, MaintdError) as raised:
            found = trouble(raised)
            health = Health.UNKNOWN if is_shortage(raised) else Health.DOWN
            sign, error = Sign(health, found.error_msg, found.advice), found.error
        yield Reading(
            target=self.target,
            reason=sign.text,
            health=sign.health,
            error=error,
            advice=sign.advice,
            took_ms=(time.monotonic() - begun) * 1000,
            event=self._said(sign) if isinstance(ctx.cause, Asked) else None,
        )

    def doubts(self, _supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        if self.every is not None and self.timeout >= self.every:
            yield "timeout", "is not shorter than every: while nothing answers, some looks are left out"

    def _said(self, sign: Sign) -> CheckSeen:
        return CheckSeen(target=self.target, health=sign.health, reason=sign.text, advice=sign.advice or None)

    def ask(self, ctx: Context, deadline: float, function: str, **arguments: Any) -> Any:
        """What a function of maintd returns in a child process, which is ended at the deadline."""
        if ctx.worker is not None:
            return ctx.worker.call(function, arguments, deadline=deadline)
        with Worker(background=False) as worker:
            return worker.call(function, arguments, deadline=deadline)

    def is_matched(self, ctx: Context, deadline: float, pattern: str, text: str | bytes) -> bool:
        """Whether a regular expression matches somewhere in a text that somebody else has written.

        Unless it is plain a child finds that out: a match cannot be ended, and stops all threads until it is done.
        """
        is_binary = isinstance(text, bytes)
        given = text.decode("latin-1") if isinstance(text, bytes) else text
        if expressions.is_plain(pattern):
            return expressions.search(lambda _: None, pattern=pattern, text=given, is_binary=is_binary)
        found: bool = self.ask_to_match(
            ctx, deadline, "maintd.expressions:search", pattern=pattern, text=given, is_binary=is_binary
        )
        return found

    def ask_to_match(self, ctx: Context, deadline: float, function: str, **arguments: Any) -> Any:
        """The same as `ask`, of a function that matches regular expressions, which are at fault if it takes long."""
        try:
            return self.ask(ctx, deadline, function, **arguments)
        except TimedOut as error:
            limit = format_limit(self.timeout)
            message = f"the regular expression was not done within {limit} with what it was given, and was ended"
            raise MaintdError(message, hint="write one that repeats nothing that is repeated itself") from error
        except Refused as error:
            raise CannotTell(str(error), hint=error.hint) from error
