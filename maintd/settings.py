"""The nameless tables of the config: what holds for the daemon as a whole, and how supervisord is reached."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, Strict

from maintd.alert_settings import Alerts
from maintd.complaints import did_you_mean
from maintd.errors import MaintdError
from maintd.job import AbsolutePath, Flag, Interval, Limit, Span
from maintd.options import secret
from maintd.rules import Options, rule

SUPERVISOR_URL = "unix:///run/supervisor.sock"


def _timezone(name: str) -> str:
    if name == "UTC":  # needs no tz database, which a small machine may lack
        return name
    import zoneinfo  # noqa: PLC0415 - most configs never name a zone

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a directory ("Europe")
        known = tuple(zoneinfo.available_timezones())
        hint = did_you_mean(name, known) or " (write UTC, or a city as in Europe/Berlin)"
        raise ValueError(f"{name!r} is not a time zone that this machine knows{hint}") from None
    return name


def _group(name: str) -> str:
    import grp  # noqa: PLC0415 - most configs name no group

    try:
        grp.getgrnam(name)
    except KeyError:
        raise ValueError(f"there is no group {name!r} on this machine") from None
    return name


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("a secret is not written here: use username with password_file or password_env")
    if (parts.scheme == "unix" and parts.path.startswith("/")) or (parts.scheme in ("http", "https") and parts.netloc):
        return url
    raise ValueError(f"{url!r} is not a URL of supervisord (such as {SUPERVISOR_URL}, http://127.0.0.1:9001)")


class Daemon(Options):
    """What holds for the daemon as a whole."""

    state_dir: AbsolutePath = Field(default="/var/lib/maintd", description="for the lock and state.sqlite; mode 0700")
    runtime_dir: AbsolutePath = Field(default="/run/maintd", description="for the control socket; mode 0700")
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        default="UTC", description="the time zone of cron expressions and windows; events are always in UTC"
    )
    observe: Flag = Field(default=False, description="every job plans and reports, and changes nothing")
    ping: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="a URL that is fetched again and again while maintd is at work: who does not hear of it, knows",
    )
    ping_every: Interval = Field(default=timedelta(minutes=1), description="how often")
    max_memory: Limit = Field(
        default=512 << 20,
        description="if maintd itself has more memory than this for a while (not counting children), it ends",
    )
    status_group: Annotated[str, AfterValidator(_group)] | None = Field(
        default=None, description="a group whose users may ask for the status and beat, through a second socket"
    )
    status_dir: AbsolutePath = Field(
        default="/run/maintd-status", description="for that second socket; mode 0750, of status_group"
    )


class Supervisor(Options):
    """How supervisord is reached."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        default_factory=lambda: os.environ.get("SUPERVISOR_SERVER_URL", SUPERVISOR_URL),
        description=f"default: SUPERVISOR_SERVER_URL, which supervisord gives its programs, else {SUPERVISOR_URL}",
    )
    username: str | None = Field(default=None, min_length=1, description="as in supervisord.conf, if it asks for one")
    password_file: AbsolutePath | None = Field(default=None, description="a file that holds the password alone")
    password_env: str | None = Field(
        default=None, min_length=1, description="an environment variable that holds the password"
    )

    @rule("password_env", "password_file")
    def _one_password(self) -> str:
        are_both = self.password_file is not None and self.password_env is not None
        return "password_file and password_env are both given: choose one" if are_both else ""

    @rule("username", "password_file", "password_env")
    def _credentials_are_whole(self) -> str:
        is_half = (self.username is None) != (self.password_file is None and self.password_env is None)
        message = "username and a password (password_file or password_env) are given together or not at all"
        return message if is_half else ""

    def password(self) -> str | None:
        """The secret itself, read now. Raises MaintdError if its file cannot be read, or if it is not set."""
        if self.password_file is not None:
            return secret(self.password_file)
        if self.password_env is None:
            return None
        if self.password_env not in os.environ:
            raise MaintdError(
                f"the environment variable {self.password_env} is not set",
                hint="set it in environment= of [program:maintd], or use password_file",
            )
        return os.environ[self.password_env]

    def doubts(self, _jobs: Iterable[str]) -> Iterator[tuple[str, str]]:
        """What looks wrong about the secrets on this machine now, as (option, message)."""
        if self.password_env is not None and self.password_env not in os.environ:
            yield "password_env", f"the environment variable {self.password_env} is not set here"
        if self.password_file is None:
            return
        try:
            mode = os.stat(self.password_file).st_mode
        except OSError as error:
            yield "password_file", f"{self.password_file} cannot be read: {error.strerror}"
        else:
            if not stat.S_ISREG(mode):
                yield "password_file", f"{self.password_file} is not a regular file"
            elif mode & 0o077:
                yield "password_file", f"others may read {self.password_file}: chmod 600 {self.password_file}"


class Cascade(Options):
    """When programs that fail are one incident."""

    programs: Annotated[int, Strict(), Field(ge=2)] = Field(
        default=3, description="so many programs that fail within a while are one incident, and one alert"
    )
    within: Span = Field(default=timedelta(seconds=30), description="in how long")
    calm: Span = Field(
        default=timedelta(minutes=1),
        description="for so long none may fail for it to be over; a program that failed has recovered after this",
    )


TABLES: Mapping[str, type[Options]] = MappingProxyType(
    {"daemon": Daemon, "supervisor": Supervisor, "cascade": Cascade, "alerts": Alerts}
)
