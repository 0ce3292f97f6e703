"""Reloading: the config is read again, checked as a whole, and what differs is applied; on any error nothing is."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from maintd import config as configuration
from maintd import differences, story
from maintd.config import Config
from maintd.errors import ConfigError, MaintdError, Problem
from maintd.values import dataclass

if TYPE_CHECKING:
    from maintd.daemon import Daemon

OWN_FAULT = "take back what was changed last; and this is a fault of maintd: please report it"


@dataclass(frozen=True)
class Rejected:
    """A config that was refused, which is so until another one is taken over."""

    at: datetime
    problems: tuple[Problem, ...]
    advice: str

    def fields(self) -> dict[str, Any]:
        """The rejection for programs, with as many of its problems as become events."""
        problems = [str(problem) for problem in self.problems]
        at = self.at.isoformat(timespec="seconds")
        return {"at": at, "errors": len(problems), "problems": problems[: story.MOST_PROBLEMS], "advice": self.advice}


def reload(daemon: "Daemon", *, force: bool) -> dict[str, Any]:
    """Reads the config again and applies what differs; on any error the old one stays. Returns the verdict."""
    try:
        new = configuration.load(daemon.config_path)
    except ConfigError as error:
        return _reject(daemon, error.problems, error.hint or "correct the file and reload")
    except (OSError, MaintdError) as error:
        problem = Problem(daemon.config_path, 0, 0, str(error))
        return _reject(daemon, [problem], getattr(error, "hint", "") or "correct it and reload")
    except Exception as error:  # noqa: BLE001 - not even a fault of maintd's own may end it here
        problem = Problem(daemon.config_path, 0, 0, f"it cannot be read: {type(error).__name__}: {error}")
        return _reject(daemon, [problem], OWN_FAULT)
    lost = differences.losses(daemon.config, new)
    if lost and not force:
        text = f"{' and '.join(lost)} would be gone; the file may be half-written"
        return _reject(daemon, [Problem(daemon.config_path, 0, 0, text)], "if that is meant: maintd reload --force")
    moved = list(_moved(daemon.config, new, daemon.config_path))
    if moved:
        return _reject(daemon, moved, "set it back, or take it over by supervisorctl restart maintd")
    return _apply(daemon, new)


def _moved(old: Config, new: Config, path: str) -> Iterator[Problem]:
    for key in differences.moved(old, new):
        place = new.place("daemon", key) if key in new.settings.model_fields_set else (path, 0, 0)
        yield Problem(*place, f"daemon.{key}: a maintd that runs keeps {getattr(old.settings, key)}")


def _reject(daemon: "Daemon", problems: Sequence[Problem], advice: str) -> dict[str, Any]:
    daemon.emit(story.ConfigRejected(target=daemon.config_path, errors=len(problems), advice=advice))
    for problem in problems[: story.MOST_PROBLEMS]:
        daemon.emit(story.ConfigProblem(target=problem.file, problem=str(problem)))
    daemon.rejected = Rejected(datetime.now(UTC), tuple(problems), advice)
    return {"ok": False, "diff": "", "problems": [str(item) for item in problems], "warnings": [], "hint": advice}


def _apply(daemon: "Daemon", new: Config) -> dict[str, Any]:
    difference = differences.diff(daemon.config, new)
    daemon.upkeep.take_over(new)
    daemon.rejected = None
    daemon.report(new.warnings)
    event = story.ConfigReloaded(
        target=daemon.config_path,
        diff=str(difference),
        settings=", ".join(difference.settings) or None,
        added=", ".join(difference.added) or None,
        changed=", ".join(difference.changed) or None,
        removed=", ".join(difference.removed) or None,
    )
    daemon.emit(event)
    warnings = [str(item) for item in new.warnings]
    return {"ok": True, "diff": str(difference), "problems": [], "warnings": warnings, "hint": event.msg}
