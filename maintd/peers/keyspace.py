"""What lies in a Redis, in a child process: a sample of its keys, what they take, and which of them never expire."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from maintd.errors import TimedOut
from maintd.peers import redis
from maintd.units import format_duration

Progress = Callable[[int], None]
_AT_ONCE = 200
_PART = 0.25
"""The share of the server's time that the sample may take: it is asked, and then left alone."""
_GROUP = re.compile(rb"^([^:/.|]{1,64})[:/.|]")


def sample(
    progress: Progress, *, server: dict[str, Any], most: int, expiring: Sequence[str], seconds: float
) -> dict[str, Any]:
    """At most so many keys of each database, by SCAN, which holds nobody up, with MEMORY USAGE and TTL.

    `keys` there are, `sampled` of them, `lasting` without expiry, `bytes` of the sample; `groups` by what stands before
    the first separator, as [name, keys, bytes]; `largest` as [name, bytes]; `wrong`, those without an expiry that the
    patterns `expiring` name, as [pattern, keys, first]; and what INFO says of memory. TimedOut after so many seconds.
    """
    end = time.monotonic() + seconds
    found = _Found(expiring)
    with redis.connected(**server, limit=min(seconds, 30.0)) as client:
        info = client.info("everything")
        for name, numbers in sorted((key, value) for key, value in info.items() if re.fullmatch(r"db\d+", key)):
            found.keys += numbers["keys"]
            client.execute_command("SELECT", int(name[2:]))
            for batch in _batches(client, most):
                begun = time.monotonic()
                found.add(batch, _asked(client, batch))
                progress(found.sampled)
                if begun > end:
                    raise TimedOut(
                        f"the sample took longer than {format_duration(timedelta(seconds=seconds))}",
                        hint="lower sample",
                    )
                time.sleep((time.monotonic() - begun) * (1 / _PART - 1))
    memory = ("used_memory", "used_memory_peak", "used_memory_rss", "mem_fragmentation_ratio", "maxmemory")
    return found.told() | {name: info.get(name) for name in memory}


def _batches(client: Any, most: int) -> Iterator[list[bytes]]:
    """The names of keys, each once, as the server has them."""
    cursor, seen = 0, set[bytes]()
    while True:
        cursor, names = client.execute_command("SCAN", cursor, "COUNT", _AT_ONCE)
        batch = [name if isinstance(name, bytes) else name.encode() for name in names]
        batch = [name for name in dict.fromkeys(batch) if name not in seen][: most - len(seen)]
        seen.update(batch)
        if batch:
            yield batch
        if int(cursor) == 0 or len(seen) >= most:
            return


def _asked(client: Any, batch: Sequence[bytes]) -> list[tuple[int, int]]:
    """Bytes and time to live (-1: it never expires, -2: it is gone) of each key."""
    pipe = client.pipeline(transaction=False)
    for name in batch:
        pipe.execute_command("MEMORY", "USAGE", name)
        pipe.execute_command("TTL", name)
    answers = pipe.execute()
    return [(int(size or 0), int(ttl)) for size, ttl in zip(answers[::2], answers[1::2], strict=True)]


class _Found:
    """What the sample holds."""

    def __init__(self, expiring: Sequence[str]) -> None:
        self.keys = self.sampled = 0
        self._lasting = self._bytes = 0
        self._expiring = expiring
        self._counts, self._sizes = Counter[bytes](), Counter[bytes]()
        self._wrong = dict[str, tuple[int, bytes]]()
        self._largest = (b"", 0)

    def add(self, names: Sequence[bytes], told: Sequence[tuple[int, int]]) -> None:
        for name, (size, ttl) in zip(names, told, strict=True):
            if ttl == -2:
                continue
            self.sampled += 1
            self._bytes += size
            match = _GROUP.match(name)
            group = match[1] if match else b""
            self._counts[group] += 1
            self._sizes[group] += size
            self._largest = max(self._largest, (name, size), key=lambda one: one[1])
            if ttl == -1:
                self._lasting += 1
                self._note(name)

    def _note(self, name: bytes) -> None:
        for pattern in self._expiring:
            if fnmatchcase(_text(name), pattern):
                count, first = self._wrong.get(pattern, (0, name))
                self._wrong[pattern] = (count + 1, first)

    def told(self) -> dict[str, Any]:
        return {
            "keys": self.keys,
            "sampled": self.sampled,
            "lasting": self._lasting,
            "bytes": self._bytes,
            "groups": [[_text(name), self._counts[name], size] for name, size in self._sizes.most_common(5)],
            "largest": [_text(self._largest[0]), self._largest[1]],
            "wrong": [[pattern, count, _text(first)] for pattern, (count, first) in self._wrong.items()],
        }


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def purge(_progress: Progress, *, server: dict[str, Any]) -> int:
    """Has the server give back memory that it holds and does not use (MEMORY PURGE); returns its RSS in bytes then."""
    with redis.connected(**server, limit=30.0) as client:
        client.execute_command("MEMORY", "PURGE")
        return int(client.info("memory")["used_memory_rss"])
