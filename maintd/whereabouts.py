"""Remembers of directories that something was stored there: an archive or backup that is gone is not taken for new."""

import os
import stat
from contextlib import suppress

from maintd import durable
from maintd.errors import MaintdError

_NOTE = "stored"
"""The directory in the private one of an archive or a set, below `state_dir`, that says so."""


def note(private: str) -> None:
    """Notes that something was stored, in the private directory of the archive or set, if that can be noted."""
    if is_noted(private):
        return
    with suppress(OSError, MaintdError):
        durable.private_directory(private)
        with durable.directory(private) as dir_fd:
            durable.make_private(_NOTE, dir_fd=dir_fd)


def is_noted(private: str) -> bool | None:
    """Whether something was stored there; None if that cannot be known, as to another user than maintd's own."""
    try:
        return stat.S_ISDIR(os.stat(os.path.join(private, _NOTE)).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None


def forgetting(private: str) -> str:
    """The command with which a person has it forgotten."""
    return f"rmdir {os.path.join(private, _NOTE)}"
