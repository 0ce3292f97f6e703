"""The daemon: one inbox, read by the main thread, which alone owns config, schedule and what is pending."""

import contextlib
import gc
import grp
import os
import signal
import socket
import time
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

from maintd import __version__, answers, capabilities, durable, holders, linux, lock, powers, reloading, story
from maintd import config as configuration
from maintd.awake import Awake
from maintd.client import SOCKET, STATUS_SOCKET
from maintd.config import Config
from maintd.control import Control
from maintd.errors import Problem, Trouble, trouble
from maintd.events import SCHEMA, Event
from maintd.hearing import Hearing
from maintd.log import Envelope, Log, silence_stdlib_logging, to_descriptor
from maintd.names import enumerated
from maintd.notices import Notice
from maintd.ping import Pinged
from maintd.requests import Request
from maintd.upkeep import Heard, Noted, Upkeep
from maintd.values import dataclass
from maintd.vitals import Pulse, Vitals

TICK = 1.0
LOCK_PATIENCE = 3.0
STOP_PATIENCE = 1.7
"""Seconds for all of a stop; what is then still at work is cut off, and recovered at the next start."""
LANES_PATIENCE = 1.2
LEAST_PATIENCE = 0.1
_DESCRIPTORS = 4096
"""So many may be open if maintd is allowed to have them; supervisord gives 1024 to what it starts."""


@dataclass(frozen=True)
class Reload:
    """SIGHUP."""


@dataclass(frozen=True)
class Stop:
    """The daemon is to end, for this reason."""

    reason: str
    failed: bool = False


Item = Heard | Reload | Stop | Request


def run(config_path: str) -> int:
    """Runs until told to stop; returns the exit code. Raises ConfigError, Locked, or OSError before it has begun."""
    gc.enable()
    config = configuration.load(config_path)
    linux.allow_descriptors(_DESCRIPTORS)
    lock_fd = lock.take(config.settings.state_dir, LOCK_PATIENCE)
    try:
        return Daemon(config_path, config, lock_fd).run()
    finally:
        os.close(lock_fd)


