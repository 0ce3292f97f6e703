"""What archives hold, as far as it concerns the patterns of jobs: what was put away, and what others would take out."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from maintd import contexts, grounds, inventory, names, patterns
from maintd.claims import Claim
from maintd.cli.prospect import Prospect
from maintd.config import Config
from maintd.job import Job
from maintd.matching import split
from maintd.names import printable
from maintd.values import dataclass


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
    if job.takes() is None:
        return False
    made = job.makes(pattern)
    if made and patterns.expand(made).matches:
        return True
    prefix = split(pattern)
    return any(prefix.is_match(path) for path in stored())


@dataclass(frozen=True)
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
        taken = prospect.job.takes() or Claim(())
        wanted, unwanted = tuple(map(split, taken.paths)), tuple(map(split, taken.exclude))
        has_ours = prospect.job.takes_archives
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


def unguarded(found: Iterable[Prospect]) -> Iterator[tuple[str, str]]:
    """Archives that others than their owners can write into: (job, message)."""
    for prospect in found:
        place = prospect.job.archive()
        if place is None or place.is_remote:
            continue
        with suppress(OSError):
            root = grounds.resolve(place.to)
            if inventory.is_unguarded(os.stat(root)):
                yield prospect.name, f"others can remove and replace what lies in {printable(root)}: chmod go-w, or +t"
            elif inventory.read(root).is_open:
                path = printable(os.path.join(root, inventory.NAME))
                yield prospect.name, f"others can write {path}, so no owners are believed of it: chmod go-w"
            elif prospect.job.takes() is None and (owner := os.stat(root).st_uid) not in (0, os.geteuid()):
                said = f"{printable(root)} is {grounds.user_name(owner)}'s"
                yield prospect.name, f"{said}: a guard gives up no files of others for being stored there"


def _shelves(found: Iterable[Prospect]) -> Iterator[_Shelf]:
    for prospect in found:
        place = prospect.job.archive()
        if place is None or place.is_remote:
            continue
        root, stored = grounds.resolve(place.to), dict[str, None]()
        with suppress(OSError):
            stored = dict.fromkeys(entry.name for entry in inventory.read(root).entries.values())
        matches = prospect.files.matches if prospect.files else ()
        stored |= dict.fromkeys(prospect.job.stored_as(match.path) for match in matches)
        yield _Shelf(prospect.name, root, tuple(os.path.normpath(os.path.join(root, name)) for name in stored))


def _is_at_home(job: Job, root: str) -> bool:
    """Whether an archive is the job's own, or lies in it: from there it takes nothing."""
    place = job.archive()
    return place is not None and not place.is_remote and f"{root}/".startswith(f"{grounds.resolve(place.to)}/")
