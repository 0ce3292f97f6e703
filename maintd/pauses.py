"""Which jobs are paused, until when, and what each missed meanwhile: it is made up for when the pause ends."""

from datetime import datetime, timedelta

from maintd.state import ALL_JOBS, State
from maintd.triggers import Due, Scheduled


class Pauses:
    """Pauses outlive the daemon, in `state`; `now` is aware."""

    def __init__(self, state: State, now: datetime) -> None:
        self._state = state
        self._until = state.pauses(now)
        self._missed: dict[str, Due] = {}

    def hold(self, name: str) -> bool:
        """Whether the job is paused, by itself or with all others."""
        return name in self._until or ALL_JOBS in self._until

    def is_of_all(self) -> bool:
        """Whether all jobs are paused together, which only a resume of all of them ends."""
        return ALL_JOBS in self._until

    def until(self, name: str) -> datetime | None:
        """When nothing holds the job (or ALL_JOBS) any more; None if nothing does, or it lasts until resumed."""
        ends = [self._until[key] for key in {name, ALL_JOBS} & self._until.keys()]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None

    def begin(self, name: str, until: datetime | None) -> None:
        self._state.pause(name, until)
        self._until[name] = until

    def end(self, name: str, now: datetime) -> bool:
        """Whether the job had been paused; ALL_JOBS ends every pause."""
        found = self._state.resume(name)
        self._until = self._state.pauses(now)
        return found

    def end_together(self, now: datetime) -> None:
        """Ends the pause of all jobs; those that are paused by themselves stay so."""
        self._state.resume_together()
        self._until = self._state.pauses(now)

    def run_out(self, now: datetime) -> list[str]:
        """Ends the pauses whose time is over, and names them."""
        over = [name for name, until in self._until.items() if until is not None and until <= now]
        if over:
            self._until = self._state.pauses(now)
        return over

    def shift(self, jump: timedelta) -> None:
        """The wall clock was set by `jump`: pauses last as long as they were to last."""
        for name, until in list(self._until.items()):
            if until is not None:
                self.begin(name, until + jump)

    def miss(self, due: Due) -> None:
        """Keeps what was due during a pause; only what a schedule started does not come back by itself."""
        if isinstance(due.cause, Scheduled):
            self._missed[due.job] = due

    def missed(self, name: str) -> Due | None:
        """What the job is to make up for; asked once."""
        return self._missed.pop(name, None)
