"""Where a scene is played: a tree of logs with numbered lines, and perhaps somebody who writes one of them."""

from dataclasses import replace
from pathlib import Path

from tests.tree import Tree

from . import lines
from .holder import Holder, Manner
from .lines import Book, Verdict


class Place(Tree):
    """A tree of logs with numbered lines, and perhaps somebody who writes one of them."""

    def __init__(self, folder: Path, jobs: str, holder: Holder) -> None:
        self.holder, self.book, self.held, self.lossy = holder, Book(), "", "lossy = true" in jobs
        self.has_unsynced = False
        (folder / "writer.pid").write_text(str(holder.pid))
        (folder / "tell").write_text(f"kill -HUP {holder.pid}\n")
        super().__init__(folder, jobs)

    def fill(self, name: str, count: int, *, of: str = "", age: float = 0, are_long: bool = False) -> Path:
        """A file of numbered lines: a log, or what was set aside of the log `of`."""
        return self.log(name, self.book.text(of or name, count, are_long=are_long), age=age)

    def hold(self, name: str, manner: Manner) -> None:
        """Has the holder open a log, and write one line at each `beat`."""
        self.held = name
        self.holder.open(self.logs / name, manner)

    def beat(self) -> int | None:
        """Writes a line, and has it on the disk; the number of the file in which it is, None if nobody wrote.

        With lossy, what is written while maintd is at work may be lost, and nothing else may.
        """
        if not self.held or self.holder.is_stopped:
            return None
        written = self.holder.write(self.book.text(self.held, 1))
        if self.lossy:
            self.book.may_go.add(self.book.written[self.held][-1])
        return written

    def scribble(self, name: str, count: int) -> None:
        """Lines that nobody syncs; who wrote them has gone."""
        self.has_unsynced = True
        with (self.logs / name).open("ab") as log:
            log.write(self.book.text(name, count))
        self.book.may_go |= set(self.book.written[name][-count:])

    def release(self) -> None:
        self.held = ""
        self.holder.close()

    def look(self) -> Verdict:
        """What nobody had synced, a power cut may tear all by itself, and leave NUL bytes for."""
        found = lines.look(self.logs, self.book, self.folder / "state/intents")
        return replace(found, torn=0, nul=0) if self.has_unsynced else found
