"""Hints at which files and directories come and go: the home of watchdog.

This uses watchdog's inotify reader, not its Observer, which takes a thread and 23 KB for each directory, holds back
everything in a directory for 0.5 s after a file was moved out of it, and says nothing when the kernel's queue overflows
(watchdog 7.1). The kernel is asked for names only, never for modifications.
"""

import errno
import itertools
import os
import queue

from watchdog.observers.inotify_c import (  # noqa: TID251 - this is its home
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from maintd.values import dataclass

NAMES_ONLY = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_DONT_FOLLOW
)
_APPEARED = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_LOST: tuple[int, bytes, int] = (-1, b"", InotifyConstants.IN_Q_OVERFLOW)
MANY_HINTS = 2000


@dataclass(frozen=True)
class Hint:
    """A name in a directory came or went; without a name, the directory itself did."""

    directory: str
    name: str
    is_directory: bool
    has_appeared: bool


class Directories:
    """The directories whose names the kernel watches. `trouble` says which it cannot, or is empty."""

    def __init__(self) -> None:
        self.trouble = ""
        self._kernel: InotifyFD | None = None
        self._hints: queue.SimpleQueue[tuple[int, bytes, int]] = queue.SimpleQueue()
        self._paths: dict[WatchDescriptor, set[str]] = {}
        self._descriptors: dict[str, WatchDescriptor] = {}
        self._callbacks: dict[WatchDescriptor, CallbackId] = {}
        self._refused: dict[str, str] = {}
        self._next_callback = itertools.count()

    def open(self) -> None:
        """Asks for an inotify instance, if there is none yet; without one, everything goes by the poll."""
        if self._kernel:
            return
        try:
            self._kernel = InotifyFD()
        except OSError as error:
            self.trouble = f"no inotify instance ({error.strerror}; see fs.inotify.max_user_instances)"
            return
        self.trouble = ""
        self._kernel.start()

    def close(self) -> None:
        if self._kernel:
            self._kernel.stop()
            self._kernel.join()

    @property
    def is_alive(self) -> bool:
        return self._kernel is None or self._kernel.is_alive()

    def on_event(self, event: InotifyEvent) -> None:
        """Watchdog's thread lands here; it must never fail, so it only passes on."""
        self._hints.put((event.wd, event.name, event.mask))

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        self._hints.put((wd, b"", InotifyConstants.IN_IGNORED))

    def on_queue_overflow(self) -> None:
        self._hints.put(_LOST)

    def hints(self) -> list[Hint] | None:
        """What was heard since the last call; None if some was lost, or it is too much to be worth reading."""
        heard: dict[tuple[int, bytes, int], None] = {}
        for _ in range(self._hints.qsize()):
            heard[self._hints.get()] = None
        out: list[Hint] = []
        for number, name, mask in heard:
            descriptor = WatchDescriptor(number)
            is_directory = not name or bool(mask & InotifyConstants.IN_ISDIR)
            has_appeared = bool(mask & _APPEARED)
            paths = self._paths.get(descriptor, ())
            out.extend(Hint(path, os.fsdecode(name), is_directory, has_appeared) for path in paths)
            if mask & InotifyConstants.IN_IGNORED:
                self._forget(descriptor)
        return None if _LOST in heard or len(heard) > MANY_HINTS else out

    def watch(self, path: str) -> bool:
        """Has this directory watched; True if until now it, or another of that name, was not."""
        callback = CallbackId(next(self._next_callback))
        if self._kernel is None:
            return False
        try:
            descriptor = self._kernel.add_callback(os.fsencode(path), NAMES_ONLY, self, callback)
        except OSError as error:
            self._refuse(path, error)
            return False
        if descriptor == -1:  # watchdog's answer to EACCES, where patterns find nothing either
            self._kernel.remove_callbacks([(descriptor, callback)])
            return False
        former, self._callbacks[descriptor] = self._callbacks.get(descriptor), callback
        if former is not None:
            self._kernel.remove_callbacks([(descriptor, former)])
        if self._descriptors.get(path) == descriptor:
            return False
        self.unwatch(path)
        self._descriptors[path] = descriptor
        self._paths.setdefault(descriptor, set()).add(path)
        return True

    def unwatch(self, path: str) -> None:
        if self._refused.pop(path, None) and not self._refused:
            self.trouble = ""
        descriptor = self._descriptors.pop(path, None)
        if descriptor is None or self._kernel is None:
            return
        self._paths[descriptor].discard(path)
        if not self._paths[descriptor]:
            del self._paths[descriptor]
            self._kernel.remove_callbacks([(descriptor, self._callbacks.pop(descriptor))])

    def _refuse(self, path: str, error: OSError) -> None:
        self.unwatch(path)
        if error.errno in (errno.ENOSPC, errno.ENOMEM):
            self._refused[path] = f"{path} is not watched ({error.strerror}; see fs.inotify.max_user_watches)"
            self.trouble = self._refused[path]

    def _forget(self, descriptor: WatchDescriptor) -> None:
        self._callbacks.pop(descriptor, None)
        for path in self._paths.pop(descriptor, set()):
            if self._descriptors.get(path) == descriptor:
                del self._descriptors[path]
