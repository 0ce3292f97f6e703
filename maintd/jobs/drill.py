"""The kind `drill`: restores the newest snapshot of a set into a scratch directory, and checks what comes out."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from maintd import destinations, extras, hosts, names, snapshots
from maintd.errors import MaintdError
from maintd.job import AbsolutePath, Context, Flag, Job
from maintd.names import printable
from maintd.rules import rule
from maintd.snapshots import Snapshot
from maintd.steps import Finding, Step
from maintd.store_options import ObjectStore, Place, RepositoryUrl, misplaced, store
from maintd.stores import SCHEME, Repository, Store
from maintd.supervisor import Supervisor
from maintd.triggers import Asked


class RestoreDrill(Job):
    """Proves on a schedule that the newest snapshot of a set can be restored, and finds damage in the others."""

    kind: ClassVar[str] = "drill"

    destination: Place | None = Field(default=None, description="where the snapshots are, as its backup job has it")
    repository: RepositoryUrl | None = Field(
        default=None, description="or the repository of restic, as its backup job has it"
    )
    password_file: AbsolutePath | None = Field(
        default=None, description="with repository: the file that holds its password"
    )
    s3: ObjectStore | None = Field(default=None, description="how an object store is reached, as its backup job has it")
    set: str = Field(description="the name of the backup job: `app` for [backup.app]")
    host: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="whose snapshots, by host name; default: this machine's, or those of the only one that has any",
    )
    scratch: AbsolutePath | None = Field(
        default=None,
        description="where there is room for a restore, for the moment; default: the destination, or state_dir",
    )
    identity_file: AbsolutePath | None = Field(default=None, description="the secret key of encrypted snapshots")
    verify_all: Flag = Field(
        default=True,
        description="compare also the older snapshots with their checksums; of restic, read all data of the repository",
    )

    @rule("s3", "destination")
    def _is_an_object_store(self) -> str:
        return misplaced(self.s3, self.destination or "", "destination")

    @rule("destination", "repository", "password_file")
    def _has_one_place(self) -> str:
        if self.repository is None:
            return "" if self.destination else "destination is missing: where are the snapshots?"
        if self.destination:
            return "destination and repository are two places: give one"
        return "" if self.password_file else "repository needs password_file"

    def place(self) -> Store:
        """Where the snapshots are; a directory without links in its path."""
        to = self.destination or ""
        return replace(store(to if to.startswith(SCHEME) else os.path.realpath(to), self.s3), host=self.host or "")

    @property
    def machine(self) -> str:
        """Whose snapshots it goes by, if that has any."""
        return self.host or hosts.this()

    def plan(self, ctx: Context) -> Iterator[Step]:
        from maintd.actions.drill import Drill  # noqa: PLC0415 - reading a config does not need what acts

        place = self.place()
        if isinstance(ctx.cause, Asked) and ctx.cause.due_only:
            yield Finding(
                target=self.repository or place.to, reason="only the daemon knows whether it is due: left out by --due"
            )
            return
        if self.repository is not None:
            yield from self._of_restic(ctx)
            return
        try:
            there = destinations.found(place, self.set)
            found = hosts.of_one(there, place.host)
        except MaintdError as error:
            yield self._failing(f"the snapshots of {self.set}", place.to, str(error), error.hint)
            return
        for one in found:
            if one.manifest is None:
                advice = one.hint or "it cannot be restored: move it away if you know it"
                yield self._failing(one.label, one.path, one.trouble, advice)
        newest = next((one for one in reversed(found) if one.is_verified), None)
        if newest is None:
            yield self._nothing(place.to, found)
            return
        yield from self._passed_over(there, found, place.to)
        if self.verify_all:
            yield from self._verifications(found, newest, ctx)
        default = place.directory(ctx.stores) if place.is_remote else place.to
        scratch = os.path.realpath(self.scratch) if self.scratch else default
        yield Drill(
            target=newest.path,
            reason=self._why(found),
            store=place,
            snapshot=newest,
            scratch=os.path.join(scratch, names.temporary(f"{self.set}.drill")),
            identity=self.identity_file,
            now=ctx.now,
            taken=newest.taken,
        )

    def _of_restic(self, ctx: Context) -> Iterator[Step]:
        from maintd.actions.repository import DrillWithRestic, VerifyRepository  # noqa: PLC0415 - as above

        where = self._repository(ctx)
        try:
            there = destinations.in_repository(where, self.set)
            found = hosts.of_one(there, where.host)
        except MaintdError as error:
            yield self._failing(f"the snapshots of {self.set}", where.url, str(error), error.hint)
            return
        newest = next((one for one in reversed(found) if one.is_verified), None)
        if newest is None:
            yield self._nothing(where.url, found)
            return
        yield from self._passed_over(there, found, where.url)
        scratch = os.path.realpath(self.scratch) if self.scratch else os.path.join(ctx.stores, "drills")
        yield DrillWithRestic(
            target=newest.path,
            reason=self._why(found),
            repository=where,
            set=self.set,
            scratch=os.path.join(scratch, names.temporary(f"{self.set}.drill")),
            now=ctx.now,
            taken=newest.name.stamp,
            proven=newest.proven,
        )
        if self.verify_all:
            reason = "a byte that has flipped where it lies is found by reading it alone"
            yield VerifyRepository(target=where.url, reason=reason, repository=where, set=self.set, now=ctx.now)

    def _repository(self, ctx: Context) -> Repository:
        return Repository(
            self.repository or "", self.password_file or "", os.path.join(ctx.stores, "restic"), self.host or ""
        )

    def remark(self, ctx: Context) -> str:
        if self.repository is None:
            return destinations.standing(self.place(), self.set)
        try:
            where = self._repository(ctx)
            return snapshots.standing(hosts.of_one(destinations.in_repository(where, self.set), where.host))
        except MaintdError:  # the run itself tells it
            return ""

    def _why(self, found: Sequence[Snapshot]) -> str:
        last = max((one.proven for one in found if one.proven), default=None)
        return f"a restore was last proven {last:%Y-%m-%d %H:%M} UTC" if last else "no restore was proven yet"

    def _passed_over(self, there: Sequence[Snapshot], found: Sequence[Snapshot], target: str) -> Iterator[Finding]:
        """Who has named the machine in the config knows whose snapshots these are: then it is not told."""
        from maintd.actions.drill import DrillShared  # noqa: PLC0415 - as above

        if self.host is None and (newer := hosts.newer(there, found)):
            event = DrillShared(target=target, of=self.set, whose=hosts.told(newer), host=hosts.this())
            yield Finding(target=target, reason=event.msg, event=event)

    def _nothing(self, place: str, found: Sequence[Snapshot]) -> Finding:
        if found:
            why = f"none of its {len(found)} snapshots is verified"
            advice = f"maintd backups {self.set} says why; maintd do backup.{self.set} takes a new one"
            return self._failing(f"the set {self.set}", place, why, advice)
        why, advice = (
            f"there is no snapshot of {self.set}",
            f"maintd do backup.{self.set} takes one; or correct destination and set",
        )
        return self._failing(f"the set {self.set}", place, why, advice)

    def _failing(self, what: str, target: str, why: str, advice: str) -> Finding:
        from maintd.actions.drill import DrillFailed  # noqa: PLC0415 - as above

        event = DrillFailed(target=target, tried=f"drill {what}", error="unusable", error_msg=why, advice=advice)
        return Finding(target=target, reason=why, event=event)

    def _verifications(self, found: Sequence[Snapshot], newest: Snapshot, ctx: Context) -> Iterator[Step]:
        """Each pack is read once: by the drill, or for the oldest snapshot that has it."""
        from maintd.actions.drill import Verify  # noqa: PLC0415 - as above

        read = set(newest.packs)
        for one in found:
            if one.manifest is None or (one.damage and not one.is_unnoted) or one is newest:
                continue
            own = None if one.is_unnoted else tuple(name for name, inode in one.inodes.items() if inode not in read)
            read |= one.packs
            yield Verify(
                target=one.path,
                reason="a byte that has flipped where it lies is found by its checksum alone",
                store=self.place(),
                packs=own,
                now=ctx.now,
                stored=one.stored,
            )

    def doubts(self, _supervisor: Supervisor) -> Iterator[tuple[str, str]]:
        if self.place().is_remote and (said := extras.lacking("obstore")):
            yield "destination", said
        if self.destination and not self.place().is_remote and not os.path.isdir(self.place().to):
            yield "destination", f"there is no directory {printable(self.place().to)}, so there are no snapshots yet"
