import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .daemon import Daemon
from .stage import Stage


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    """Sets up stages in a short folder (a socket's path has 107 bytes at most), and takes them down."""
    if os.geteuid() != 0:
        pytest.skip("the shipped program section runs maintd as root: run the tests as root")
    with tempfile.TemporaryDirectory(prefix="maintd-", ignore_cleanup_errors=True) as folder:
        stages: list[Stage] = []

        def make(services: dict[str, list[str]], config: str) -> Stage:
            stages.append(Stage(Path(folder), services, config))
            return stages[-1]

        try:
            yield make
        finally:
            for made in stages:
                made.stop()


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
