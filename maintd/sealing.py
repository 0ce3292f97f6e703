"""Encryption with age, to a public key, so that who can write a backup cannot read it (pyrage, the extra `age`)."""

import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from maintd import durable, names
from maintd.durable import Ownership
from maintd.errors import MaintdError

SUFFIX = ".age"


def _pyrage() -> Any:
    try:
        return importlib.import_module("pyrage")
    except ImportError as error:
        raise MaintdError(
            "encryption needs the extra `age`", hint="install maintd[age], or leave recipient out of the job"
        ) from error


def recipient_of(text: str) -> Any:
    """The public key (age1…). Raises MaintdError if it is none."""
    pyrage = _pyrage()
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise MaintdError(f"{text!r} is no public key of age: {error}", hint="age-keygen prints one: age1…") from error


def identities_of(path: str) -> list[Any]:
    """The secret keys in a file as age-keygen writes it, of which one has to fit. Raises OSError, MaintdError."""
    pyrage = _pyrage()
    with open(path, encoding="utf-8") as file:
        keys = [line.strip() for line in file if line.startswith("AGE-SECRET-KEY-")]
    if not keys:
        raise MaintdError(f"{path} holds no secret key of age", hint="a line that begins with AGE-SECRET-KEY-1")
    try:
        return [pyrage.x25519.Identity.from_str(key) for key in keys]
    except pyrage.IdentityError as error:
        raise MaintdError(f"a secret key in {path} is none of age: {error}", hint="age-keygen makes one") from error


def seal(source: int, name: str, recipient: str, *, dir_fd: int) -> None:
    """Makes the encrypted file `name`, synced, of an open one."""
    pyrage, to = _pyrage(), recipient_of(recipient)
    target = durable.create(name, Ownership(0o600, os.geteuid(), os.getegid()), dir_fd=dir_fd)
    with os.fdopen(os.dup(source), "rb") as reader, os.fdopen(target, "wb") as writer:
        reader.seek(0)
        try:
            pyrage.encrypt_io(reader, writer, [to])
        except pyrage.EncryptError as error:
            raise MaintdError(f"cannot encrypt {names.printable(name)}: {error}") from error
        writer.flush()
        os.fsync(writer.fileno())


@contextmanager
def unsealed(source: int, identity: str | None) -> Iterator[int]:
    """A descriptor from which the plain content of an encrypted file can be read, once, from its start to its end.

    Raises MaintdError, in the end, if no key of the file `identity` fits or the file was changed.
    """
    if identity is None:
        raise MaintdError("it is encrypted", hint="give the secret key's file: --identity FILE, or identity_file")
    pyrage, keys = _pyrage(), identities_of(identity)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    failed: list[Exception] = []
    thread = threading.Thread(target=_pour, args=(pyrage, source, writing, keys, failed.append))
    thread.start()
    try:
        yield reading
    except (OSError, MaintdError):
        _end(reading, thread)
        _require(failed)  # of two that failed this is the one that says why
        raise
    else:
        _end(reading, thread)
        _require(failed)


def _end(reading: int, thread: threading.Thread) -> None:
    os.close(reading)
    thread.join()


def _require(failed: Sequence[Exception]) -> None:
    """Raises what failed, unless it is only that nobody read to the end."""
    if failed and not isinstance(failed[0], BrokenPipeError):
        raise MaintdError(
            f"it cannot be decrypted: {failed[0]}", hint="is one of the keys the one it was encrypted to?"
        )


def _pour(pyrage: Any, source: int, writing: int, keys: Sequence[Any], note: Callable[[Exception], None]) -> None:
    try:
        with os.fdopen(writing, "wb") as writer, os.fdopen(os.dup(source), "rb") as reader:
            reader.seek(0)
            pyrage.decrypt_io(reader, writer, keys)
    except (pyrage.DecryptError, OSError) as error:
        note(error)
