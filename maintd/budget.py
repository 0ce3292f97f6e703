"""What a directory may take on the disk, with all below it, and what it takes now."""

from maintd import durable, grounds
from maintd.units import format_size
from maintd.values import dataclass
from maintd.walk import Walk

_BLOCK = 4096


@dataclass(frozen=True)
class Budget:
    """At most so many bytes are to be taken on the disk by `path` and what is below it, on its file system."""

    path: str
    most: int

    def taken(self) -> int:
        """Walks it. Raises OSError, Refused."""
        with durable.directory(grounds.resolve(self.path)) as root:
            return Walk(self.path, 1, lambda _: None).run(root).total.disk

    def excess(self, taken: int) -> str:
        """What is too much, for people, or nothing."""
        return f"{format_size(taken)} taken, {format_size(self.most)} are allowed" if taken > self.most else ""

    def lower(self) -> "Budget":
        """What is aimed at once it was exceeded, so that it is not exceeded again at once: a tenth less."""
        return Budget(self.path, self.most - self.most // 10)


class Reckoning:
    """The way down to a budget, while steps are done for it: `taken` is what it takes at first.

    It walks anew when what was done should have freed half of the excess, so that others, who write or delete there
    as well, and what a step frees less or more than it is about, are found out in time.
    """

    def __init__(self, budget: Budget, taken: int) -> None:
        self._budget, self._excess, self._freed = budget, taken - budget.most, 0

    def is_met(self) -> bool:
        """Whether it takes no more than it may; once it was so, that stays."""
        if self._excess > 0 and 2 * self._freed >= self._excess:
            self._excess, self._freed = self._budget.taken() - self._budget.most, 0
        return self._excess <= 0

    def note(self, size: int) -> None:
        """A step was done, which is about so many bytes: in whole blocks."""
        self._freed += -(-size // _BLOCK) * _BLOCK
