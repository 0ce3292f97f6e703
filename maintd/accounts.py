"""The users and groups of this machine as options of a job: by name or number, and unknown ones refused."""

import grp
import pwd
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema


def _uid(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    return int(name) if name.isdecimal() else _account(name).pw_uid


def _gid(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    try:
        return int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ValueError(f"there is no group {name!r} on this machine") from None


def _account(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        raise ValueError(f"there is no user {name!r} on this machine") from None


Uid = Annotated[int, BeforeValidator(_uid), WithJsonSchema({"type": ["string", "integer"]})]
Gid = Annotated[int, BeforeValidator(_gid), WithJsonSchema({"type": ["string", "integer"]})]
UserName = Annotated[str, AfterValidator(lambda name: _account(name).pw_name)]
