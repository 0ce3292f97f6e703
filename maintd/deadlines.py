"""How much time is left of a hard deadline."""

import time

from maintd.errors import TimedOut


def left(deadline: float) -> float:
    """Seconds until the deadline (time.monotonic()). Raises TimedOut if it has passed."""
    found = deadline - time.monotonic()
    if found <= 0:
        raise TimedOut("the deadline has passed")
    return found
