import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.daemon import Daemon

from .sink import Sink
from .supervisord import Supervisord


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="maintd-", ignore_cleanup_errors=True) as made:
        yield Path(made).resolve()


@pytest.fixture
def supervisord(folder: Path) -> Iterator[Callable[..., Supervisord]]:
    running: list[Supervisord] = []

    def make(**programs: tuple[str, str]) -> Supervisord:
        running.append(Supervisord(folder, programs))
        running[-1].start()
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def daemon(folder: Path) -> Iterator[Callable[[str], Daemon]]:
    """A daemon that finds supervisord in the same folder."""
    made: list[Daemon] = []

    def make(jobs: str) -> Daemon:
        made.append(Daemon(folder, jobs))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()
