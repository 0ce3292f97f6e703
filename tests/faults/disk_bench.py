"""A bench on a disk of its own, which is empty before each trial."""

import tempfile
from types import TracebackType
from typing import Self

from .disk import Disk
from .place import Place
from .scenes import Scene
from .trial import Bench


class DiskBench(Bench):
    """All of a scene is on the disk, and is really there before the fault."""

    def __init__(self, kind: str = "ext4") -> None:
        self.disk = Disk(kind)
        super().__init__()

    def __enter__(self) -> Self:
        self.disk.__enter__()
        super().__enter__()
        self.folder = self.collapsing = self.disk.folder / "site"
        self._elsewhere = tempfile.TemporaryDirectory(prefix="faults-state-")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._elsewhere.cleanup()
        super().__exit__(kind, error, at)
        self.disk.__exit__(kind, error, at)

    def set(self, scene: Scene) -> Place:
        self.let_go()
        if not scene.disk:
            self.disk.renew()
        place = super().set(scene)
        self.disk.sync()
        if scene.unsynced:
            place.scribble("a.log", scene.unsynced)
        return place

    def own_disk(self) -> Disk:
        return self.disk

    def keep_state_elsewhere(self) -> None:
        """The lock is open for writing all the time, and no file system with such a file is made read-only."""
        (self.folder / "state").symlink_to(self._elsewhere.name)
