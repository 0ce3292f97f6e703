"""What a reload changes: two configs compared by value."""

from dataclasses import dataclass

from maintd.config import Config


@dataclass(frozen=True, slots=True)
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
            )
            if before != now
        ),
    )


def loses_most(old: Config, new: Config) -> bool:
    """Whether more than half of the jobs would go: half-written TOML is often valid."""
    return 2 * len(diff(old, new).removed) > len(old.jobs)
