import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.daemon import Daemon
from tests.tree import Tree

from .servers import Server, server


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve())


@pytest.fixture
def daemon() -> Iterator[Callable[[str], Daemon]]:
    """Daemons in a folder whose path is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        made: list[Daemon] = []

        def make(jobs: str) -> Daemon:
            made.append(Daemon(Path(folder).resolve(), jobs))
            return made[-1]

        yield make
        for one in made:
            one.end()


@pytest.fixture
def web() -> Iterator[Server]:
    with server() as made:
        yield made


def seen(tree: Tree, jobs: str, *names: str) -> dict[str, dict]:
    """What each check sees that a person asks for, by the name of the check."""
    tree.write_config(jobs)
    did = tree.do(*names)
    return {event["job"]: event for event in did.events("check.seen")}
