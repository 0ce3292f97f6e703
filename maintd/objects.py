"""Objects of an S3-compatible store, over obstore, in a process of its own: it starts threads, which no fork takes."""

import hashlib
import io
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from maintd.errors import MaintdError, OutOfReach
from maintd.stores import Store

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import S3Config, S3Store

Progress = Callable[[int], None]

PART = 8 << 20
_RETRIES = 2
_SIGNS = ("HTTP error", "error sending request", "error decoding response", "timed out", "non-2xx status code: 5")
"""What the library says where a store does not answer, or has no answer."""

_NO_RANGES = "non-partial response"
"""What it says where a store answers a request for a part with all of it."""


_TICK = 1.0
"""Seconds between two signs of life of a request that says nothing by itself."""


def _ignore(_count: int) -> None:
    pass


class _Heard(io.FileIO):
    """A file that tells how many of its bytes were read so far; it owns its descriptor."""

    def __init__(self, descriptor: int, progress: Progress) -> None:
        super().__init__(descriptor, "rb")
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        self._progress(self.tell())
        return data


class Bucket:
    """The objects below the prefix of a store, by their names there.

    Every method raises MaintdError with what the store said, and what to do.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._objects = store, _opened(store)

    def put(self, name: str, descriptor: int, progress: Progress = _ignore) -> None:
        """Stores a file under a name, whole or not at all; larger ones in parts, which `progress` hears of."""
        with _told(self._store, name), _Heard(os.dup(descriptor), progress) as file:
            import obstore  # noqa: PLC0415 - an extra, which most do not have

            file.seek(0)
            obstore.put(self._objects, self._path(name), file, chunk_size=PART, max_concurrency=2)

    def put_bytes(self, name: str, data: bytes) -> None:
        """Stores these under a name, in place of what is there."""
        with _told(self._store, name):
            import obstore  # noqa: PLC0415 - as above

            obstore.put(self._objects, self._path(name), data)

    def put_if(self, name: str, data: bytes, tag: str | None, progress: Progress = _ignore) -> str | None:
        """Stores these in place of what has that tag (None: if there is nothing yet); the new tag, None if it has not.

        A store that does not keep to conditions stores them whatever is there. It is one request, which may take as
        long as one for each part; `progress` hears that it goes on.
        """
        import obstore  # noqa: PLC0415 - as above
        from obstore import exceptions  # noqa: PLC0415 - as above

        with _told(self._store, name), _going_on(progress):
            try:
                mode = "create" if tag is None else {"e_tag": tag}
                stored = obstore.put(self._patient(len(data)), self._path(name), data, mode=mode)  # type: ignore[arg-type]
                return stored["e_tag"] or ""
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return None

    def tag(self, name: str) -> str | None:
        """What the store tells this version of an object by; None if there is no object, "" if it has no such thing."""
        import obstore  # noqa: PLC0415 - as above

        try:
            with _told(self._store, name):
                return obstore.head(self._objects, self._path(name))["e_tag"] or ""
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        """The bytes of an object; None if there is none."""
        import obstore  # noqa: PLC0415 - as above

        try:
            with _told(self._store, name):
                return int(obstore.head(self._objects, self._path(name))["size"])
        except FileNotFoundError:
            return None

    def chunks(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """The bytes of an object from there on, in pieces of up to a part. FileNotFoundError if there is none.

        What is larger than a part is asked for part by part: the time-out bounds one request, its body included. A
        store that does not heed ranges, as rclone's, is asked for all of it at once, in the time of so many parts.
        """
        import obstore  # noqa: PLC0415 - as above

        with _told(self._store, name):
            found = obstore.get(self._objects, self._path(name))
            size = int(found.meta["size"])
            if size <= PART:
                yield bytes(found.bytes())[offset:]
                return
            del found  # its body is not read
            for start in range(offset, size, PART):
                try:
                    piece = self._piece(name, start, min(start + PART, size))
                except obstore.exceptions.BaseError as error:
                    if _NO_RANGES not in str(error) or start != offset:
                        raise
                    yield from _from(obstore.get(self._patient(size), self._path(name)), offset)
                    return
                yield piece

    def _patient(self, size: int) -> "S3Store":
        """With time for so many bytes in one request."""
        return self._objects if size <= PART else _opened(self._store, len(range(0, size, PART)))

    def _piece(self, name: str, start: int, end: int) -> bytes:
        import obstore  # noqa: PLC0415 - as above

        return bytes(obstore.get_range(self._objects, self._path(name), start=start, end=end))

    def sizes(self, longest: float = 0) -> dict[str, int]:
        """The objects with their bytes. OutOfReach if the store takes longer than so many seconds, if any are given."""
        import obstore  # noqa: PLC0415 - as above

        begin = f"{self._store.prefix}/" if self._store.prefix else ""
        end = time.monotonic() + longest if longest else math.inf
        found: dict[str, int] = {}
        store = replace(self._store, timeout=min(longest, self._store.timeout)) if longest else self._store
        with _told(self._store, ""):
            for listed in obstore.list(_opened(store), begin or None):
                found.update({str(each["path"]).removeprefix(begin): int(each["size"]) for each in listed})
                if time.monotonic() > end:
                    raise OutOfReach(
                        f"the object store at {self._store.endpoint or self._store.to} takes longer than {longest:g} s",
                        hint="is it there, and is endpoint right? this is tried again by itself",
                    )
        return found

    def reach(self) -> None:
        """Asks for the list of what is there: whether the store answers, the bucket exists, and the key may read it."""
        import obstore  # noqa: PLC0415 - as above

        with _told(self._store, ""):
            next(iter(obstore.list(self._objects, self._store.prefix or None, chunk_size=1)), None)

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""
        import obstore  # noqa: PLC0415 - as above

        with _told(self._store, name):
            obstore.delete(self._objects, self._path(name))

    def try_to_remove(self, name: str) -> None:
        """Removes an object if the store lets it; it does no harm where it is."""
        with suppress(OSError, MaintdError):
            self.remove(name)

    def _path(self, name: str) -> str:
        return f"{self._store.prefix}/{name}" if self._store.prefix else name


def has_threads() -> bool:
    """Whether this process has used an object store: then it has threads that a fork would not take along."""
    return "obstore" in sys.modules


@contextmanager
def _going_on(progress: Progress) -> Iterator[None]:
    """Tells, in a thread, that what is done meanwhile goes on; how many bytes of it were sent nobody knows."""
    is_over = threading.Event()

    def tell() -> None:
        while not is_over.wait(_TICK):
            progress(0)

    teller = threading.Thread(target=tell, name="going-on")
    teller.start()
    try:
        yield
    finally:
        is_over.set()
        teller.join()


def heard(chunks: Iterable[bytes], progress: Progress) -> Iterator[bytes]:
    """The chunks; `progress` is told how many bytes came so far."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        progress(size)
        yield chunk


