"""Which config files are read, and whether they can be trusted: those given, those in directories, those included."""

import os
import stat as st
from collections.abc import Iterable
from dataclasses import replace

from maintd.logrotate.arguments import at_home
from maintd.logrotate.blocks import Blocks
from maintd.logrotate.directives import Scope
from maintd.logrotate.stanza import Complaint, Stanza
from maintd.logrotate.syntax import Directive
from maintd.logrotate.taboo import Taboo
from maintd.values import dataclass

DEEPEST = 16
"""How deep includes may lie within each other, as in logrotate."""
LARGEST = 16 << 20
_USUAL_MODES = 0o644
_NO_FILE = "it's not a regular file"


@dataclass(frozen=True)
class Reading:
    """What config files say, in their order; options stand in each stanza as they hold there."""

    stanzas: tuple[Stanza, ...]
    complaints: tuple[Complaint, ...]

    @property
    def failed(self) -> bool:
        """Whether logrotate would exit with 1 because of the config, whatever becomes of the logs."""
        return any(complaint.fails for complaint in self.complaints)


def read(paths: Iterable[str], uid: int | None = None, *, is_resident: bool = False) -> Reading:
    """Reads files, and all files of directories; what one sets outside of stanzas holds for the next ones too.

    Files must belong to root or `uid`, by default the user of this process. Nothing is raised: what cannot be read is
    complained about. What `is_resident` was started in no directory that a relative path could be meant from: such
    names are refused.
    """
    reader = _Reader(os.geteuid() if uid is None else uid, is_resident=is_resident)
    scope = Scope()
    for path in paths:
        scope, _ = reader.path(path, scope)
    found = [_refused(part) or part for part in reader.found] if is_resident else reader.found
    return Reading(
        tuple(part for part in found if isinstance(part, Stanza)),
        tuple(part for part in found if isinstance(part, Complaint)),
    )


class _Reader:
    """What was found so far, and what must not be read."""

    def __init__(self, uid: int, *, is_resident: bool) -> None:
        self.found: list[Stanza | Complaint] = []
        self._is_resident = is_resident
        self._uid = uid
        self._taboo = Taboo()
        self._open: list[tuple[int, int]] = []

    def path(self, path: str, scope: Scope, included: tuple[str, int] | None = None) -> tuple[Scope, bool]:
        """The scope behind a file or directory, `included` by a line of a file, and whether there was an error in it.

        What a file with an error sets outside of stanzas does not hold behind it.
        """
        try:
            info = os.stat(path)
            names = sorted(os.listdir(path), key=os.fsencode) if st.S_ISDIR(info.st_mode) else None
        except (OSError, ValueError) as error:
            text = f"cannot stat {path}: {_reason(error)}"
            self.found.append(Complaint(*(included or (path, 0)), "error", text, "file", fails=True))
            return scope, True
        if names is None:
            return self._file(path, scope)
        failed = False
        taboo = self._taboo  # as it is now: what a file in the directory makes taboo holds for the next directory
        for name in names:
            inside = os.path.join(path, name)
            if pattern := taboo.of(name):
                self.found.append(_ignored(inside, f"of {pattern} pattern match"))
                continue
            scope, is_bad = self._file(inside, scope)
            failed = failed or is_bad
        return scope, failed

    def _file(self, path: str, scope: Scope) -> tuple[Scope, bool]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            return scope, self._unopened(path, error)
        try:
            info = os.fstat(descriptor)
            refusal = self._refusal(path, info)
            if refusal is not None:
                self.found.append(refusal)
                return scope, False
            with open(descriptor, "rb", closefd=False) as file:
                text = file.read(LARGEST).decode("utf-8", "surrogateescape")
        except OSError as error:
            self.found.append(_unread(path, error))
            return scope, True
        finally:
            os.close(descriptor)
        self._open.append((info.st_dev, info.st_ino))
        blocks = Blocks(path, scope, self.found, lambda node, inner: self._about_files(path, node, inner))
        blocks.read(text)
        self._open.pop()
        return scope if blocks.failed else blocks.scope, blocks.failed

    def _unopened(self, path: str, error: OSError) -> bool:
        """A socket, or a device without its driver, cannot be opened, and is passed over like all that is no file."""
        try:
            is_file = st.S_ISREG(os.stat(path).st_mode)
        except OSError:
            is_file = True
        self.found.append(_unread(path, error) if is_file else _ignored(path, _NO_FILE))
        return is_file

    def _refusal(self, path: str, info: os.stat_result) -> Complaint | None:
        """Why a file is not read. A mode that is odd, but safe, gets a warning and no more."""
        mode = st.S_IMODE(info.st_mode)
        wrong_owner = f"the file owner is wrong (should be root or user with uid {self._uid})"
        reasons = (
            (mode & (st.S_IWGRP | st.S_IWOTH), "it is writable by group or others", True),
            (info.st_uid not in (0, self._uid), wrong_owner, True),
            ((info.st_dev, info.st_ino) in self._open, "it includes itself", True),
            (info.st_size > LARGEST, "it is too large, probably not a config file", True),
            (not info.st_size, "it's empty", False),
        )
        if st.S_ISFIFO(info.st_mode):
            return Complaint(path, 0, "warning", "ignored because it's a named pipe, and no regular file", "file")
        if not st.S_ISREG(info.st_mode):
            return _ignored(path, _NO_FILE)
        if mode & ~_USUAL_MODES or not mode & st.S_IRUSR:
            self.found.append(Complaint(path, 0, "warning", f"Potentially dangerous mode 0{mode:o}"))
        return next((_ignored(path, reason, fails=fails) for is_so, reason, fails in reasons if is_so), None)

    def _about_files(self, file: str, node: Directive, scope: Scope) -> tuple[Scope, bool]:
        if node.keyword != "include":
            self._taboo = self._taboo.changed(node.keyword, node.value)
            return scope, False
        if len(self._open) > DEEPEST:
            self.found.append(Complaint(file, node.line, "error", "include nesting too deep", "line", fails=True))
            return scope, True
        path = at_home(node.value)
        if self._is_resident and not path.startswith("/"):
            self.found.append(Complaint(file, node.line, "error", _relative(path), "line", fails=True))
            return scope, True
        after, failed = self.path(path, scope, (file, node.line))
        return replace(after, kind=scope.kind), failed


def _refused(part: Stanza | Complaint) -> Complaint | None:
    """The complaint about a stanza that has a relative name, which leaves it out."""
    names = part.patterns if isinstance(part, Stanza) else ()
    relative = next((name for name in names if not os.path.expanduser(name).startswith("/")), None)
    if relative is None or isinstance(part, Complaint):
        return None
    return Complaint(part.file, part.line, "error", _relative(relative), "stanza", fails=True)


def _relative(path: str) -> str:
    return f"'{path}' is not an absolute path, and a daemon has no directory that it could be meant from"


def _unread(path: str, error: OSError) -> Complaint:
    return Complaint(path, 0, "error", f"cannot read it: {_reason(error)}", "file", fails=True)


def _reason(error: OSError | ValueError) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)


def _ignored(path: str, reason: str, *, fails: bool = False) -> Complaint:
    return Complaint(path, 0, "error" if fails else "note", f"ignored because {reason}", "file", fails)
