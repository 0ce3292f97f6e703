"""What the tests beside logrotate have in common."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .beside import Place


@pytest.fixture
def place() -> Iterator[Place]:
    """In a directory of its own, since any other run of pytest closes those of this one for users."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Place(Path(folder))
