"""Which logs a person means: by a path, by a job, or by the end of a path without its suffix, as in `services/api`."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from maintd.cli.exits import usage
from maintd.cli.generations import Lineage
from maintd.cli.invocation import Invocation
from maintd.errors import MaintdError
from maintd.names import enumerated, printable
from maintd.values import dataclass

if TYPE_CHECKING:
    from maintd.claims import Claim
    from maintd.cli.places import Place
    from maintd.config import Config
    from maintd.own_files import OwnFiles
    from maintd.stores import Store

_Places = tuple["Place", ...]


@dataclass(frozen=True)
class _Known:
    """A log of a job, by its path, and where its archives lie."""

    job: str
    path: str
    archives: str
    places: _Places

    @property
    def lineage(self) -> Lineage:
        return Lineage(self.path, (self.archives,), self.places)

    def is_called(self, name: str) -> bool:
        """Whether `name` is its own, the end of its path, or its job's and its own, each with or without `.log`."""
        folder, base = os.path.split(self.path)
        wanted, _, last = name.rpartition("/")
        if last not in (base, os.path.splitext(base)[0]):
            return False
        return not wanted or wanted in (self.job, _short(self.job)) or folder.endswith(f"/{wanted}")


def lineages(called: Invocation, names: tuple[str, ...]) -> list[Lineage]:
    """The logs that are meant, each once. A path needs no config. A usage error says what is not there or not clear."""
    config = _config(called, needed=not all(map(_is_path, names)))
    found = [lineage for name in names for lineage in _meant(config, name)]
    return list(dict.fromkeys(found))


def _config(called: Invocation, *, needed: bool) -> "Config | None":
    if not needed and not os.path.exists(called.config):
        return None
    from maintd.config import load  # noqa: PLC0415 - it takes longer to load than most logs to be read

    try:
        return load(called.config)
    except (MaintdError, OSError):
        if needed:
            raise
        return None


def _is_path(name: str) -> bool:
    """Whether it can only be meant as one: a directory that is called like a job is none."""
    if name.startswith(("/", "./", "../")):
        return True
    return os.path.lexists(name) and not ("/" not in name and os.path.isdir(name))


def _meant(config: "Config | None", name: str) -> Iterator[Lineage]:
    if _is_path(name):
        yield _at(config, os.path.abspath(name))
        return
    assert config is not None
    jobs = [job for job in config.jobs if name in (job, _short(job)) and config.jobs[job].claims()]
    known = list(_known(config, jobs or None))
    logs = known if jobs else [log for log in known if log.is_called(name)]
    if not jobs and len({log.path for log in logs}) > 1:
        paths = enumerated([printable(log.path) for log in logs])
        raise usage(f"{name!r} may be any of {paths}: say more of its path")
    if not logs:
        what = "the job has no log just now" if jobs else f"no log and no job that rotates logs is called {name!r}"
        raise usage(f"{what}; name a path, a job, or the end of a path, as in services/api")
    yield from (log.lineage for log in logs)


def _at(config: "Config | None", path: str) -> Lineage:
    """The log at a path; the config knows where the archives of some lie."""
    if os.path.isdir(path):
        raise usage(f"{printable(path)} is a directory: name the logs in it, or the job that rotates them")
    owner = config.claims.owners([path], before="").get(path) if config else None
    claim = config.jobs[owner].claims() if config and owner else None
    places: _Places = _places(config) if config else ()
    if claim is None or claim.olddir is None:
        return Lineage(path, (), places)
    from maintd import families  # noqa: PLC0415 - as above

    return Lineage(path, (families.archive_directory(path, claim.olddir),), places)


def _known(config: "Config", jobs: list[str] | None) -> Iterator[_Known]:
    """The logs of all jobs, or of those, that are there or have left archives; each as its job's that owns it."""
    from maintd import families  # noqa: PLC0415 - as above

    for name, job in config.jobs.items():
        claim = job.claims()
        if claim is None or (jobs is not None and name not in jobs):
            continue
        places = _places(config)
        found, _ = families.find(claim.paths, claim.exclude, claim.olddir, config.own)
        logs = sorted({family.log for family in found} | set(_put_away(claim, places, config.own)))
        owners = config.claims.owners(logs, before=name)
        for log in logs:
            if log not in owners:
                yield _Known(name, log, families.archive_directory(log, claim.olddir), places)


def _put_away(claim: "Claim", places: _Places, own: "OwnFiles") -> Iterator[str]:
    """The logs of a job of which something lies in an archive, where their directories are still there."""
    if not places:
        return
    from maintd import families, patterns  # noqa: PLC0415 - as above
    from maintd.cli.generations import log_of  # noqa: PLC0415 - as above
    from maintd.cli.stored import originals  # noqa: PLC0415 - as above

    origins = families.folders(patterns.expand(claim.paths, claim.exclude, own=own).directories, claim.olddir)
    for folder, name in {os.path.split(original) for place in places for original in originals(place)}:
        logs = [os.path.join(origin, log_of(name)) for origin in origins.get(folder, ()) if log_of(name)]
        yield from (log for log in logs if families.has_name(log, claim.paths, claim.exclude))


def _places(config: "Config") -> _Places:
    """Where archive jobs put files, each archive once."""
    from maintd import contexts, whereabouts  # noqa: PLC0415 - as above
    from maintd.cli.places import Place  # noqa: PLC0415 - as above

    found: dict[Store, list[Claim | None]] = {}
    for job in config.jobs.values():
        if store := job.archive():
            found.setdefault(store, []).append(job.takes())
    places: list[Place] = []
    for store, claims in found.items():
        private = store.directory(contexts.stores(config))
        root = private if store.is_remote else os.path.realpath(store.to)
        named = () if None in claims else tuple(path for claim in claims if claim for path in claim.paths)
        places.append(Place(root, store if store.is_remote else None, named, whereabouts.is_noted(private)))
    return tuple(places)


def _short(job: str) -> str:
    return job.rpartition(".")[2]
