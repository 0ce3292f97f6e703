"""The files of a set as one text, which the resident process carries from the child that finds to the one that packs.

As values they take 1.5 KB of memory each.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import field, fields
from typing import Self

from maintd.manifest import Source
from maintd.values import completed, dataclass


@dataclass(frozen=True)
class Folded:
    """How many `files` of how many bytes (`size`); they are in the `text`, with what is left out beside them."""

    files: int
    size: int
    text: str = field(repr=False)

    @classmethod
    def of(cls, files: Sequence[Source], left_out: Sequence[str]) -> Self:
        columns = {name: [getattr(one, name) for one in files] for name in _names()}  # which take 30 bytes for a file
        text = base64.b64encode(zlib.compress(json.dumps([columns, list(left_out)]).encode(), 1)).decode()
        return cls(len(files), sum(one.size for one in files), text)


def unfolded(text: str) -> tuple[list[Source], list[str]]:
    """The files, and what is left out: in a child."""
    columns, left_out = json.loads(zlib.decompress(base64.b64decode(text)))
    rows = zip(*(columns[name] for name in _names()), strict=True)
    made = (dict(zip(_names(), row, strict=True)) for row in rows)
    return [Source(**one | {"seen": tuple(one["seen"])}) for one in made], left_out


def _names() -> list[str]:
    return [each.name for each in fields(completed(Source))]