class Daemon:
    """Its life reads as its methods: start, the main loop, stop."""

    def __init__(self, config_path: str, config: Config, lock_fd: int) -> None:
        self.config_path = config_path
        self.started = datetime.now(UTC)
        self.inbox: SimpleQueue[Item] = SimpleQueue()
        self.log = Log(to_descriptor(1))
        self.awake = Awake()
        self.upkeep = Upkeep(config, self.log, lock_fd, self.inbox.put, self.awake)
        self.rejected: reloading.Rejected | None = None
        self.parent = os.getppid() if "SUPERVISOR_ENABLED" in os.environ else None
        self.control: Control | None = None
        self.open_control: Control | None = None
        self.stopping: Stop | None = None
        self.vitals = Vitals(self.emit)
        self.pulse = Pulse(self.awake, self._hangs)

    @property
    def config(self) -> Config:
        return self.upkeep.config

    def emit(self, event: Event, job: str = "") -> None:
        self.log.emit(event, Envelope(job))

    # Life

    def run(self) -> int:
        self._start()
        try:
            stop = self._loop()
        except Exception as error:  # noqa: BLE001 - whatever it is: said as an event, and the end in order
            stop = self._failed(trouble(error))
        self._end(stop.reason)
        return 1 if stop.failed else 0

    def _failed(self, found: Trouble) -> Stop:
        advice = "supervisord starts maintd again; please report it"
        self.emit(story.DaemonFailed(tried="go on", error=found.error, error_msg=found.error_msg, advice=advice))
        return Stop(f"failed: {found.error_msg}", failed=True)

    def _hangs(self, seconds: float) -> None:
        """In the thread of the pulse: the main thread cannot be ended in order, so all of it is."""
        self._failed(Trouble("hangs", f"the main thread has not come round for {seconds:.0f} s", ""))
        self.log.close(LEAST_PATIENCE)
        left: list[Notice] = []
        with contextlib.suppress(Empty):
            while True:
                item = self.inbox.get_nowait()
                left += [item.notice] if isinstance(item, Noted) else []
        self.upkeep.leave(left)
        os._exit(1)

    def _start(self) -> None:
        silence_stdlib_logging()
        holders.ignore_lease_breaks()
        self.hearing = Hearing(
            {
                signal.SIGTERM: lambda: self._stop(Stop("SIGTERM")),
                signal.SIGINT: lambda: self._stop(Stop("SIGINT")),
                signal.SIGHUP: lambda: self.inbox.put(Reload()),
            }
        )
        durable.private_directory(self.config.settings.runtime_dir)
        self.control = Control(os.path.join(self.config.settings.runtime_dir, SOCKET), self.inbox.put)
        self.control.start()
        self._open_to_a_group()
        self._say_started()
        self.report(self.config.warnings)
        self.upkeep.note_clock()  # before any run: a check that was missed is looked at as soon as it is recovered
        for name in self.config.jobs:
            if self.stopping is None:
                self.upkeep.install(name)
                self.upkeep.recover(name)
        self.upkeep.start()
        self.pulse.start()

    def _open_to_a_group(self) -> None:
        """The second socket, if the config has it."""
        settings = self.config.settings
        if settings.status_group is None:
            return
        gid = grp.getgrnam(settings.status_group).gr_gid
        self.open_control = Control(os.path.join(settings.status_dir, STATUS_SOCKET), self.inbox.put, gid)
        self.open_control.start()

    def _say_started(self) -> None:
        missing = capabilities.missing()
        cannot = powers.unrotatable(self.config, missing)
        event = story.DaemonStarted(
            version=__version__,
            pid=os.getpid(),
            host=socket.gethostname(),
            schema=SCHEMA,
            config=self.config_path,
            jobs=len(self.config.jobs),
            missing=", ".join(missing) or None,
            unrotatable=enumerated(cannot) or None,
            unrotatable_count=len(cannot) or None,
        )
        self.emit(event)

    def _stop(self, stop: Stop) -> None:
        """Ends the loop, before all that waits in the inbox: with many jobs that may take a while."""
        self.stopping = stop
        self.inbox.put(stop)

    def _loop(self) -> Stop:
        next_tick = time.monotonic() + TICK
        while self.stopping is None:
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK
                stop = self._tick()
                if stop:
                    return stop
            with contextlib.suppress(Empty):
                item = self.inbox.get(timeout=max(next_tick - time.monotonic(), 0))
                if not isinstance(item, Stop):
                    self._handle(item)
        return self.stopping

    def _end(self, reason: str) -> None:
        end = time.monotonic() + STOP_PATIENCE
        clean = self.upkeep.stop(LANES_PATIENCE)
        self._hear_the_rest(end - 2 * LEAST_PATIENCE)
        self.upkeep.pings.finish(end - 2 * LEAST_PATIENCE)
        for control in filter(None, (self.control, self.open_control)):
            control.stop(max(end - time.monotonic(), LEAST_PATIENCE))
        uptime = (datetime.now(UTC) - self.started).total_seconds()
        if not clean:
            reason += "; a step was cut off and is recovered at the next start"
        self.emit(story.DaemonStopped(reason=reason, uptime_s=round(uptime, 1)))
        self.log.close(max(end - time.monotonic(), LEAST_PATIENCE))
        self._hear_the_rest(end + LEAST_PATIENCE, is_silent=True)
        self.upkeep.close()

    def _hear_the_rest(self, latest: float, *, is_silent: bool = False) -> None:
        """How runs have ended, and what somebody has to be told of, is kept for the next maintd to tell.

        After `latest` (time.monotonic()) only what is wrong is, all at once. Once it `is_silent`, and no event is
        written any more, nothing is heard that would lead to one.
        """
        left: list[Notice] = []
        with contextlib.suppress(Empty):
            while True:
                item = self.inbox.get_nowait()
                if not isinstance(item, Noted | Pinged if is_silent else Heard):
                    continue
                if time.monotonic() < latest:
                    self.upkeep.hear(item)
                elif isinstance(item, Noted):
                    left.append(item.notice)
        if left:
            self.upkeep.leave(left)

    def _handle(self, item: Heard | Reload | Request) -> None:
        match item:
            case Reload():
                reloading.reload(self, force=False)
            case Request():
                answers.answer(self, item)
            case _:
                self.upkeep.hear(item)

    # Once a second

    def _tick(self) -> Stop | None:
        self.pulse.beat()
        self.upkeep.note_clock()
        self.upkeep.tick()
        if self.parent is not None and os.getppid() != self.parent:
            return Stop("supervisord has gone, and a new one will start another maintd")
        parts = self.upkeep.alive() | {
            "log": self.log.alive,
            "signals": self.hearing.alive,
            "pulse": self.pulse.alive,
            "control": self.control is not None and self.control.alive,
            "status": self.open_control is None or self.open_control.alive,
        }
        cause = self.vitals.look(
            self.awake.now(), self.inbox.qsize(), self.upkeep.lanes.overdue(), self.config.settings.max_memory
        )
        self.vitals.look_at_runs(self.upkeep.lanes.quiet())
        self.vitals.look_at_threads(self.awake.now(), self.upkeep.rounds())
        self.vitals.look_at_places(self.awake.now(), self.upkeep.checkups.waiting())
        if cause:
            return self._failed(Trouble("unwell", cause, ""))
        dead = [name for name, alive in parts.items() if not alive]
        if dead:
            return self._failed(Trouble("DeadThread", f"the {dead[0]} thread has died", ""))
        return None

    def report(self, problems: tuple[Problem, ...]) -> None:
        for problem in problems[: story.MOST_PROBLEMS]:
            event = story.ConfigProblem(target=problem.file, problem=str(problem))
            self.log.emit(event, Envelope(level=problem.severity))
