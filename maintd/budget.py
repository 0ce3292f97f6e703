"""What a directory may take on the disk, with all below it, and what it takes now."""

from maintd import durable, grounds
from maintd.units import format_size
from maintd.values import dataclass
from maintd.walk import Walk


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

    def is_met(self) -> bool:
        return self.taken() <= self.most

    def lower(self) -> "Budget":
        """What is aimed at once it was exceeded, so that it is not exceeded again at once: a tenth less."""
        return Budget(self.path, self.most - self.most // 10)
