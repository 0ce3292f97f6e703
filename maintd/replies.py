"""What a child says went wrong, as values that cross a pipe, and raised again at the other end."""

import os
import signal
from typing import Any

from maintd import errors

_RAISED_AGAIN = {
    kind.__name__: kind
    for kind in (
        errors.Refused,
        errors.Blind,
        errors.NotYet,
        errors.Aborted,
        errors.TimedOut,
        errors.Damaged,
        errors.Locked,
        errors.OutOfReach,
        errors.Unreachable,
        errors.Rejected,
    )
}


def ended(code: int) -> errors.MaintdError:
    """How a child ended that answered nothing; a negative code is that of a signal."""
    if code >= 0:
        return errors.MaintdError(f"the worker ended with exit code {code}", hint="its stderr says why")
    hint = "out of memory? Look at dmesg" if code == -signal.SIGKILL else ""
    return errors.MaintdError(f"the worker was killed by signal {-code}", hint=hint)


def described(error: BaseException) -> dict[str, Any]:
    """An exception as values of JSON: its type, and what it takes to raise it again."""
    described: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, OSError) and error.errno is not None:
        names = (error.filename, error.filename2)
        described |= {"errno": error.errno, "strerror": error.strerror, "names": [_text(name) for name in names]}
    if isinstance(error, errors.MaintdError):
        described |= {"maintd": True, "hint": error.hint}
    return described


def _text(name: str | bytes | int | None) -> str | int | None:
    return os.fsdecode(name) if isinstance(name, bytes) else name


def raised_again(described: dict[str, Any]) -> Exception:
    """The exception that was described, of its own class if that is an OSError or one of those above, or Crashed."""
    message = described["message"]
    if "errno" in described:
        first, second = described["names"]
        return OSError(described["errno"], described["strerror"], first, None, second)
    if "maintd" in described:
        return _RAISED_AGAIN.get(described["type"], errors.MaintdError)(message, hint=described["hint"])
    return errors.Crashed(f"{described['type']} in the worker: {message}")
