"""Plans the directories for archives that are not there yet: each missing level of olddir, from above."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from maintd import grounds
from maintd.actions.rename import MakeDirectory
from maintd.durable import Ownership
from maintd.families import archive_directory
from maintd.steps import Action


def to_make(logs: Iterable[str], olddir: str | None, needs: tuple[Action, ...]) -> dict[str, MakeDirectory]:
    """What is missing of the directories for the archives of these logs, by path, each level before those below it.

    Each gets owner and mode of its logs' directory. One that logs of directories with other owners or modes share gets
    those of the directory it lies in: an owner could remove the archives of the others.
    """
    folders: dict[str, set[str]] = defaultdict(set)
    for log in logs if olddir is not None else ():
        folders[archive_directory(log, olddir)].add(os.path.dirname(log))
    makes: dict[str, MakeDirectory] = {}
    for folder, origins in sorted(folders.items()):
        ownership = _common(origins)
        for level in _missing(folder):
            above = makes.get(os.path.dirname(level))
            why = "olddir does not exist yet" if level == folder else "olddir lies in it, and it does not exist yet"
            make = MakeDirectory(
                target=level,
                reason=why,
                needs=(above,) if above else needs,
                ownership=ownership,
                parent=None if above else grounds.identity(os.path.dirname(level)),
            )
            makes.setdefault(level, make)
    return makes


def is_apart(log: str, folder: str) -> bool:
    """Whether a log cannot be renamed into a directory, there or yet to be made, since that is of another mount."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return None not in (mounts := {grounds.mount(os.path.dirname(log)), grounds.mount(folder)}) and len(mounts) > 1


def on_the_way(makes: dict[str, MakeDirectory], wanted: AbstractSet[str]) -> list[Action]:
    """Those that lead to the wanted directories, in order."""
    return [make for path, make in makes.items() if any(f"{folder}/".startswith(f"{path}/") for folder in wanted)]


def _missing(folder: str) -> list[str]:
    levels = []
    while not os.path.isdir(folder):
        levels.append(folder)
        folder = os.path.dirname(folder)
    return levels[::-1]


def _common(directories: Iterable[str]) -> Ownership | None:
    """Owner and mode that all of them have; as another user than root only the mode can be given."""
    found = set(_ownerships(directories))
    return found.pop() if len(found) == 1 else None


def _ownerships(directories: Iterable[str]) -> Iterator[Ownership]:
    for directory in directories:
        try:
            info = os.stat(directory)
        except OSError:  # its logs have gone with it
            continue
        yield Ownership(info.st_mode & 0o1777, os.geteuid() or info.st_uid, info.st_gid)
