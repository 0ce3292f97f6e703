"""What maintd does to files, one at a time, and what may come of each when the file is an odd inode."""

from dataclasses import dataclass

from .odd_inodes import INSTEAD

ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\nkeep = 1\n'
COMPRESS = '[compress.all]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1h"\n'
COLLAPSE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\nreopen = "collapse"\n'
OLD, NEW = "20260101T000000Z", "20260102T000000Z"
REFUSED, IGNORED = "refused", "ignored"


@dataclass(frozen=True)
class Deed:
    """Something maintd does to one file: its name, the event of it, and the job that does it."""

    file: str
    done: str
    job: str = ROTATE


DEEDS = {
    "rotate": Deed("rotate.log", "log.rotated"),
    "compress": Deed("compress.csv", "log.compressed", COMPRESS),
    "compress an archive": Deed(f"archive.log.{OLD}", "log.compressed"),
    "expire": Deed(f"expire.log.{OLD}.zst", "log.expired"),
    "collapse": Deed("collapse.log", "log.rotated", COLLAPSE),
    "clean": Deed(f"clean.log.{OLD}.zst.maintd-tmp", "temporary.removed"),
}
_READS_IT_ALL = ("compress", "compress an archive", "collapse")


def allowed(kind: str, deed: str, when: str) -> frozenset[str]:
    """What may come of it: the event of the deed, a refusal with its reason, or, for what is not ours, no word."""
    done = DEEDS[deed].done
    if kind in INSTEAD:
        unspoken = when == "before" and (deed not in ("rotate", "compress", "collapse") or kind == "directory")
        return frozenset({IGNORED} if unspoken else {REFUSED})
    if kind == "mode 000":
        return frozenset({done})
    if kind == "set-user-ID" or (kind == "hard link" and deed == "clean"):  # which takes away one name of several
        return frozenset({done, REFUSED})
    if kind == "1 TiB, sparse":
        too_much = deed in _READS_IT_ALL or (when == "after" and deed == "expire")
        return frozenset({REFUSED} if too_much else {done})
    return frozenset({REFUSED})
