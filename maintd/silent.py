"""How long a guard waits for object stores, and which of them have let it wait in vain: a disk that fills cannot."""

import time

LONGEST = 3.0
"""Seconds within which a store is to tell what it has."""
AGAIN = 300.0
"""Seconds for which one that did not is not asked again."""


class Silent:
    """Stores by their private directories. Used by one thread at a time."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def note(self, directory: str) -> None:
        """The store did not answer just now."""
        self._since[directory] = time.monotonic()

    def has(self, directory: str) -> bool:
        """Whether the store did not answer lately, so that it is not to be asked."""
        since = self._since.get(directory)
        return since is not None and time.monotonic() - since < AGAIN
