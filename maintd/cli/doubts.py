"""What is valid in a config and yet hardly works on this machine, each as a warning with its place."""

import os
import stat as st
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from maintd import capabilities, contexts, grounds
from maintd.cli import lodging, shelves
from maintd.cli.prospect import Prospect
from maintd.cli.sets import KIND, sets
from maintd.config import Config, shared_logs
from maintd.errors import MaintdError, Problem
from maintd.names import enumerated, printable
from maintd.rules import Options
from maintd.supervisor import Supervisor
from maintd.units import format_size

_SECRET = ("password_file", "token_file", "access_key_id_file", "secret_access_key_file", "identity_file")
_MOST = 20
"""Warnings of one kind about one job; more say no more."""


def doubts(config: Config, found: Iterable[Prospect]) -> Iterator[Problem]:
    """Every warning about the jobs that are enabled. Asks supervisord, where a job is about logs."""
    enabled = [prospect for prospect in found if prospect.job.enabled]
    yield from config.warnings
    yield from lodging.of_state_dir(config)
    yield from shared_logs(config)
    stored = cache(lambda: shelves.originals(config))
    for prospect in enabled:
        yield from _misses(config, prospect, stored)
        yield from _not_writable(config, prospect)
    for name, message in shelves.trespasses(config, enabled):
        yield _warning(config, name, message, "paths")
    for name, message in shelves.unguarded(enabled):
        yield _warning(config, name, message, "to")
    supervisor = contexts.supervisor(config)
    yield from _rollovers(config, [prospect for prospect in enabled if prospect.job.claims()], supervisor)
    for prospect in enabled:
        yield from _linked(config, prospect)
        yield from _rotated_too(config, prospect)
        for option, message in prospect.job.doubts(supervisor):
            yield _warning(config, prospect.name, message, option)
        for option, message in _secrets(prospect.job):
            yield _warning(config, prospect.name, message, option)
    yield from _other_hosts(config, enabled)
    yield from _capabilities(config, enabled)
    yield from _unfenced(config, enabled)


def _warning(config: Config, name: str, message: str, option: str = "") -> Problem:
    whole = f"{name}.{option}" if option else name
    return Problem(*config.place(name, option), f"{whole}: {message}", "warning")


def _secrets(table: Options, within: str = "") -> Iterator[tuple[str, str]]:
    """The files with secrets that options name and that are not there, or that others may read: (option, what)."""
    for name in type(table).model_fields:
        value = getattr(table, name)
        if isinstance(value, Options):
            yield from _secrets(value, f"{within}{name}.")
        elif name in _SECRET and value is not None and (said := _of_secret(value)):
            yield f"{within}{name}", said


def _of_secret(path: str) -> str:
    """What is wrong with a file that holds a secret; "" if nothing is."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return f"{printable(path)} cannot be read: {error.strerror}"
    if not st.S_ISREG(mode):
        return f"{printable(path)} is not a regular file"
    return f"others may read {printable(path)}: chmod 600 {path}" if mode & 0o077 else ""


def _misses(config: Config, prospect: Prospect, stored: Callable[[], frozenset[str]]) -> Iterator[Problem]:
    """What patterns name that is not there, or is no file; not where the job has done its work on all of it.

    Nor if it is not to be there (`absent` of `check.file`).
    """
    is_well = getattr(prospect.job, "absent", False)
    misses = [
        miss
        for miss in (prospect.files.misses if prospect.files else ())
        if not (miss.missing and (is_well or shelves.has_done_its_work(prospect.job, miss.path, stored)))
    ]
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


def _linked(config: Config, prospect: Prospect) -> Iterator[Problem]:
    """Logs with two names, which are not rotated: who writes the other one nobody can say."""
    if prospect.job.claims() and prospect.files:
        linked = [match.path for match in prospect.files.matches if match.stat.st_nlink > 1]
        if linked:
            why = "a log with a second name (hard link) is refused"
            yield _warning(config, prospect.name, f"{printable(enumerated(linked))} will not be rotated: {why}")


def _rotated_too(config: Config, prospect: Prospect) -> Iterator[Problem]:
    """Files that are compressed or archived by one job, and are the logs of another."""
    if prospect.job.claims() or prospect.job.kind not in ("compress", "archive") or not prospect.files:
        return
    paths = [match.path for match in prospect.files.matches]
    owners = config.claims.owners(paths, before="")
    for owner in sorted(set(owners.values())):
        shared = [path for path in paths if owners.get(path) == owner]
        message = f"{printable(enumerated(shared))}: rotated by {owner} too; exclude it in one of the two jobs"
        yield _warning(config, prospect.name, message, "paths")


def _other_hosts(config: Config, found: list[Prospect]) -> Iterator[Problem]:
    """Drills that go by the snapshots of another machine than the backup job of their set."""
    known = sets(config)
    for prospect in found:
        drill: Any = prospect.job
        if drill.kind == "drill" and drill.set in known and known[drill.set].machine != drill.machine:
            made = f'{KIND}.{drill.set} makes those of "{known[drill.set].machine}"'
            message = f'{made}, and this goes by those of "{drill.machine}" if it has any'
            yield _warning(config, prospect.name, message, "host" if drill.host else "")


def _rollovers(config: Config, found: list[Prospect], supervisor: Supervisor) -> Iterator[Problem]:
    """Logs that supervisord rolls over by itself: it keeps `.1`, `.2`, … and deletes, beside what maintd keeps."""
    if not found:
        return
    try:
        own = supervisor.own_rollovers()
    except MaintdError as error:
        place = config.place("supervisor", "url") if "supervisor" in config.sources else (config.files[0], 0, 0)
        hint = f" ({error.hint})" if error.hint else ""
        message = f"{error}{hint}, so it is not known which logs it rolls over itself, nor which programs it has"
        yield Problem(*place, f"supervisor: {message}", "warning")
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
    """The files of each job that this process lacks a capability for."""
    missing = capabilities.missing()
    for prospect in found if missing else ():
        matches = prospect.files.matches if prospect.files else ()
        lacking = {match.path: capabilities.lacking(match.path, match.stat, missing) for match in matches}
        cannot = [path for path, names in lacking.items() if names]
        if cannot:
            wanted = [name for name in missing if any(name in names for names in lacking.values())]
            why = "; ".join(f"{name}: {capabilities.NEEDED[name][1]}" for name in wanted)
            message = f"{printable(enumerated(cannot))} cannot be worked on for want of capabilities ({why})"
            yield _warning(config, prospect.name, message)


def _unfenced(config: Config, found: list[Prospect]) -> Iterator[Problem]:
    """The directories of each job that others can write, if the kernel cannot fence root's work there."""
    for prospect in found if capabilities.LANDLOCK in capabilities.missing() else ():
        folders = {os.path.dirname(match.path) for match in (prospect.files.matches if prospect.files else ())}
        shared = [folder for folder in sorted(folders) if grounds.is_shared(folder)]
        if shared:
            message = (
                f"{printable(enumerated(shared))} can be written by others than root, and this kernel has no Landlock"
            )
            yield _warning(config, prospect.name, f"{message} to fence root's work there; it goes by descriptors alone")
