"""Keeps machines that store below one prefix from taking each other's names: the store refuses a name that is taken.

That takes conditional requests (If-None-Match, If-Match). Where a store does not keep to them one machine alone may
store below a prefix: a mark there says which one.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator

from maintd import copies, durable, names
from maintd.errors import MaintdError, OutOfReach
from maintd.objects import PART, Bucket, Progress
from maintd.values import dataclass

_KEPT = "conditions"
"""The file in the private directory that says that the store keeps to conditions."""
_MACHINE = "machine"
"""The file there by which the store knows this machine: what it writes to reserve a name."""

_MOST = 4096
"""Bytes of that at most."""


@dataclass(frozen=True)
class Sharing:
    """What one machine may do below a prefix. `own` is how it reserves a name, before what takes long goes there."""

    bucket: Bucket
    own: bytes
    is_kept: bool

    @classmethod
    def of(cls, bucket: Bucket, directory: str) -> "Sharing":
        """`directory` is the private one for the store; `agree` was called for it before."""
        return cls(bucket, _own(directory), os.path.exists(os.path.join(directory, _KEPT)))

    def has(self, name: str) -> bool:
        """Whether there is an object of that name, other than what this machine has only reserved it by."""
        size = self.bucket.size(name)
        return size is not None and not (size == len(self.own) and self._is_reserved(name))

    def reserve(self, name: str) -> bool:
        """Takes a name for this machine; False if it is another's. Until `put` it says which machine has it."""
        return self._put_new(name, self.own) or self._is_reserved(name)

    def put(self, name: str, descriptor: int, progress: Progress) -> bool:
        """Stores a file under a name that is free, or reserved by this machine; False if it is another's."""
        size = os.fstat(descriptor).st_size
        if size <= PART and self._put_new(name, os.pread(descriptor, size, 0)):
            return True
        if not (self._is_reserved(name) if size <= PART else self.reserve(name)):
            return False
        self.bucket.put(name, descriptor, progress)
        return True

    def take_back(self, name: str) -> None:
        """Takes away what was stored under a name, which stays reserved, if the store lets it."""
        with contextlib.suppress(OSError, MaintdError):
            self.bucket.put_bytes(name, self.own)

    def replace(self, name: str, descriptor: int, tag: str | None, progress: Progress) -> str | None:
        """Stores a file in place of what is there, if that has the tag (None: is not there); the new tag.

        None if it has another one by now.
        """
        if not self.is_kept:
            self.bucket.put(name, descriptor, progress)
            return self.bucket.tag(name) or ""
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return self.bucket.put_if(name, file.read(), tag, progress)

    def _put_new(self, name: str, data: bytes) -> bool:
        if self.is_kept:
            return self.bucket.put_if(name, data, None) is not None
        if self.bucket.size(name) is not None:
            return False
        self.bucket.put_bytes(name, data)
        return True

    def _is_reserved(self, name: str) -> bool:
        return _content(self.bucket, name) == self.own


def agree(bucket: Bucket, directory: str) -> None:
    """Sees, once, whether the store keeps to conditions; if not, MaintdError where another machine stores already."""
    own = _own(directory)
    with durable.directory(directory) as dir_fd:
        if copies.exists(_KEPT, dir_fd):
            return
        if _keeps_conditions(bucket):
            durable.write_whole(_KEPT, b"", dir_fd=dir_fd)
            return
    if bucket.size(names.MACHINE) is None:
        bucket.put_bytes(names.MACHINE, own)
    found = _content(bucket, names.MACHINE)
    if found != own:
        other = names.printable(found.decode("utf-8", "replace").strip())
        raise MaintdError(
            f"another machine stores there already ({other}), and this store does not keep to If-None-Match: "
            "two could overwrite each other's objects",
            hint=f"give each machine a prefix of its own; if that one is gone for good, remove the object "
            f"{names.MACHINE} from the store",
        )


def _keeps_conditions(bucket: Bucket) -> bool:
    """Whether an object that is there is left alone if one is to be made of that name."""
    probe = f"{names.PROBE}{secrets.token_hex(8)}"
    try:
        return bucket.put_if(probe, b"1", None) is not None and bucket.put_if(probe, b"2", None) is None
    except OutOfReach:
        raise
    except MaintdError:  # that is how some say that they know no such request
        return False
    finally:
        bucket.try_to_remove(probe)


def _own(directory: str) -> bytes:
    """What this machine is known by, which is made if need be."""
    with durable.directory(directory) as dir_fd:
        if not copies.exists(_MACHINE, dir_fd):
            new = f"maintd on {os.uname().nodename} {secrets.token_hex(8)} stores here\n".encode()
            durable.write_whole(_MACHINE, next(_elsewhere(directory), new), dir_fd=dir_fd)
        with durable.opened(_MACHINE, dir_fd=dir_fd) as said:
            return os.read(said, _MOST)


def _elsewhere(directory: str) -> Iterator[bytes]:
    """What it is known by in other stores: the same one by another endpoint may be among them."""
    above = os.path.dirname(directory)
    for name in sorted(os.listdir(above)):
        with contextlib.suppress(OSError), open(os.path.join(above, name, _MACHINE), "rb") as said:
            yield said.read()


def _content(bucket: Bucket, name: str) -> bytes:
    """What a small object holds; nothing if it is not there, or larger than that."""
    size = bucket.size(name)
    if size is None or size > _MOST:
        return b""
    return b"".join(bucket.chunks(name))
