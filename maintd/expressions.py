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
def matcher(pattern: str) -> Callable[[bytes], bool]:
    """Says whether it matches somewhere in bytes: an ASCII one as it stands, any other in what they are as UTF-8.

    So a letter beyond ASCII is one, also in brackets and with case left aside; what is not UTF-8 matches no letter.
    """
    try:
        found = re.compile(pattern.encode("ascii"))
    except (UnicodeEncodeError, re.error):  # with "(?u)" and escapes such as "\u2014" it is one of text alone
        text = compiled(pattern)
        return lambda given: text.search(given.decode("utf-8", "surrogateescape")) is not None
    return lambda given: found.search(given) is not None


def search(_progress: Callable[[int], None], *, pattern: str, text: str, is_binary: bool = False) -> bool:
    """Whether it matches somewhere, for a child process; holds the interpreter until it knows.

    What `is_binary` comes as a text of the characters 0 to 255.
    """
    if is_binary:
        return matcher(pattern)(text.encode("latin-1"))
    return compiled(pattern).search(text) is not None