def sha256(chunks: Iterable[bytes]) -> tuple[int, str]:
    """How many bytes there are, and their SHA-256 in hex."""
    size, found = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        found.update(chunk)
    return size, found.hexdigest()


def _from(found: "GetResult", offset: int) -> Iterator[bytes]:
    """The body of an answer, but for its first bytes."""
    for chunk in found.stream(1 << 20):
        data = bytes(chunk)
        yield data[offset:] if offset < len(data) else b""
        offset = max(0, offset - len(data))


def _opened(store: Store, parts: int = 1) -> "S3Store":
    """With time for as many parts in one request."""
    try:
        from obstore.store import S3Store  # noqa: PLC0415 - as above
    except ModuleNotFoundError:
        raise MaintdError(
            "object stores need maintd's extra s3, which is not installed", hint="pip install 'maintd[s3]'"
        ) from None
    limit = timedelta(seconds=store.timeout * parts)
    config: S3Config = {"region": store.region}
    config["access_key_id"], config["secret_access_key"] = store.key_id.read(), store.secret_key.read()
    if store.endpoint:
        config["endpoint"] = store.endpoint
    return S3Store(
        store.bucket,
        config=config,
        client_options={"allow_http": True, "timeout": limit, "connect_timeout": limit},
        retry_config={"max_retries": _RETRIES, "retry_timeout": limit},
    )


@contextmanager
def _told(store: Store, name: str) -> Iterator[None]:
    """Errors of the library, which carry pages of XML and of its own structure, as what an operator has to know."""
    from obstore import exceptions  # noqa: PLC0415 - as above

    try:
        yield
    except (exceptions.UnauthenticatedError, exceptions.PermissionDeniedError) as error:
        raise _denied(store, str(error)) from error
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error) or not name:
            raise MaintdError(
                f"there is no bucket {store.bucket}", hint="make it, or correct its name in the job"
            ) from error
        raise FileNotFoundError(2, "there is no such object", name) from error
    except exceptions.BaseError as error:
        said = str(error)
        if any(
            code in said for code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403 Forbidden")
        ):
            raise _denied(store, said) from error
        if "NoSuchBucket" in said:
            raise MaintdError(
                f"there is no bucket {store.bucket}", hint="make it, or correct its name in the job"
            ) from error
        where = store.endpoint or store.to
        kind = OutOfReach if any(sign in said for sign in _SIGNS) else MaintdError
        raise kind(
            f"the object store at {where} failed: {said.strip().splitlines()[0][:300]}",
            hint="is it there, and is endpoint right? this is tried again by itself",
        ) from error


def _denied(store: Store, said: str) -> OutOfReach:
    if "RequestTimeTooSkewed" in said:
        where = store.endpoint or store.to
        return OutOfReach(
            f"the clock here and that of the object store at {where} are too far apart: it takes no request",
            hint="set the clock (timedatectl); the key is not what is wrong",
        )
    return OutOfReach(f"the object store refuses the key for {store.to}", hint="look at the key, and at what it may do")
