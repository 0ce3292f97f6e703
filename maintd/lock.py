"""The lock of a state directory: one maintd works at a time, and a child of a dead one counts as it."""

import errno
import fcntl
import os
import time

from maintd import durable
from maintd.errors import Locked, MaintdError, Refused, trouble


def take(state_dir: str, patience: float = 0.0) -> int:
    """Takes the lock and returns its descriptor, which children inherit; it is released when the last of them ends.

    Waits up to `patience` seconds. Raises Locked with the pid of the holder, MaintdError if it cannot be used.
    """
    try:
        durable.private_directory(state_dir)
        descriptor = durable.lock_file(os.path.join(state_dir, "lock"))
    except (OSError, Refused) as error:
        as_root = "run as root, or " if isinstance(error, PermissionError) else ""
        raise MaintdError(
            f"cannot use state_dir {state_dir}: {_reason(error, state_dir)}",
            hint=f"{as_root}set state_dir under [daemon] to a directory of maintd's own (chmod 700)",
        ) from error
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                raise
            if time.monotonic() >= end:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                raise Locked(
                    f"another maintd (pid {holder}) works on {state_dir}",
                    hint="stop it first (supervisorctl stop maintd), or give this one another state_dir",
                ) from error
            time.sleep(0.05)
        else:
            durable.write_pid(descriptor)
            return descriptor


def _reason(error: OSError | Refused, state_dir: str) -> str:
    """Why, with the path only where that is another one, as of a part of it."""
    if isinstance(error, OSError) and error.filename in (None, state_dir):
        return str(error.strerror)
    return trouble(error).error_msg
