"""Where an archive is, a local directory or a prefix in a bucket of an S3-compatible store, and how it is reached.

Also a repository of restic.

It holds the names of secrets, never a secret: who reaches the store reads them then, from a file or the environment.
"""

import hashlib
import os
from dataclasses import asdict, field
from typing import Any, Self

from maintd.errors import MaintdError
from maintd.names import printable
from maintd.values import dataclass

SCHEME = "s3://"


@dataclass(frozen=True)
class Secret:
    """A secret by the file or the environment variable that holds it."""

    env: str
    file: str | None = None

    def read(self) -> str:
        """OSError if its file cannot be read, MaintdError if it is not set, or no text."""
        if self.file is not None:
            try:
                with open(self.file, encoding="utf-8") as file:
                    return file.read().strip()
            except UnicodeDecodeError:  # which would carry the key along
                hint = "write the key into it, and nothing else"
                raise MaintdError(f"{printable(self.file)} holds no text", hint=hint) from None
        found = os.environ.get(self.env)
        if not found:
            raise MaintdError(
                f"the environment variable {self.env} is not set",
                hint="set it in environment= of [program:maintd], or name a file in the job's s3 table",
            )
        return found


@dataclass(frozen=True)
class Store:
    """An archive; `to` is a path, or s3://bucket/prefix. `timeout` bounds one request, in seconds.

    `host` is the machine whose snapshots there are meant; "" if that was not said.
    """

    to: str
    endpoint: str | None = None
    region: str = "us-east-1"
    key_id: Secret = field(default_factory=lambda: Secret("AWS_ACCESS_KEY_ID"))
    secret_key: Secret = field(default_factory=lambda: Secret("AWS_SECRET_ACCESS_KEY"))
    timeout: float = 60.0
    host: str = ""

    @property
    def is_remote(self) -> bool:
        return self.to.startswith(SCHEME)

    @property
    def bucket(self) -> str:
        return self.to.removeprefix(SCHEME).partition("/")[0]

    @property
    def prefix(self) -> str:
        return self.to.removeprefix(SCHEME).partition("/")[2].strip("/")

    def directory(self, below: str) -> str:
        """The private directory, below that for all stores, where its manifest is kept and files are made ready."""
        return os.path.join(below, hashlib.sha256(f"{self.endpoint} {self.to}".encode()).hexdigest()[:16])

    def fields(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """What `fields` gave, also after it went through JSON."""
        secrets = {name: Secret(**fields[name]) for name in ("key_id", "secret_key")}
        return cls(**(fields | secrets))


PROVEN = "maintd-proven:"
"""The beginning of the tag that says when a restore of a snapshot was proven, as YYYYMMDDTHHMMSSZ."""
WHOLE = "maintd-whole"
"""The tag of a snapshot in a repository of restic that lacks nothing."""
DAMAGED = "maintd-damaged:"
"""The beginning of the tag that it has instead when its data was found damaged, with the time as above."""
TOP = "maintd"
"""What is below it would not be there otherwise: restic does not merge a tree with one of the same path."""
NOT_UTF8 = "its name is not UTF-8"
"""Why maintd cannot restore a file out of it: restic does not tell such names."""


@dataclass(frozen=True)
class Repository:
    """How restic reaches it: `url` as restic has it, a file with the password; `cache` is a directory of maintd's.

    `host` is the machine whose snapshots there are meant; "" if that was not said.
    """

    url: str
    password_file: str
    cache: str
    host: str = ""

    @property
    def to(self) -> str:
        """What people call it."""
        return self.url

    def fields(self) -> dict[str, Any]:
        return asdict(self)


def set_tag(of: str) -> str:
    """The tag of the snapshots of a set in a repository of restic."""
    return f"maintd:{of}"
