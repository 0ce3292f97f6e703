"""Names that are looked up side by side: more than there are places for wait for one, and each is asked once."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from maintd import wire
from maintd.errors import MaintdError
from tests.conftest import until


class Resolver:
    """Answers 127.0.0.1 to every name, once it is released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()

    def getaddrinfo(self, host: str, port: None, type: int) -> list:  # noqa: A002 - as it is called
        self.asked.append(host)
        assert self.released.wait(60)
        return [(socket.AF_INET, type, 6, "", ("127.0.0.1", 0)), (socket.AF_INET6, type, 6, "", ("::1", 0, 0, 0))]


@pytest.fixture
def resolver(monkeypatch) -> Iterator[Resolver]:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.released.set()
    until(lambda: not wire._lookups, "all lookups are over", 20)


def test_more_names_than_places_wait_for_their_turn(resolver):
    """Of 40 names at once all are resolved, though 16 at a time; one that gets no place until its deadline is not."""
    names = [f"site{number}.example" for number in range(40)]
    deadline = time.monotonic() + 60
    with ThreadPoolExecutor(len(names)) as pool:
        found = [pool.submit(wire.resolve, name, 80, deadline) for name in names]
        until(lambda: len(resolver.asked) == wire.MOST_LOOKUPS, "every place is taken", 20)
        with pytest.raises(MaintdError, match=r"late\.example was not resolved in time"):
            wire.resolve("late.example", 80, time.monotonic() + 0.1)
        resolver.released.set()
        answers = [one.result() for one in found]
    assert answers == [[(socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("::1", 80, 0, 0))]] * 40
    assert sorted(resolver.asked) == sorted(names)


def test_the_ports_of_one_name_take_one_place(resolver):
    """A name that is asked for with 20 ports at once is looked up once."""
    deadline = time.monotonic() + 60
    with ThreadPoolExecutor(20) as pool:
        found = [pool.submit(wire.resolve, "one.example", port, deadline) for port in range(1, 21)]
        until(lambda: pool._work_queue.empty() and resolver.asked, "all have asked", 20)
        resolver.released.set()
        ports = [one.result()[0][1][1] for one in found]
    assert ports == list(range(1, 21))
    assert len(resolver.asked) < 20
