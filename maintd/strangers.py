"""Files with names of a log's archives that others may have made: they are named, left alone, and worked round."""

import os
import stat as st
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from maintd import names
from maintd.families import Family
from maintd.grounds import user_name
from maintd.steps import Finding
from maintd.trust import FileRefused


def findings(found: Sequence[Family]) -> Iterator[Finding]:
    """Says once of each log and user which files with names of the log's archives are left alone."""
    for family in found:
        by_owner: dict[int, list[str]] = defaultdict(list)
        for other in family.others:
            if st.S_ISREG(other.seen.mode):
                by_owner[other.seen.uid].append(other.seen.path)
        for uid, paths in by_owner.items():
            rest = f", as do {len(paths) - 1} more named so" if len(paths) > 1 else ""
            reason = f"it belongs to {user_name(uid)}{rest}: others than the log's owner may have put it there"
            advice = "remove it, or give it to the owner of its log if it is an archive of that"
            yield Finding(
                target=paths[0],
                reason=f"left alone: {reason}; {advice}",
                event=FileRefused(target=paths[0], reason=reason, advice=advice),
            )


def ways_round(family: Family, codec: str) -> Iterator[tuple[str, str]]:
    """The paths of uncompressed archives whose compressed name is taken, each with one whose names are all free."""
    suffix = names.CODEC_SUFFIXES[codec]
    everything = [*family.archives, *family.others]
    taken = {archive.seen.path for archive in everything}
    for archive in family.archives if suffix else ():
        if not archive.is_compressed and archive.seen.path + suffix in taken:
            name = names.next_archive(archive.name.log, archive.name.stamp, (), [other.name for other in everything])
            everything.append(replace(archive, name=name))
            yield archive.seen.path, os.path.join(os.path.dirname(archive.seen.path), str(name))
