"""What a program may take, and by how many samples of how many it is over that."""

from collections import deque
from dataclasses import field

from maintd.values import dataclass


@dataclass(frozen=True)
class Ceiling:
    """What the processes of a program (as supervisord names it, or "group:*") may take together.

    `memory` is in bytes, shared pages by their share (PSS); `cpu` in percent of a core. A sample is taken `every` so
    many seconds, none within the `grace` after a start; `count` of the last `of` samples above a limit are too many.
    What is done about it has `step` seconds to help.
    """

    program: str
    memory: int | None
    files: int | None
    cpu: float | None
    every: float
    step: float
    grace: float
    count: int
    of: int


@dataclass
class Samples:
    """The last samples of one program's process `pid`: for each whether it was above a limit."""

    pid: int
    of: int
    above: deque[bool] = field(init=False)
    cpu: tuple[float, dict[tuple[int, int], float]] | None = None

    def __post_init__(self) -> None:
        self.above = deque(maxlen=self.of)

    def is_over(self, count: int) -> bool:
        return sum(self.above) >= count

    def is_well(self, count: int) -> bool:
        """Whether it cannot be over by now: enough samples, and too few of them above."""
        return len(self.above) == self.of and not self.is_over(count)
