"""Finds in a child what a set consists of now, and what it lacks by its last sound snapshot."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any

from maintd import asides, destinations, names, offsite, restored, snapshots, sources
from maintd.child import Progress
from maintd.errors import MaintdError
from maintd.folded import Folded
from maintd.manifest import Manifest
from maintd.sources import Found
from maintd.survey import Request, Survey
from maintd.wanting import Wanted


def survey(progress: Progress, *, request: dict[str, Any]) -> dict[str, Any]:
    """In the child: reads the disk, and the manifest of the last sound snapshot."""
    wanted = Request.read(request)
    found = sources.find(wanted.databases, wanted.files, wanted.exclude, wanted.own, wanted.apart)
    names_any = partial(sources.names_any, own=wanted.own, apart=wanted.apart)
    named = Wanted((*wanted.databases, *wanted.files), wanted.exclude, names_any)
    found.having = named.having(found)
    lacking = named.lacking(found, _manifest(wanted), cache(partial(_had, progress, wanted)))
    rest = [miss for miss in found.misses if miss not in lacking]
    left_out = [f"{names.printable(miss.path)}: {miss.reason}" for miss in rest]
    told = [miss for miss in rest if wanted.tells_all or miss.error is not None]
    half, unread = _half_restored(wanted, found)
    return Survey(
        databases=tuple(found.databases),
        files=Folded.of(found.files, left_out),
        having=tuple(found.having),
        strange=tuple(found.strange),
        lacking=tuple(lacking),
        misses=tuple(told),
        half=half,
        unread=unread,
    ).fields()


def _manifest(wanted: Request) -> Manifest | None:
    if not wanted.last or wanted.repository:
        return None
    if wanted.store.is_remote:
        return offsite.manifest_of(wanted.store, wanted.last)
    return snapshots.whole(wanted.last)


def _had(progress: Progress, wanted: Request) -> Sequence[str]:
    """The sources of which the last sound snapshot in a repository has anything; none if that cannot be read."""
    with suppress(MaintdError):
        if wanted.repository and wanted.last:
            where = wanted.repository.fields()
            return restored.sources(progress, repository=where, snapshot=destinations.id_of(wanted.last))
    return ()


def _half_restored(wanted: Request, found: Found) -> tuple[tuple[str, str] | None, str]:
    paths = {one.seen.path for one in found.databases} | {one.path for one in found.files}
    try:
        return asides.half_done_by_others(wanted.state_dir, wanted.of, paths), ""
    except MaintdError as error:
        return None, str(error)
