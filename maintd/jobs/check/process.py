"""The kind `check.process`: a program of supervisord, or a group of them: its state, and what its processes use."""

import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from maintd import processes
from maintd.check import CannotTell, Check, Whole
from maintd.errors import Denied, Unreachable
from maintd.job import Context, Limit, Span
from maintd.options import Cores, Port
from maintd.readings import Sign, above, below, degraded, down, up
from maintd.supervisor import Program, Supervisor
from maintd.units import counted, format_duration, format_size


class CheckProcess(Check):
    """Asks supervisord for a program, and /proc for the processes that it has started, children included."""

    kind: ClassVar[str] = "check.process"
    looks_at: ClassVar[tuple[str, ...]] = ("program",)
    follows_programs: ClassVar[bool] = True

    program: str = Field(
        min_length=1, description='as supervisorctl names it: "api", "web:nginx", or "web:*" for a whole group'
    )
    states: tuple[str, ...] = Field(
        default=("RUNNING",), min_length=1, description="the states that are well; EXITED for what runs now and then"
    )
    degraded_uptime: Span | None = Field(default=None, description="degraded while it runs for less than this")
    down_uptime: Span | None = Field(default=None, description="down while it runs for less than this")
    restarts_within: Span = Field(
        default=timedelta(minutes=10), description="in how long restarts that nobody asked for are counted"
    )
    degraded_restarts: Whole | None = Field(default=None, description="so many restarts are degraded")
    down_restarts: Whole | None = Field(default=None, description="so many restarts are down")
    degraded_cpu: Cores | None = Field(default=None, description='CPU since the last look: "80%" of a core is degraded')
    down_cpu: Cores | None = Field(default=None, description="and so much is down")
    degraded_memory: Limit | None = Field(default=None, description="memory, shared pages by their share (PSS)")
    down_memory: Limit | None = Field(default=None, description="and so much is down")
    degraded_threads: Whole | None = Field(default=None, description="so many threads are degraded")
    down_threads: Whole | None = Field(default=None, description="and so many are down")
    degraded_files: Whole | None = Field(default=None, description="so many open descriptors are degraded")
    down_files: Whole | None = Field(default=None, description="and so many are down")
    ports: tuple[Port, ...] = Field(default=(), description="TCP ports on which it must listen")
    degraded_connections: Whole | None = Field(default=None, description="so many connections to `ports` are degraded")
    down_connections: Whole | None = Field(default=None, description="and so many are down")

    @property
    def target(self) -> str:
        return self.program

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        try:
            programs = self._programs(ctx.supervisor.until(deadline))
        except Unreachable as error:
            raise CannotTell(str(error), hint=error.hint) from error
        pids = [pid for program in programs if program.pid for pid in processes.tree(program.pid)]
        yield from self._states(programs)
        yield from self._restarts(ctx, programs)
        yield from self._uptimes(programs)
        try:
            yield from self._use(ctx, pids)
        except PermissionError as error:
            raise CannotTell("its processes may not be looked into", hint="run maintd as root") from error

    def _programs(self, supervisor: Supervisor) -> list[Program]:
        if not self.program.endswith(":*"):
            return [supervisor.program(self.program)]
        found = [program for program in supervisor.programs() if program.is_named(self.program)]
        if not found:
            raise Denied(f"there is no group {self.program[:-2]}", hint="supervisorctl status names them all")
        return found

    def _states(self, programs: list[Program]) -> Iterator[Sign]:
        for program in programs:
            name = f"{program.name} is " if len(programs) > 1 else ""
            if program.state in self.states:
                yield up(f"{name}{program.state}")
            elif program.state in ("STARTING", "STOPPING"):
                yield degraded(f"{name}{program.state}")
            else:
                why = f": {program.error}" if program.error else ""
                yield down(f"{name}{program.state}{why}", f"supervisorctl tail {program.name} shows its last output")

    def _restarts(self, ctx: Context, programs: list[Program]) -> Iterator[Sign]:
        """Restarts that were seen, at most one of each program for each look, and that nobody asked for."""
        pids = {program.name: program.pid for program in programs if program.pid}
        before: dict[str, int] = ctx.memory.setdefault("pids", {})
        seen: deque[float] = ctx.memory.setdefault("restarts", deque(maxlen=1000))
        now = time.monotonic()
        ended = {name: before[name] for name, pid in pids.items() if before.get(name, pid) != pid}
        seen.extend([now] * sum(pid not in ctx.stopped.get(name, ()) for name, pid in ended.items()))
        before.update(pids)
        while seen and seen[0] < now - self.restarts_within.total_seconds():
            seen.popleft()
        if seen or self.degraded_restarts is not None or self.down_restarts is not None:
            told = f"{counted(len(seen), 'restart')} within {format_duration(self.restarts_within)}"
            yield above(len(seen), (self.degraded_restarts, self.down_restarts), told)

    def _uptimes(self, programs: list[Program]) -> Iterator[Sign]:
        limits = [None if span is None else span.total_seconds() for span in (self.degraded_uptime, self.down_uptime)]
        for program in programs:
            try:
                seconds = processes.uptime(program.pid) if program.pid else None
            except OSError:
                seconds = None
            if seconds is not None:
                told = f"for {format_duration(timedelta(seconds=int(seconds)))}"
                yield below(seconds, (limits[0], limits[1]), told)

    def _use(self, ctx: Context, pids: list[int]) -> Iterator[Sign]:
        yield from self._cpu(ctx, pids)
        if self.degraded_memory or self.down_memory:
            used = processes.pss(pids)
            yield above(used, (self.degraded_memory, self.down_memory), f"{format_size(used)} of memory")
        for count, limits, noun in (
            (processes.threads, (self.degraded_threads, self.down_threads), "thread"),
            (processes.open_files, (self.degraded_files, self.down_files), "open file"),
        ):
            if limits != (None, None):
                number = count(pids)
                yield above(number, limits, counted(number, noun))
        if self.ports and pids:
            yield from self._ports(pids)

    def _cpu(self, ctx: Context, pids: list[int]) -> Iterator[Sign]:
        if self.degraded_cpu is None and self.down_cpu is None:
            return
        now, used = time.monotonic(), processes.cpu_seconds(pids)
        before = ctx.memory.get("cpu")
        ctx.memory["cpu"] = now, used
        if before and now > before[0]:
            spent = sum(seconds - before[1].get(process, 0.0) for process, seconds in used.items())
            share = 100 * spent / (now - before[0])
            yield above(share, (self.degraded_cpu, self.down_cpu), f"{share:.0f}% of a core")

    def _ports(self, pids: list[int]) -> Iterator[Sign]:
        found = processes.sockets(pids)
        for port in self.ports:
            if port not in found.listening:
                yield down(f"it does not listen on port {port}")
        if self.degraded_connections is not None or self.down_connections is not None:
            count = sum(found.connections.get(port, 0) for port in self.ports)
            yield above(count, (self.degraded_connections, self.down_connections), counted(count, "connection"))
