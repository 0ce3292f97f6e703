"""What is valid in a config and yet hardly works on this machine, each as a warning with its place."""

import os
from collections.abc import Iterable, Iterator

from maintd import capabilities, contexts
from maintd.cli.prospect import Prospect
from maintd.config import Config, shared_logs
from maintd.errors import Problem, Unreachable
from maintd.names import printable
from maintd.units import format_size

_MOST = 20
"""Warnings of one kind about one job; more say no more."""


def doubts(config: Config, found: Iterable[Prospect]) -> Iterator[Problem]:
    """Every warning about the jobs that are enabled. Asks supervisord, where a job is about logs."""
    enabled = [prospect for prospect in found if prospect.job.enabled]
    yield from config.warnings
    yield from shared_logs(config)
    for prospect in enabled:
        yield from _misses(config, prospect)
        yield from _not_writable(config, prospect)
    yield from _rollovers(config, [prospect for prospect in enabled if prospect.job.claims()])
    yield from _capabilities(config, enabled)


def _warning(config: Config, name: str, message: str) -> Problem:
    return Problem(*config.place(name), f"{name}: {message}", "warning")


def _misses(config: Config, prospect: Prospect) -> Iterator[Problem]:
    misses = prospect.files.misses if prospect.files else []
    for miss in misses[:_MOST]:
        yield _warning(config, prospect.name, f"{printable(miss.path)}: {miss.reason}")
    if len(misses) > _MOST:
        yield _warning(config, prospect.name, f"and {len(misses) - _MOST} more that cannot be worked on")


def _not_writable(config: Config, prospect: Prospect) -> Iterator[Problem]:
    """Directories in which nothing can be renamed. The root user may, but on a read-only file system."""
    folders = {os.path.dirname(match.path) for match in (prospect.files.matches if prospect.files else ())}
    closed = [folder for folder in sorted(folders) if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True)]
    for folder in closed[:_MOST]:
        yield _warning(
            config, prospect.name, f"{printable(folder)}: may not be written by this user (uid {os.geteuid()})"
        )


def _rollovers(config: Config, found: list[Prospect]) -> Iterator[Problem]:
    """Logs that supervisord rolls over by itself: it keeps `.1`, `.2`, … and deletes, beside what maintd keeps."""
    if not found:
        return
    try:
        own = contexts.supervisor(config).own_rollovers()
    except Unreachable:  # it need not run where a config is checked
        return
    for prospect in found:
        for match in prospect.files.matches if prospect.files else ():
            if match.path in own:
                limit = format_size(own[match.path])
                yield _warning(
                    config,
                    prospect.name,
                    f"{printable(match.path)}: supervisord itself rolls it over at {limit}; "
                    "set stdout_logfile_maxbytes (stderr_…) = 0 in its section",
                )


def _capabilities(config: Config, found: list[Prospect]) -> Iterator[Problem]:
    """What this process may not do, if a job names files of other users."""
    missing = capabilities.missing()
    others = [
        (prospect.name, match.path)
        for prospect in found
        for match in (prospect.files.matches if prospect.files else ())
        if match.stat.st_uid != os.geteuid()
    ]
    if missing and others:
        name, path = others[0]
        cannot = "; ".join(f"{capability}: {capabilities.NEEDED[capability][1]}" for capability in missing)
        yield _warning(
            config, name, f"{printable(path)} belongs to another user, and these capabilities lack: {cannot}"
        )
