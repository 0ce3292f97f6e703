"""Options by which a place is named that may be in an object store, and by which that is reached."""

import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from maintd.job import AbsolutePath, Span, absolute
from maintd.rules import Options
from maintd.stores import SCHEME, Secret, Store

_PASSWORD = re.compile(r"//[^/@]*:[^@]*@")
"""Of a URL, also behind restic's own prefix; a password with a slash in it, which is no URL, counts too."""


def _placed(to: str) -> str:
    if to.startswith(SCHEME):
        parts = urlsplit(to)
        if parts.password is not None:
            raise ValueError("a secret is not written here: keys are named in the s3 table")
        if not parts.netloc or parts.username is not None or parts.query:
            raise ValueError(f"{to!r} is not of the form s3://bucket/prefix; keys are named in the s3 table")
        return to
    return absolute(to)


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{url!r} is not a URL of an object store (such as https://s3.example.com)")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a secret is not written here: use the …_file or …_env options")
    return url


def _without_password(repository: str) -> str:
    if _PASSWORD.search(repository):
        raise ValueError(
            "a secret is not written here: leave user and password out, and set RESTIC_REST_USERNAME and "
            "RESTIC_REST_PASSWORD (for s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) in maintd's environment"
        )
    return repository


class ObjectStore(Options):
    """How an object store is reached. Keys come from the environment, or from files, and are never in the config."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None, description="the URL of an S3-compatible store; default: Amazon's"
    )
    region: str = Field(default="us-east-1", description="the region, if the store has any")
    access_key_id_env: str = Field(
        default="AWS_ACCESS_KEY_ID", description="the environment variable that holds the key's id"
    )
    access_key_id_file: AbsolutePath | None = Field(default=None, description="a file that holds the key's id alone")
    secret_access_key_env: str = Field(
        default="AWS_SECRET_ACCESS_KEY", description="the environment variable that holds the secret key"
    )
    secret_access_key_file: AbsolutePath | None = Field(
        default=None, description="a file that holds the secret key alone"
    )
    timeout: Span = Field(default=timedelta(seconds=60), description="for how long one request may take")

    def store(self, to: str) -> Store:
        return Store(
            to,
            endpoint=self.endpoint,
            region=self.region,
            key_id=Secret(self.access_key_id_env, self.access_key_id_file),
            secret_key=Secret(self.secret_access_key_env, self.secret_access_key_file),
            timeout=self.timeout.total_seconds(),
        )


Place = Annotated[str, AfterValidator(_placed)]
"""A directory, or s3://bucket/prefix."""

RepositoryUrl = Annotated[str, AfterValidator(_without_password)]
"""A repository as restic has it, without a password, for it is shown."""


def store(to: str, s3: ObjectStore | None) -> Store:
    """The place, as the options say to reach it."""
    return Store(to) if s3 is None else s3.store(to)


def misplaced(s3: ObjectStore | None, to: str, option: str) -> str:
    """What is wrong with an s3 table beside a directory, for a rule; nothing if that is no directory."""
    is_wrong = s3 is not None and not to.startswith(SCHEME)
    told = f's3 says how an object store is reached, but `{option}` is a directory (write {option} = "s3://…")'
    return told if is_wrong else ""
