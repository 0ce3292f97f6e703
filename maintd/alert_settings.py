"""The table [alerts] of the config: to whom what is told, when not, and how often at most."""

import importlib.util
import os
import stat
from collections.abc import Iterable, Iterator
from datetime import timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from maintd import jobs
from maintd.errors import MaintdError
from maintd.events import LEVELS
from maintd.job import AbsolutePath, Age, Argv, Count, Interval, Span, WindowField
from maintd.notices import PARTS
from maintd.rules import Options, rule

Severity = Literal["warning", "error", "critical"]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
_NAME = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


def is_named(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of some shell patterns names what an alert is about: a job, or "program.GROUP:NAME"."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Channel(Options):
    """One way to tell somebody: an URL of apprise, Alertmanager, or a command."""

    url_file: AbsolutePath | None = Field(
        default=None, description="a file that holds an URL of apprise alone (mailto://, tgram://, slack://, …)"
    )
    url_env: str | None = Field(default=None, min_length=1, description="or an environment variable that holds it")
    alertmanager: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/@]+",
        description="or the address of a Prometheus Alertmanager, whose API v2 takes the alerts",
    )
    command: Argv | None = Field(
        default=None,
        description="or a program and its arguments, run as maintd's user; the alert is in MAINTD_ALERT_* variables",
    )
    timeout: Span = Field(default=timedelta(seconds=30), description="how long one delivery may take")

    @rule("url_file", "url_env", "alertmanager", "command")
    def _one_way(self) -> str:
        given = [self.url_file, self.url_env, self.alertmanager, self.command]
        is_one = sum(value is not None for value in given) == 1
        return "" if is_one else "a channel has exactly one of url_file, url_env, alertmanager and command"

    @property
    def kind(self) -> str:
        if self.command is not None:
            return "command"
        return "apprise" if self.alertmanager is None else "alertmanager"

    def url(self) -> str:
        """Where it goes, the secret included, read now. Raises OSError, MaintdError."""
        if self.alertmanager is not None:
            return self.alertmanager
        if self.url_file is not None:
            with open(self.url_file, encoding="utf-8") as file:
                return file.read().strip()
        if self.url_env is None:
            return ""
        if self.url_env not in os.environ:
            raise MaintdError(f"the environment variable {self.url_env} is not set", hint="or use url_file")
        return os.environ[self.url_env]

    def doubts(self) -> Iterator[str]:
        if self.command is not None:
            from maintd.actions.command import is_runnable  # noqa: PLC0415 - a config without alerts does not need it

            if not is_runnable(self.command[0]):
                yield f"{self.command[0]} does not exist or may not be run"
        if self.kind == "apprise" and importlib.util.find_spec("apprise") is None:
            yield "apprise is not installed: install maintd with the extra alerts"
        if self.url_file is None:
            return
        try:
            mode = os.stat(self.url_file).st_mode
        except OSError as error:
            yield f"{self.url_file} cannot be read: {error.strerror}"
        else:
            if not stat.S_ISREG(mode):
                yield f"{self.url_file} is not a regular file"
            elif mode & 0o077:
                yield f"others may read {self.url_file}: chmod 600 {self.url_file}"


class Route(Options):
    """Which alerts go to which channels; all routes count that name an alert."""

    severity: Severity = Field(default="error", description="what is at least so bad: warning, error or critical")
    jobs: Names = Field(
        default=("*",), description='and about one of these: patterns of jobs, "check.*", or "program.services:*"'
    )
    channels: tuple[str, ...] = Field(default=(), description="goes to these channels; default: to all")


class Maintenance(Options):
    """A time in which nothing is told about some jobs. What is still wrong when it ends is told then."""

    window: WindowField = Field(description='the time of day, in timezone of [daemon]: "sun 02:00-05:00"')
    jobs: Names = Field(default=("*",), description="patterns of jobs about which nothing is told then")


class Alerts(Options):
    """To whom what is told, and how often at most."""

    channels: dict[_NAME, Channel] = Field(default_factory=dict, description="the channels, by name")
    routes: tuple[Route, ...] = Field(
        default=(), description="which alerts go where; default: errors and what is worse, to all channels"
    )
    maintenance: tuple[Maintenance, ...] = Field(default=(), description="times in which nothing is told")
    group: Age = Field(
        default=timedelta(seconds=10), description="a message waits for so long, for what belongs to the same incident"
    )
    remind: Interval = Field(default=timedelta(hours=4), description="what goes on is told again after this")
    most: Count = Field(
        default=20, description="so many messages an hour for each channel; what is beyond comes with the next ones"
    )

    @rule("channels", "routes")
    def _routes_lead_somewhere(self) -> str:
        unknown = {name for route in self.routes for name in route.channels} - self.channels.keys()
        return f"there is no channel {', '.join(sorted(unknown))}" if unknown else ""

    def to(self, name: str, level: str) -> list[str]:
        """The channels that an alert about `name` at this level goes to."""
        found: set[str] = set()
        for route in self.routes or (Route(),):
            if LEVELS.index(level) >= LEVELS.index(route.severity) and is_named(name, route.jobs):
                found.update(route.channels or self.channels)
        return sorted(found)

    def doubts(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """What looks wrong on this machine now, with jobs of these names, as (option, message)."""
        for name, channel in self.channels.items():
            for message in channel.doubts():
                yield "channels", f"{name}: {message}"
        yield from self._idle(names)

    def _idle(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Patterns that name none of these jobs, nor anything else that there is, as (option, message)."""
        known = [*names, *PARTS]
        for option, patterns in (
            *(("routes", route.jobs) for route in self.routes),
            *(("maintenance", one.jobs) for one in self.maintenance),
        ):
            for pattern in patterns:
                if not any(is_named(name, (pattern,)) for name in known) and _is_idle(pattern):
                    yield option, f'"{pattern}" matches no job, whose names are KIND.NAME'
        for route in self.routes:
            for pattern in route.jobs if route.severity == "critical" else ():
                if pattern.startswith("program."):
                    what = "what happens to a program is an error: say so in a route of its own"
                    yield "routes", f'"{pattern}" matches nothing with severity = "critical": {what}'


def _is_idle(pattern: str) -> bool:
    """Whether a pattern that names no job and no part of maintd is meant for a job, as far as one can see.

    It may also be for a program, or for an event that belongs to no job.
    """
    kinds, (first, _, rest) = jobs.kinds(), pattern.partition(".")
    if not rest or pattern.rpartition(".")[0] in kinds:
        return True
    if first == "check":
        return not any(fnmatchcase(kind, f"check.{rest.partition('.')[0]}") for kind in kinds)
    firsts = {kind.partition(".")[0] for kind in kinds} | {*PARTS, "program", "daemon", "state"}
    return first not in firsts and bool(get_close_matches(first, firsts, 1, 0.8))
