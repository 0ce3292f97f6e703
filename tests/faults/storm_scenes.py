"""The logs that a storm rages over: who writes each, how it is to be rotated, and how much of it there is to be."""

from dataclasses import dataclass

from .writers import Cast


@dataclass(frozen=True)
class Scene:
    """One log. `options` are those of its rotate job, in which {pidfile} stands for a file with its writer's pid; with
    None it has no job, and shows how long a write takes on this machine where nobody rotates.

    The storm lasts until there are so many rotations and lines. With `may_lose`, lost and torn lines are counted only.
    """

    name: str
    cast: Cast
    options: str | None = ""
    rotations: int = 50
    lines: int = 0
    may_lose: bool = False

    def scaled(self, share: float) -> tuple[int, int]:
        """How many rotations and lines are enough for this share of the full size."""
        rotations = 0 if self.options is None else max(2, round(self.rotations * share))
        return rotations, round(self.lines * share)


@dataclass(frozen=True)
class Storm:
    """Scenes that are played at the same time, before one maintd, on a file system of this kind."""

    place: str
    scenes: tuple[Scene, ...]


STEADY = 20_000
"""Lines a second of a writer that shares the machine with others: four of them leave maintd a part of two cores."""

HUP = 'signal = { name = "HUP", pidfile = "{pidfile}" }\n'
COMMAND = """command = ["/bin/sh", "-c", 'kill -HUP "$(cat {pidfile})"']\n"""

RENAMED = (
    Scene("supervisord", Cast("pipe", rate=STEADY)),
    Scene("signal", Cast("reopen", rate=STEADY), HUP),
    Scene("command", Cast("reopen", rate=STEADY), COMMAND + 'compress = "gzip"\n'),
    Scene("none", Cast("watch", rate=STEADY), 'reopen = "none"\ncompress = "none"\n'),
)
"""Writers that go on in a new log."""

FASTEST = Scene("appending", Cast("append"), rotations=200, lines=5_000_000)
CONTROL = Scene("control", Cast("append", rate=STEADY), None)
COLLAPSED = (
    CONTROL,
    Scene("stdio", Cast("stdio", rate=STEADY)),
    Scene("two", Cast("append", ("a", "b"), STEADY), 'reopen = "collapse"\ncompress = "gzip"\n'),
    Scene("forked", Cast("append", ("ab",), STEADY), 'reopen = "collapse"\ncompress = "none"\n'),
)
"""Appending writers that nobody can tell anything."""

ADOPT = "adopt = true\n"
ADOPTED = (
    Scene("not-appending", Cast("offset", rate=STEADY), ADOPT),
    Scene("not-appending-forked", Cast("offset", ("ab",), STEADY), ADOPT),
)
PAUSE = "pause_writers = true\n"
PAUSED = (
    CONTROL,
    Scene("paused", Cast("append", rate=STEADY), PAUSE),
    Scene("paused-stdio", Cast("stdio", rate=STEADY), PAUSE),
    Scene("paused-two", Cast("append", ("a", "b"), STEADY), PAUSE),
    Scene("paused-forked", Cast("append", ("ab",), STEADY), PAUSE),
    Scene("paused-not-appending", Cast("offset", rate=STEADY), PAUSE + ADOPT),
)
LOSSY = Scene("lossy", Cast("append"), "lossy = true\n", may_lose=True)

STORMS = {
    "renamed-ext4": Storm("ext4", RENAMED),
    "renamed-tmpfs": Storm("tmpfs", RENAMED),
    "collapsed-fastest": Storm("ext4", (FASTEST,)),
    "collapsed": Storm("ext4", COLLAPSED),
    "adopted": Storm("ext4", ADOPTED),
    "paused": Storm("tmpfs", PAUSED),
    "lossy": Storm("tmpfs", (LOSSY,)),
}
