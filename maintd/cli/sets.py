"""The sets of a config that are backed up: where their snapshots are, and one snapshot by its name."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from maintd import contexts, destinations, hosts, names
from maintd.cli import output
from maintd.config import Config
from maintd.errors import MaintdError
from maintd.names import printable
from maintd.snapshots import Snapshot
from maintd.stores import SCHEME, Repository, Store
from maintd.units import counted

KIND = "backup"
PLACE_HELP = (
    "Look there, and not where the config says; needs no config. A directory, or s3://bucket/prefix, with the keys in "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL and AWS_REGION if it is not Amazon's."
)


def place_of(given: str) -> Store:
    """The place that a person names, without a config."""
    if not given.startswith(SCHEME):
        return Store(os.path.realpath(given))
    region = os.environ.get("AWS_REGION") or "us-east-1"
    return Store(given, endpoint=os.environ.get("AWS_ENDPOINT_URL") or None, region=region)


def sets(config: Config, only: str | None = None) -> dict[str, Any]:
    """The backup jobs by the names of their sets. A usage error if there is no such set."""
    found = {name.partition(".")[2] or KIND: job for name, job in config.jobs.items() if job.kind == KIND}
    if only is not None and only not in found:
        there = ", ".join(found) or "none"
        message = f"there is no set {only!r}; there are: {there}; one of a job that is gone is found by --in PLACE"
        raise click.UsageError(message, click.get_current_context())
    return {of: job for of, job in found.items() if only in (None, of)}


def place(config: Config, of: str) -> Store | Repository:
    """Where the snapshots of a set are."""
    job = sets(config, of)[of]
    found: Store | Repository = job.repository_of(contexts.stores(config)) or job.place()
    return found


def snapshot(where: Store | Repository, of: str, stamp: str) -> Snapshot:
    """The snapshot of a set that was taken at `stamp`, or the newest that is verified. Raises MaintdError.

    Newer ones that are passed over are told of.
    """
    if isinstance(where, Repository):
        return destinations.described(where, _chosen(destinations.in_repository(where, of), where, of, stamp))
    chosen = _chosen(destinations.found(where, of), where, of, stamp)
    return replace(chosen, manifest=destinations.whole(where, chosen))


def _chosen(there: Sequence[Snapshot], where: Store | Repository, of: str, stamp: str) -> Snapshot:
    """Of those of one machine; of a place that a person names, any by its stamp."""
    found = there if stamp and not where.host else hosts.of_one(there, where.host)
    place = where.to
    shown = {one.path for one in found}
    others = _whose([one for one in there if one.path not in shown], where)
    if stamp:
        at = [one for one in found if one.label == f"{of}@{stamp}"]
        if not at:
            raise MaintdError(
                f"there is no snapshot {of}@{stamp} in {place}", hint=f"maintd backups {of} lists them{others}"
            )
        if at[0].manifest is None:
            raise MaintdError(f"{at[0].label} cannot be read: {at[0].trouble}", hint=at[0].hint)
        return at[0]
    sound = [n for n, one in enumerate(found) if one.is_verified]
    if not sound:
        said = f"maintd backups {of} says what is wrong"
        raise MaintdError(
            f"there is no verified snapshot of {of} in {place}", hint=said + _all_the_same(found) + others
        )
    if passed := found[sound[-1] + 1 :]:
        why = names.enumerated([f"{one.label} ({printable(one.flaw)})" for one in passed])
        are = f"{counted(len(passed), 'newer snapshot')} {'was' if len(passed) == 1 else 'were'} passed over"
        output.complain(f"maintd: this is {found[sound[-1]].label}; {are}: {why}{_all_the_same(passed)}")
    if not where.host and (newer := hosts.newer(there, found)):
        output.complain(f"maintd: this is {found[sound[-1]].label} of {hosts.this()}; {_left_to_others(newer, place)}")
    return found[sound[-1]]


def _whose(others: Sequence[Snapshot], where: Store | Repository) -> str:
    """What to do if it is one of another machine that is wanted."""
    if not others:
        return ""
    way = "" if isinstance(where, Repository) else f"; or maintd restore --in {where.to}"
    return f"; other machines have some there ({hosts.told(others)}): host in the config names one{way}"


def _left_to_others(newer: Sequence[Snapshot], place: str) -> str:
    """That others have newer ones, which are perhaps this machine's under another name, and how these are restored."""
    way = f"maintd restore {newer[-1].label} --in {printable(place)}"
    return f"there are newer ones of other machines, or of this one under another name ({hosts.told(newer)}): {way}"


def _all_the_same(flawed: Sequence[Snapshot]) -> str:
    """How the newest that only lacks something is restored, if there is one."""
    usable = [one.label for one in flawed if one.manifest is not None and not one.damage]
    return f"; {usable[-1]} takes what is in the newest of them all the same" if usable else ""
