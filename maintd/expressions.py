"""Regular expressions of the config on text from elsewhere, which decides how long that takes: `re` backtracks."""

import re
from collections.abc import Callable
from functools import lru_cache

_REPEATING = frozenset("*+?{(")


def is_plain(pattern: str) -> bool:
    """Whether nothing in it is repeated or grouped, so that it takes no longer than the text is long."""
    return not _REPEATING & set(pattern)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@lru_cache(maxsize=256)
def compiled_bytes(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode())


def search(_progress: Callable[[int], None], *, pattern: str, text: str, is_binary: bool = False) -> bool:
    """Whether it matches somewhere, for a child process; holds the interpreter until it knows.

    What `is_binary` comes as a text of the characters 0 to 255.
    """
    if is_binary:
        return compiled_bytes(pattern).search(text.encode("latin-1")) is not None
    return compiled(pattern).search(text) is not None
