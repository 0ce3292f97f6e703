"""What a reload changes: two configs compared by value."""

from maintd.config import Config
from maintd.settings import TABLES
from maintd.units import counted
from maintd.values import dataclass


@dataclass(frozen=True)
class Diff:
    """The names of the jobs that differ by value, in file order, and of the settings tables that do."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    settings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"+{len(self.added)} ~{len(self.changed)} \N{MINUS SIGN}{len(self.removed)}"


def diff(old: Config, new: Config) -> Diff:
    """What a reload from `old` to `new` changes."""
    return Diff(
        tuple(name for name in new.jobs if name not in old.jobs),
        tuple(name for name, job in new.jobs.items() if name in old.jobs and old.jobs[name] != job),
        tuple(name for name in old.jobs if name not in new.jobs),
        tuple(
            name
            for name, before, now in (
                ("daemon", old.settings, new.settings),
                ("supervisor", old.supervisor, new.supervisor),
                ("cascade", old.cascade, new.cascade),
                ("alerts", old.alerts, new.alerts),
            )
            if before != now
        ),
    )


def losses(old: Config, new: Config) -> list[str]:
    """What would go that hardly anybody takes away, since half-written TOML is often valid: most jobs, whole settings.

    A settings table that is not there any more would silently mean its defaults.
    """
    removed = len(diff(old, new).removed)
    found = [f"{removed} of {counted(len(old.jobs), 'job')}"] if 2 * removed > len(old.jobs) else []
    return found + [f"[{name}]" for name in TABLES if name in old.sources and name not in new.sources]


def moved(old: Config, new: Config) -> list[str]:
    """What only a restart can change: the lock in state_dir keeps a second maintd away, and where the sockets are."""
    keys = ("state_dir", "runtime_dir", "status_group", "status_dir")
    return [key for key in keys if getattr(old.settings, key) != getattr(new.settings, key)]
