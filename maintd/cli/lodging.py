"""What would keep the daemon from its state_dir, or what that should not be; seen without making anything."""

import os
import stat as st
from collections.abc import Iterator

from maintd import asides, intents
from maintd.config import Config
from maintd.errors import Problem
from maintd.grounds import user_name
from maintd.names import enumerated, printable

_OURS = ("lock", "stores", asides.DIRECTORY, intents.DIRECTORY, "lost+found")
_DATABASE = "state.sqlite"
_OF_THE_KERNEL = ("/proc", "/sys")
_ENDS = "maintd run would end at once: set state_dir under [daemon] to a directory of maintd's own"


def of_state_dir(config: Config) -> Iterator[Problem]:
    """Warnings about `[daemon] state_dir`."""
    folder = config.settings.state_dir
    is_given = "daemon" in config.sources
    place = config.place("daemon", "state_dir") if is_given else (config.files[0], 0, 0)
    for message in _hindrances(folder) if not os.path.lexists(folder) else _oddities(config, folder):
        yield Problem(*place, f"daemon.state_dir: {printable(folder)} {message}", "warning")


def _hindrances(folder: str) -> Iterator[str]:
    """Why a directory that is not there could not be made."""
    above = os.path.dirname(folder.rstrip("/"))
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    real = os.path.realpath(above)
    if not os.path.isdir(above):
        yield f"cannot be made, because {printable(above)} is not a directory; {_ENDS}"
    elif any(real == one or real.startswith(f"{one}/") for one in _OF_THE_KERNEL):
        yield f"cannot be made, because {printable(real)} belongs to the kernel; {_ENDS}"
    elif os.statvfs(above).f_flag & os.ST_RDONLY:
        yield f"cannot be made, because the file system is mounted read-only; {_ENDS}"
    elif not os.access(above, os.W_OK | os.X_OK, effective_ids=True):
        yield f"cannot be made by this user (uid {os.geteuid()}) in {printable(above)}"


def _oddities(config: Config, folder: str) -> Iterator[str]:
    """What is wrong with a directory that is there."""
    if not os.path.isdir(folder):
        yield f"is not a directory; {_ENDS}"
        return
    info = os.stat(folder)
    if info.st_uid not in (0, os.geteuid()):
        yield f"belongs to {user_name(info.st_uid)}: only a maintd that runs as that user accepts it"
    if info.st_mode & (st.S_IWGRP | st.S_IWOTH):
        yield f"can be written by other users; {_ENDS} (chmod 700)"
    elif info.st_mode & (st.S_IRWXG | st.S_IRWXO):
        yield "may be entered or read by other users, who learn what maintd keeps there: chmod 700"
    strangers = _strangers(config, folder)
    if strangers:
        yield (
            f"holds what is not maintd's ({printable(enumerated(strangers))}), which no job can work on there: "
            "set a directory of maintd's own"
        )


def _strangers(config: Config, folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except PermissionError:  # it is another user's, which is told
        return []
    beside = [config.settings.runtime_dir, config.settings.status_dir, *config.files]
    known = [os.path.realpath(path) + "/" for path in beside]
    here = os.path.realpath(folder)
    return [
        name
        for name in names
        if name not in _OURS
        and not name.startswith(_DATABASE)
        and not any(path.startswith(f"{here}/{name}/") for path in known)
    ]
