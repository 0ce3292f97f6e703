"""What archives hold, as far as it concerns the patterns of jobs: what was put away, and what others would take out."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from maintd import contexts, grounds, inventory, names, patterns
from maintd.cli.prospect import Prospect
from maintd.config import Config
from maintd.job import Job
from maintd.jobs.archive import ArchiveFiles
from maintd.jobs.compress import CompressFiles
from maintd.jobs.expire import ExpireFiles
from maintd.matching import Prefix, split
from maintd.names import printable


def originals(config: Config) -> frozenset[str]:
    """The paths that archived files had, by what this machine knows of the archives of the config."""
    found: set[str] = set()
    for place in dict.fromkeys(job.archive() for job in config.jobs.values()):
        if place is not None:
            with suppress(OSError):
                root = place.directory(contexts.stores(config)) if place.is_remote else grounds.resolve(place.to)
                found.update(entry.original for entry in inventory.read(root).entries.values())
    return frozenset(found)


def has_done_its_work(job: Job, pattern: str, stored: Callable[[], Iterable[str]]) -> bool:
    """Whether a pattern names nothing because what it named was archived, or compressed; then it is no slip."""
    prefix = split(pattern)
    if isinstance(job, CompressFiles):
        packed = [f"{pattern}{suffix}" for suffix in names.CODEC_SUFFIXES.values() if suffix]
        if patterns.expand(packed, job.exclude).matches:
            return True
    if isinstance(job, ArchiveFiles | ExpireFiles | CompressFiles):
        return any(prefix.is_match(path) for path in stored())
    return False


@dataclass(frozen=True, slots=True)
class _Shelf:
    """An archive in a directory, with paths of what lies in it, or would, as its job names files."""

    job: str
    root: str
    paths: tuple[str, ...]


def trespasses(config: Config, found: Iterable[Prospect]) -> Iterator[tuple[str, str]]:
    """Jobs whose patterns name what lies in an archive of another, and that would change it: (job, message)."""
    prospects = list(found)
    shelves = list(_shelves(prospects))
    for prospect in prospects:
        wanted, unwanted, has_ours = _patterns(prospect.job)
        for shelf in shelves:
            if _is_at_home(prospect.job, shelf.root):
                continue
            named = (
                path
                for path in shelf.paths
                if (has_ours or not names.is_ours(os.path.basename(path)))
                and not config.own.has(path)
                and any(pattern.is_match(path) for pattern in wanted)
                and not any(pattern.is_match(path) for pattern in unwanted)
            )
            path = next(named, None)
            if path is not None:
                yield (
                    prospect.name,
                    (
                        f"its patterns name what lies in the archive of {shelf.job} ({printable(path)}): its manifest "
                        f"would list what is not there: exclude {printable(shelf.root)}/**; "
                        f"{shelf.job} has keep_last, max_age, … for what is to go from it"
                    ),
                )


def _shelves(found: Iterable[Prospect]) -> Iterator[_Shelf]:
    for prospect in found:
        job = prospect.job
        if isinstance(job, ArchiveFiles) and not job.archive().is_remote:
            root = grounds.resolve(job.to)
            stored: dict[str, None] = {}
            with suppress(OSError):
                stored = dict.fromkeys(entry.name for entry in inventory.read(root).entries.values())
            stored |= dict.fromkeys(
                job.stored_as(match.path) for match in (prospect.files.matches if prospect.files else ())
            )
            yield _Shelf(prospect.name, root, tuple(os.path.normpath(os.path.join(root, name)) for name in stored))


def _patterns(job: Job) -> tuple[tuple[Prefix, ...], tuple[Prefix, ...], bool]:
    """What a job changes, what it leaves alone, and whether it also takes what rotations have set aside."""
    if isinstance(job, ArchiveFiles | ExpireFiles | CompressFiles):
        has_ours = not isinstance(job, CompressFiles)
        return tuple(map(split, job.paths)), tuple(map(split, job.exclude)), has_ours
    claim = job.claims()
    return (tuple(map(split, claim.paths)), tuple(map(split, claim.exclude)), False) if claim else ((), (), False)


def _is_at_home(job: Job, root: str) -> bool:
    """Whether a job takes nothing out of an archive: its own, or as it leaves what it copies."""
    if not isinstance(job, ArchiveFiles):
        return False
    return job.keep_originals or (not job.archive().is_remote and f"{root}/".startswith(f"{grounds.resolve(job.to)}/"))
