"""Where archive jobs have put generations of logs, as the config says it."""

import os
from typing import TYPE_CHECKING

from maintd.values import dataclass

if TYPE_CHECKING:
    from maintd.stores import Store

_LIKE = (".20260101T000000Z", ".1")
"""How generations are called, beside the suffixes of codecs."""


@dataclass(frozen=True)
class Place:
    """An archive. `root` is its directory; of a `store`, the private one that holds its manifest.

    It takes what the `patterns` name, or maybe anything if there are none. `is_noted`: something was put there before;
    None if that is not known.
    """

    root: str
    store: "Store | None"
    patterns: tuple[str, ...]
    is_noted: bool | None

    def may_hold(self, folder: str, log: str) -> bool:
        """Whether generations of a log of this name in the folder are taken, as the config is now."""
        from maintd import matching, names  # noqa: PLC0415 - most configs have no archive

        files = [f"{log}{way}{suffix}" for way in _LIKE for suffix in names.CODEC_SUFFIXES.values()]
        paths = [os.path.join(folder, file) for file in files]
        return not self.patterns or any(matching.is_match(path, each) for each in self.patterns for path in paths)
