"""What is said of a guarded file system, or directory, that cannot be looked at."""

from typing import ClassVar

from maintd.errors import trouble
from maintd.events import Failure
from maintd.values import dataclass

ADVICE = "nothing is guarded there meanwhile: look at the mounts, or at the directory of the guard"


@dataclass(frozen=True, kw_only=True)
class StorageFailed(Failure):
    """How much room a guarded file system has cannot be told: it does not answer, or the directory of the guard is not
    there; or a disk that
    was mounted is not any more, or is smaller than what is to be free. Told once until it can.
    """

    name: ClassVar[str] = "storage.failed"


@dataclass(frozen=True, kw_only=True)
class DirectoryFailed(Failure):
    """What a guarded directory takes cannot be told: it is not there, or cannot be read. Told once until it can."""

    name: ClassVar[str] = "directory.failed"


def of(kind: type[StorageFailed | DirectoryFailed], path: str, error: Exception) -> Failure:
    """What is to be said of a guarded path for that error."""
    tried = "see how much room it has" if kind is StorageFailed else "see what it takes"
    found = trouble(error)
    return kind(target=path, tried=tried, error=found.error, error_msg=found.error_msg, advice=found.advice or ADVICE)
