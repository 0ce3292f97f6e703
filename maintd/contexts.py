"""What a job's plan is made from, read off a config: the daemon and the command line make it in this one way."""

import os
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from maintd import intents
from maintd.config import Config
from maintd.errors import MaintdError
from maintd.job import Context
from maintd.steps import Lane
from maintd.supervisor import Supervisor
from maintd.triggers import Cause

ALL_LANES = frozenset(Lane)


def context(
    config: Config,
    name: str,
    now: datetime,
    cause: Cause,
    *,
    lanes: frozenset[Lane] = ALL_LANES,
) -> Context:
    """The context of one job of the config, by name, for a plan made `now` (aware) and for `cause`.

    What only looks has no lanes, and no use for paths below state_dir.
    """
    state = os.path.realpath(config.settings.state_dir) if lanes else ""
    return Context(
        job=name,
        now=now,
        cause=cause,
        zone=zone(config),
        lanes=lanes,
        supervisor=supervisor(config),
        claims=config.claims,
        own=config.own,
        stores=stores(config) if lanes else "",
        jobs={other: job for other, job in config.jobs.items() if job.enabled} if lanes else {},
        intents=os.path.join(state, intents.DIRECTORY) if lanes else "",
    )


def beside_daemon(config: Config, ctx: Context) -> Context:
    """The context of a guard that runs without the daemon, with what that has noted of the other jobs."""
    from maintd import state  # noqa: PLC0415 - most runs need no database

    directory = config.settings.state_dir
    paused = state.paused(directory, ctx.now)
    return replace(
        ctx,
        paused=frozenset(config.jobs) if state.ALL_JOBS in paused else paused,
        given_up=state.given_up(directory),
    )


def stores(config: Config) -> str:
    """The directory for what is kept of object stores."""
    return os.path.join(os.path.realpath(config.settings.state_dir), "stores")


def zone(config: Config) -> tzinfo:
    """The time zone of cron and windows; the config has made sure that it exists."""
    name = config.settings.timezone
    return UTC if name == "UTC" else ZoneInfo(name)


def supervisor(config: Config) -> Supervisor:
    """supervisord, as the config says to reach it.

    Without its password, which may be unreadable by now, supervisord refuses: that is a failure of the logs that it
    holds, and of no others.
    """
    settings = config.supervisor
    try:
        return Supervisor(settings.url, settings.username or "", settings.password() or "")
    except MaintdError as error:
        return Supervisor(settings.url, settings.username or "", without=str(error))
