"""What events say happened is a promise: it is so also after a power cut right after they were said."""

from pathlib import Path

from .lab import Ran
from .trial import Report


def check_promises(ran: Ran, report: Report) -> None:
    """Notes each event that said something that is not so any more."""
    for event in ran.events():
        if not _holds(event):
            report.wrongs.append(f"it said {event['event']} of {event['target']}, which is not so")


def _holds(event: dict[str, str]) -> bool:
    match event["event"]:
        case "log.rotated":
            return _is_there(event["rotated_to"])
        case "log.compressed":
            return Path(event["compressed_to"]).exists() and not Path(event["target"]).exists()
        case "log.expired" | "temporary.removed":
            return not Path(event["target"]).exists()
        case "log.created" | "directory.made":
            return Path(event["target"]).exists()
        case _:
            return True


def _is_there(archive: str) -> bool:
    """Whether a generation is there, compressed or not."""
    return any(Path(archive + suffix).exists() for suffix in ("", ".zst", ".gz"))
