"""How an event is told to people, in a line that begins with when, how bad, what and whose."""

import re
from collections.abc import Mapping
from typing import Any

from maintd.cli import output, tables
from maintd.names import printable

_STYLES: dict[str, dict[str, Any]] = {
    "debug": {"dim": True},
    "info": {"fg": "green"},
    "warning": {"fg": "yellow"},
    "error": {"fg": "red"},
    "critical": {"fg": "red", "bold": True},
}
_INDENT = 11


def told(event: Mapping[str, Any]) -> str:
    """An event as one line, wrapped on a terminal. Times are in UTC, to the second; --json has the rest."""
    ts, level = str(event["ts"]), str(event["level"])
    head = [
        output.paint(_safe(f"{ts[:10]} {ts[11:19]}"), dim=True),
        output.paint(f"{_safe(level):<8}", **_STYLES.get(level, {})),
        output.paint(f"{_safe(str(event['event'])):<17}", bold=True),
    ]
    if event.get("job"):
        head.append(output.paint(_safe(str(event["job"])), fg="cyan"))
    return tables.hanging(" ".join(head), sentence(event), _INDENT)


def sentence(event: Mapping[str, Any]) -> str:
    """What happened and to what: of the target, only what the message does not say itself."""
    message, target = _safe(str(event["msg"])), _safe(str(event.get("target") or ""))
    folder, _, name = target.rpartition("/")
    if not target or _names(message, target):
        return message
    return f"{folder if folder and name and _names(message, name) else target}: {message}"


def _names(message: str, file: str) -> bool:
    """Whether a message names the file, or what was made of it: by its path or name, and what was put behind it."""
    return re.search(rf"(?<![\w/.-]){re.escape(file)}(?!\w)", message) is not None


def _safe(text: str) -> str:
    """What an event says is printable as it is; what somebody else wrote into the file need not be."""
    return text if text.isprintable() else printable(text)
