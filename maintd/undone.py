"""The aside directories that a restore which was put back has left, with what services wrote meanwhile.

They stand in a file in `state_dir/restores` for each set, until they are deleted.
"""

import json
import os
from collections.abc import Iterable

from maintd import durable, names
from maintd.asides import DIRECTORY
from maintd.errors import MaintdError

_SUFFIX = ".undone"


def left(state_dir: str, of: str) -> list[str]:
    """The directories of a set that are still there. Raises MaintdError if the note of them cannot be understood."""
    return [path for path in _noted(state_dir, of) if os.path.isdir(path)]


def sets(state_dir: str) -> list[str]:
    """The sets that have such directories."""
    try:
        found = sorted(os.listdir(_folder(state_dir)))
    except FileNotFoundError:
        return []
    of = [name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)]
    return [one for one in of if left(state_dir, one)]


def add(state_dir: str, of: str, paths: Iterable[str]) -> None:
    """Notes more of them, durable."""
    known = left(state_dir, of)
    durable.private_directory(_folder(state_dir))
    data = json.dumps([*known, *(path for path in paths if path not in known)]).encode()
    with durable.directory(_folder(state_dir)) as dir_fd:
        durable.write_whole(of + _SUFFIX, data, dir_fd=dir_fd)


def forget(state_dir: str, of: str) -> None:
    """Removes the note, for good."""
    if not os.path.isdir(_folder(state_dir)):
        return
    with durable.directory(_folder(state_dir)) as dir_fd:
        durable.discard(names.temporary(of + _SUFFIX), dir_fd=dir_fd)
        durable.unlink_own(of + _SUFFIX, dir_fd=dir_fd)
        os.fsync(dir_fd)


def _folder(state_dir: str) -> str:
    return os.path.join(os.path.realpath(state_dir), DIRECTORY)


def _noted(state_dir: str, of: str) -> list[str]:
    path = os.path.join(_folder(state_dir), of + _SUFFIX)
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read())
        if not all(one.endswith(names.ASIDE) for one in found):
            raise ValueError("it names what is no such directory")
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, AttributeError) as error:
        raise MaintdError(f"{path} cannot be understood: {error}") from error
    return list(found)
