"""Whether a glob pattern names a path, by the path alone: nothing is looked up but the pattern's fixed prefix."""

import fnmatch
import re
from functools import lru_cache

from maintd import grounds
from maintd.values import dataclass

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Prefix:
    """The fixed part of a pattern, resolved, and the parts after it; no `rest` if the pattern has no wildcard."""

    root: str
    rest: tuple[str, ...]

    def is_match(self, path: str) -> bool:
        """Whether the pattern names `path` (resolved), without looking at the disk."""
        root = self.root.rstrip("/") + "/"
        return path.startswith(root) and _is_match(tuple(path[len(root) :].split("/")), self.rest)

    def covers(self, path: str) -> bool:
        """Whether the pattern names `path` (resolved), or a directory above it."""
        parts = path.split("/")
        return any(self.is_match("/".join(parts[:length])) for length in range(len(parts), 1, -1))


def split(pattern: str) -> Prefix:
    """Splits a pattern at its first wildcard. The last part always stays in `rest`, so `root` is a directory."""
    parts = [part for part in pattern.split("/") if part]
    fixed = 0
    while fixed < len(parts) - 1 and not has_wildcard(parts[fixed]):
        fixed += 1
    return Prefix(grounds.resolve("/" + "/".join(parts[:fixed])), tuple(parts[fixed:]))


def has_wildcard(part: str) -> bool:
    return bool(_MAGIC.search(part))


def is_match(path: str, pattern: str) -> bool:
    """Whether `path` (resolved) is one that the pattern names, without looking at the disk below the prefix."""
    return split(pattern).is_match(path)


def _is_match(parts: tuple[str, ...], rest: tuple[str, ...]) -> bool:
    if not parts or not rest:
        return not parts and not rest
    if rest[0] == "**":
        deeper = rest[1:] or ("*",)
        return _is_match(parts, deeper) or (not parts[0].startswith(".") and _is_match(parts[1:], rest))
    return is_part(parts[0], rest[0]) and _is_match(parts[1:], rest[1:])


def is_part(name: str, part: str) -> bool:
    """Whether one part of a pattern matches one name, by glob(7); a name also matches itself literally."""
    return name == part or (bool(_regex(part).match(name)) and (part.startswith(".") or not name.startswith(".")))


@lru_cache(maxsize=4096)
def _regex(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))
