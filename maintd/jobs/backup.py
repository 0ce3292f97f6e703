"""The kind `backup`: databases, files and output of commands into one verified snapshot, and old snapshots deleted."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from maintd import destinations, extras, grounds, hosts, patterns, retention, snapshots
from maintd.accounts import UserName
from maintd.child import Worker
from maintd.errors import Denied, MaintdError
from maintd.job import AbsolutePath, Argv, Context, Count, FilePattern, Job, Level, Limit, Span
from maintd.own_files import OwnFiles
from maintd.rules import rule
from maintd.snapshots import Snapshot
from maintd.steps import Finding, Step
from maintd.store_options import ObjectStore, Place, RepositoryUrl, misplaced, store
from maintd.stores import SCHEME, Repository, Store
from maintd.supervisor import Supervisor
from maintd.triggers import Asked

if TYPE_CHECKING:
    from maintd.backing_up import Policy
    from maintd.depots import Depot
    from maintd.survey import Request, Survey

_NOTE = "it is the note of a restore in place: see what it says"
_OutputName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class Backup(Job):
    """Takes live SQLite databases, files and the output of commands into one snapshot that is verified."""

    kind: ClassVar[str] = "backup"

    engine: Literal["maintd", "restic"] = Field(
        default="maintd", description="whose snapshots they are: maintd's own, or those of a repository of restic"
    )
    repository: RepositoryUrl | None = Field(
        default=None, description='with restic: the repository, as restic has it ("/srv/restic", "s3:https://…/bucket")'
    )
    password_file: AbsolutePath | None = Field(
        default=None, description="with restic: the file that holds the password of the repository"
    )
    destination: Place | None = Field(
        default=None,
        description="the directory for snapshots, which maintd's user alone may write; or s3://bucket/prefix in an "
        "object store (needs the extra s3)",
    )
    s3: ObjectStore | None = Field(default=None, description="how an object store is reached: endpoint, region, keys")
    databases: tuple[FilePattern, ...] = Field(default=(), description="live SQLite databases, by glob patterns")
    files: tuple[AbsolutePath, ...] = Field(
        default=(), description="files by glob patterns, and directories, also by patterns, with all that is below"
    )
    exclude: tuple[FilePattern, ...] = Field(
        default=(), description="patterns of files, and of directories with all that is below, that are left out"
    )
    commands: Mapping[_OutputName, Argv] = Field(
        default={}, description="file names with commands whose output they get, such as a dump; never through a shell"
    )
    command_user: UserName | None = Field(default=None, description="whom the commands run as; default: maintd's user")
    command_timeout: Span = Field(default=timedelta(hours=1), description="a command that takes longer is ended")
    invariants: Mapping[FilePattern, tuple[str, ...]] = Field(
        default={}, description="for databases by pattern, queries that return no row if the copy is right"
    )
    query_timeout: Span = Field(default=timedelta(minutes=1), description="an invariant that takes longer is ended")
    max_pause: Span = Field(
        default=timedelta(seconds=1),
        description="for how long writers of a database that is not in WAL mode may be held up",
    )
    level: Level | None = Field(default=None, description="the level of zstd; default: 1")
    recipient: str | None = Field(
        default=None, pattern=r"^age1[a-z0-9]+$", description="a public key of age to which the packs are encrypted"
    )
    full_every: Span = Field(
        default=timedelta(days=30), description="what did not change for so long is stored again all the same"
    )
    programs: tuple[str, ...] = Field(
        default=(), description="programs of supervisord that are stopped while the set is restored in place"
    )
    checks: tuple[Argv, ...] = Field(
        default=(), description="commands that must succeed after a restore in place, or it is undone"
    )
    host: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="the machine whose snapshots they are, others' are let be; default: the host name",
    )
    keep: Count | None = Field(default=None, description="so many snapshots stay")
    keep_within: Span | None = Field(default=None, description="all younger than this stay")
    max_age: Span | None = Field(default=None, description="snapshots older than this go")
    max_total: Limit | None = Field(default=None, description="the oldest go while all of the set take more than this")

    @rule("databases", "files", "commands")
    def _has_sources(self) -> str:
        is_something = self.databases or self.files or self.commands
        return "" if is_something else "there is nothing to back up: set databases, files or commands"

    @rule("s3", "destination")
    def _is_an_object_store(self) -> str:
        return misplaced(self.s3, self.destination or "", "destination")

    @rule("engine", "destination", "repository", "password_file")
    def _has_one_place(self) -> str:
        if self.engine == "restic":
            if not (self.repository and self.password_file):
                return 'engine = "restic" needs repository and password_file'
            return "restic stores in repository: leave destination out" if self.destination else ""
        if self.repository or self.password_file:
            return 'repository and password_file are for engine = "restic"'
        return "" if self.destination else "destination is missing: where are the snapshots to go?"

    @rule("engine", "recipient", "level", "max_total")
    def _is_maintds_own(self) -> str:
        given = [name for name in ("recipient", "level", "max_total") if getattr(self, name) is not None]
        return (
            f"{given[0]} is not for restic, which does that in its own way" if given and self.engine != "maintd" else ""
        )

    def place(self) -> Store:
        """Where its snapshots are; a directory without links in its path."""
        to = self.destination or ""
        return replace(store(to if to.startswith(SCHEME) else os.path.realpath(to), self.s3), host=self.machine)

    @property
    def machine(self) -> str:
        """Whose the snapshots are."""
        return self.host or hosts.this()

    def repository_of(self, stores: str) -> Repository | None:
        """The repository of restic, with a cache below that directory; None for maintd's own snapshots."""
        if self.repository is None or self.password_file is None:
            return None
        return Repository(self.repository, self.password_file, os.path.join(stores, "restic"), self.machine)

    def keeps(self, name: str) -> OwnFiles:
        if self.repository is not None:
            return OwnFiles.at([self.repository] if self.repository.startswith("/") else [])
        place = self.place()
        return OwnFiles() if place.is_remote else OwnFiles(sets=(os.path.join(place.to, self._of(name)),))

    def plan(self, ctx: Context) -> Iterator[Step]:
        from maintd import backing_up, depots, survey  # noqa: PLC0415 - reading a config does not need what acts

        of = self._of(ctx.job)
        depot = depots.of(self.place(), self.repository_of(ctx.stores), ctx.stores)
        if half := self._half_restored(ctx, of):
            yield half
            return
        yield from depots.leftovers(depot.making, of, ctx.stores)
        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(target=depot.where, reason="only the daemon knows whether it is due: left out by --due")
            return
        yield from self._unknown_programs(ctx.supervisor)
        meddler = _meddler(depot.making) if depot.where == depot.making else ""
        if meddler:
            yield backing_up.failing(
                depot.where, f"{meddler} could change snapshots there", "give it to root alone (0700)"
            )
            return
        try:
            with Worker(background=False, parting=signal.SIGTERM) as worker:
                there = depot.look(of, worker)
                found = survey.asked(worker, self._wanted(ctx, depot, there.snapshots))
        except MaintdError as error:
            yield backing_up.failing(depot.where, str(error), error.hint)
            return
        if half := self._half_restored_by_others(of, found):
            yield half
            return
        yield from backing_up.without(found)
        yield from patterns.findings(found.misses, asked=isinstance(ctx.cause, Asked))
        if found.is_empty and not self.commands:
            yield Finding(target=depot.where, reason="none of its sources is there")
            return
        yield from depot.clearing(there, of)
        yield from backing_up.plan_snapshot(found, there.snapshots, depot, self._policy(of, ctx), ctx.now)

    def _wanted(self, ctx: Context, depot: "Depot", there: Sequence[Snapshot]) -> "Request":
        from maintd import survey  # noqa: PLC0415 - as above

        return survey.Request(
            databases=self.databases,
            files=self.files,
            exclude=self.exclude,
            own=ctx.own.but_config(),
            apart=depot.making,
            of=self._of(ctx.job),
            last=survey.last_sound(hosts.divided(there, self.machine)[0]),
            store=self.place(),
            repository=self.repository_of(ctx.stores),
            state_dir=os.path.dirname(ctx.stores),
            tells_all=isinstance(ctx.cause, Asked),
        )

    def _unknown_programs(self, supervisor: Supervisor) -> Iterator[Step]:
        """Nobody may notice before a restore in place finds it open."""
        from maintd.actions.staging import ProgramMissed  # noqa: PLC0415 - as above

        for program in self.programs:
            try:
                supervisor.program(program)
            except Denied:
                reason = f"supervisord knows no program {program}"
                yield Finding(target=program, reason=reason, event=ProgramMissed(target=program, reason=reason))
            except MaintdError:  # whom it cannot ask it learns nothing of
                return

    def _half_restored(self, ctx: Context, of: str) -> Finding | None:
        """What is there would be taken for a sound state, and the snapshot that it comes from might be given up."""
        from maintd import asides, backing_up  # noqa: PLC0415 - as above

        try:
            half = asides.half_done(os.path.dirname(ctx.stores), of)
        except MaintdError as error:
            return backing_up.failing(f"the set {of}", str(error), _NOTE)
        return self._half(of, of, half) if half else None

    def _half_restored_by_others(self, of: str, found: "Survey") -> Finding | None:
        """The same, of the files that it has in common with another set."""
        from maintd import backing_up  # noqa: PLC0415 - as above

        if found.unread:
            return backing_up.failing(f"the set {of}", found.unread, _NOTE)
        return self._half(of, *found.half) if found.half else None

    def _half(self, of: str, restored: str, snapshot: str) -> Finding:
        from maintd import backing_up  # noqa: PLC0415 - as above

        why = f"a restore of {snapshot} in place is not done, or was cut off: what is there is half of it"
        return backing_up.failing(f"the set {of}", why, f"maintd restore {restored} --undo puts it back")

    def _of(self, job: str) -> str:
        """The name of the set, which is that of the job without its kind."""
        return job.partition(".")[2] or self.kind

    def _policy(self, of: str, ctx: Context) -> "Policy":
        from maintd.backing_up import Policy  # noqa: PLC0415 - as above

        rules = retention.Policy(self.keep, self.keep_within, self.max_age, self.max_total)
        return Policy(
            of=of,
            host=self.machine,
            is_host_named=self.host is not None,
            max_pause=self.max_pause,
            query_timeout=self.query_timeout,
            invariants=self.invariants,
            commands=self.commands,
            command_timeout=self.command_timeout,
            command_user=self.command_user,
            full_every=self.full_every,
            level=self.level,
            recipient=self.recipient,
            retention=retention.Policy() if ctx.clock_jumped else rules,
            programs=self.programs,
            checks=self.checks,
        )

    def found(self, of: str, stores: str) -> list[Snapshot]:
        """The snapshots that there are of a set, of all machines; `stores` is a private directory of maintd's.

        Raises MaintdError.
        """
        where = self.repository_of(stores)
        return destinations.in_repository(where, of) if where else destinations.found(self.place(), of)

    def remark(self, ctx: Context) -> str:
        try:
            found = self.found(self._of(ctx.job), ctx.stores)
            return snapshots.standing(hosts.seen(found, self.machine))
        except MaintdError:  # the run itself tells it
            return ""

    def doubts(self, supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        from maintd import absences  # noqa: PLC0415 - as above

        yield from absences.of_patterns({"databases": self.databases, "files": self.files})
        yield from absences.of_names({"programs": self.programs}, supervisor)
        for option, lines in (("commands", self.commands.values()), ("checks", self.checks)):
            for argv in lines:
                yield from absences.of_programs({option: argv})
        libraries = {"destination": "obstore"} if self.place().is_remote else {}
        libraries |= {"recipient": "pyrage"} if self.recipient is not None else {}
        yield from ((option, said) for option, library in libraries.items() if (said := extras.lacking(library)))
        if self.engine == "restic":
            yield from absences.of_programs({"engine": ("restic",)})
        if self.keep is None and self.max_age is None and self.max_total is None:
            yield "", "no snapshot is ever deleted: set keep, max_age or max_total"


def _meddler(destination: str) -> str:
    """Who besides maintd's user could change a destination, or, if that is not there, what it is to be made in."""
    while not os.path.isdir(destination) and destination != "/":
        destination = os.path.dirname(destination)
    info = os.stat(destination)
    if os.geteuid() == 0:
        return grounds.survey(destination).meddler
    return grounds.user_name(info.st_uid) if info.st_uid != os.geteuid() and info.st_mode & 0o022 else ""
