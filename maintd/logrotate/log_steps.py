"""The steps that rotate one log, in four parts, which a stanza puts in order around its scripts."""

import os
import stat as st
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from maintd import grounds, writers
from maintd.durable import Ownership
from maintd.intents import Interrupted
from maintd.logrotate import generations, scripts, work
from maintd.logrotate.bodies import CompressFile, CopyFile, MailFile, TruncateLog, WaitForWriter, WaitOnce
from maintd.logrotate.considering import Considered
from maintd.logrotate.copytruncate import Collapse
from maintd.logrotate.deeds import Deed, Inode, MakeWay, Remove, RotateLog, Shift
from maintd.logrotate.forecast import Forecast
from maintd.logrotate.generations import Removal, Rotation
from maintd.logrotate.leftovers import Leftovers
from maintd.logrotate.scripts import Script, Streams
from maintd.logrotate.stanza import Make, Options, Stanza
from maintd.steps import Action, Finding, Seen, Step
from maintd.values import dataclass

_ASIDE = "and kept under a name that nothing looks at"


@dataclass(frozen=True)
class Setting:
    """What all logs of a run share: what lies where by then, local time, the program that sends mail.

    `streams` are those of scripts. `intents` is the directory where rotations in place are noted, "" if there is none;
    `interrupted` are those there, by the path of the log. A daemon that `is_resident` comes back to what has to wait,
    and `unfinished` are logs that a run of it may have set aside without coming to its end. Programs run in the
    `directory`.
    """

    forecast: Forecast
    now: datetime
    mail: str
    streams: Streams | None
    intents: str = ""
    interrupted: Mapping[str, Interrupted] = field(default_factory=dict)
    is_resident: bool = False
    unfinished: Mapping[str, Inode] = field(default_factory=dict)
    directory: str = "/"


class LogSteps:
    """The steps of one log. Each part begins after the steps that it is given, and goes on after its own last one.

    The parts are to be asked for in the order of the plan, since each tells the forecast what it leaves behind.
    """

    def __init__(self, log: Considered, stanza: Stanza, setting: Setting, *, is_collapsed: bool) -> None:
        assert log.seen is not None
        self.name = log.path
        self.path = log.seen.path
        self.rotation: Rotation = Rotation()
        self.last: tuple[Action, ...] = ()
        self.proof: tuple[Action, ...] | None = None
        """The step after which the log is rotated; none where nothing is to be done, None if it is not rotated."""
        self._seen = log.seen
        self._reason = log.ruling.reason
        self._stanza = stanza
        self._options: Options = stanza.options
        self._setting = setting
        self._forecast = setting.forecast
        self._forecast.know(log.seen)
        self._shown = generations.archive_directory(log.path, stanza.options)
        self._folder = grounds.resolve(generations.archive_directory(self.path, stanza.options))
        self._leftovers = Leftovers(self.path, self._folder, stanza, log.rotated, setting.now)
        self._is_collapsed = is_collapsed
        self._made: dict[str, Action] = {}
        self._wait = WaitForWriter if setting.is_resident else WaitOnce
        self._was_held = False
        is_copied = stanza.options.copy or stanza.options.copytruncate
        self.is_left = stanza.options.renamecopy and not is_copied and self._forecast.has(self.path + ".tmp")
        """Whether an interrupted renamecopy has left a file, which takes the log's turn."""

    @property
    def inode(self) -> Inode:
        return self._seen.inode

    def lies_at(self, inode: Inode | None) -> str:
        """The path of the archive that has this inode, as scripts are told of it; "" if there is none."""
        for name in self._forecast.beginning_with(self._folder, generations.stem(self.path, self._options)):
            seen = self._forecast.seen(self._in(name))
            if seen and seen.inode == inode and seen.path != self.path:
                return os.path.join(self._shown, name)
        return ""

    def compress_rest(self) -> Iterator[Step]:
        """Compresses what an earlier run could not, because somebody still wrote it, without rotating the log."""
        options = self._options
        if not options.compress or options.delaycompress:
            return
        archives = self._archives()
        for old, new in self._leftovers.late(archives).compressions:
            if new in archives:
                continue
            if self._is_held(self._in(old)):
                yield Finding(target=self._in(old), reason="a process still writes it", is_put_off=True)
                continue
            self.last = ()
            yield from self._compress(self._in(old), self._in(new), "an earlier run could not, while it was written")

    def is_held_back(self) -> str:
        """The archive that has to be compressed before the log is rotated, and that a process still writes; or ""."""
        rotation = self._leftovers.rotation(self._archives())
        return next((self._in(old) for old, _ in rotation.compressions if self._is_held(self._in(old))), "")

    @property
    def stem(self) -> str:
        """What the paths of its archives begin with."""
        return os.path.join(self._folder, generations.stem(self.path, self._options))

    def begin(self, after: tuple[Action, ...]) -> Iterator[Action]:
        """Sets aside what is in the way, and compresses what an earlier rotation left."""
        self.last = after
        options, now = self._options, self._setting.now
        archives = self._archives()
        self.rotation = self._leftovers.rotation(archives)
        while not options.delaycompress and (strays := list(filter(self._is_stray, dict(self.rotation.compressions)))):
            aside = generations.backup(strays[0], archives, now)
            yield self._move(strays[0], aside, f"it is no regular file, {_ASIDE}")
            archives = self._archives()
            self.rotation = self._leftovers.rotation(archives)
        for old, new in self.rotation.backups:
            if self._setting.is_resident and self._is_done(old):
                continue  # the compression of it completes what was cut off; logrotate keeps a copy for ever
            yield self._move(old, new, f"it is in the way of a new archive, {_ASIDE}")
        for old, new in self.rotation.compressions:
            yield from self._compress_before(old, new)

    def _is_done(self, name: str) -> bool:
        """Whether it is what a run that was cut off has compressed, and left the original of."""
        plain = next((old for old, new in self.rotation.compressions if new == name), None)
        return plain is not None and work.is_compressed(self._in(plain), self._in(name))

    def _is_stray(self, name: str) -> bool:
        seen = self._forecast.seen(self._in(name))
        return seen is not None and not (st.S_ISREG(seen.mode) or st.S_ISDIR(seen.mode))

    def _compress_before(self, old: str, new: str) -> Iterator[Action]:
        """Compresses what an earlier rotation left. If that fails, the log is not rotated with delaycompress, as with
        logrotate; else the file is set aside, which logrotate writes over, and it is.
        """
        path, to, inode = self._in(old), self._in(new), self._inode(self._in(old))
        needs = self.last
        for step in self._compress(path, to, "an earlier rotation left it so (delaycompress)"):
            yield step
            if isinstance(step, CompressFile):
                needs = step.needs
                self._made[to] = step
        if self._options.delaycompress or os.path.isdir(path):
            del self._made[to]
            return
        aside = self._in(generations.backup(old, self._archives(), self._setting.now))
        self.last = needs
        reason = f"only if it cannot be compressed, {_ASIDE} then"
        yield self._then(MakeWay, path, reason, to=aside, inode=inode, unless=self._made[to])

    def _archives(self) -> dict[str, Seen | None]:
        """What begins as the log's archives do; None is what the plan makes."""
        names = self._forecast.beginning_with(self._folder, generations.stem(self.path, self._options))
        return {name: self._forecast.seen(self._in(name)) for name in names}

    def make_room(self) -> Iterator[Action]:
        """Removes the archives that are to go before the rotation, and gives the others their next number."""
        for removal in self.rotation.removals:
            if removal.is_early:
                yield from self._remove(removal)
        for old, new in self.rotation.shifts:
            yield self._move(old, new, "it becomes a generation older")

    def rotate(self, *, may_change: bool) -> Iterator[Action]:
        """Makes the new archive, and the new log; a script that comes before `may_change` the log."""
        options, target = self._options, self.rotation.target
        now = self._forecast.seen(self.path)
        self._was_held = _may_be_held(options) and writers.is_held(now or self._seen)
        if options.copy or options.copytruncate:
            yield from self._copied(target, now or self._seen, may_change=may_change)
            self.proof = self.last
            return
        if self.is_left:  # by a run that was interrupted, and is archived first: the log itself by the next run
            return
        archive = self.path + ".tmp" if options.renamecopy else self._in(target or "")
        self._forecast.move(self.path, archive)
        if options.create:
            self._forecast.put(self.path)
        yield self._then(
            RotateLog,
            self.path,
            self._reason,
            seen=now or self._seen,
            archive=archive,
            ownership=_ownership(options.create, now or self._seen, options) if options.create else None,
            may_change=may_change or now is None,
            is_linked=options.allowhardlink,
        )
        self.proof = self.last

    def _copied(self, target: str | None, seen: Seen, *, may_change: bool) -> Iterator[Action]:
        """Makes the archive of a log that stays where it is."""
        to = None if target is None else self._in(target)
        if to is not None and self._is_collapsed:
            self._forecast.put(to)
            intents, folder = self._setting.intents, grounds.identity(self._folder)
            how = {"codec": "none", "level": None, "way": "collapse", "adopt": False, "may_change": may_change}
            yield self._then(
                Collapse, self.path, self._reason, seen=seen, archive=to, intents=intents, folder=folder, **how
            )
            return
        if to is not None:
            yield self._copy(self.path, to, self._reason, is_cut=self._options.copytruncate)
        if self._options.copytruncate:
            yield self._then(TruncateLog, self.path, "copytruncate", to=to)

    def settle(self) -> Iterator[Action]:
        """Copies what was renamed only, and compresses it as soon as nobody writes it."""
        target, compressed = self.rotation.target, self.rotation.compressed
        copied = self._copied_from()
        if self._options.renamecopy and target is not None and not (self._options.copy or self._options.copytruncate):
            renamed = self.path + ".tmp"
            if self._was_held or (self.is_left and self._is_held(renamed)):
                yield self._then(self._wait, renamed, "its writer has to let go of it")
                self._was_held = False
            yield self._copy(renamed, self._in(target), "renamecopy")
            yield from self._removed(renamed, "it was copied (renamecopy)")
            self.proof = None if self.is_left else self.last
        if target is not None and compressed is not None:
            path, to = self._in(target), self._in(compressed)
            mtime_ns = copied.mtime_ns if copied else None
            yield from self._compress(path, to, "it was rotated by this run", mtime_ns=mtime_ns)

    def _copied_from(self) -> Seen | None:
        """The log, if its archive is a copy of it."""
        options = self._options
        if options.copy or options.copytruncate:
            return self._forecast.seen(self.path) or self._seen
        return self._forecast.seen(self.path + ".tmp") if options.renamecopy else None

    def finish(self) -> Iterator[Action]:
        """Mails what is to be mailed, and removes the archives that are to go when all else is done."""
        options, rotation = self._options, self.rotation
        if options.mail and options.mailfirst and rotation.target:
            yield self._mail(
                self._in(rotation.compressed or rotation.target), self.name if rotation.compressed else self.archive
            )
        for removal in rotation.removals:
            if not removal.is_early:
                yield from self._remove(removal)

    @property
    def archive(self) -> str:
        """The new archive as scripts are told of it: in the directory as it is called in the config."""
        return os.path.join(self._shown, self.rotation.called)

    def _in(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _then(self, kind: type[Action], target: str, reason: str, **fields: Any) -> Action:
        """A step that comes after the last one."""
        if issubclass(kind, (Deed, RotateLog)):
            fields["su"] = self._options.su
        step = kind(target=target, reason=reason, needs=self.last, **fields)
        self.last = (step,)
        return step

    def _inode(self, path: str) -> Inode | None:
        seen = self._forecast.seen(path)
        return seen.inode if seen else None

    def _is_held(self, path: str) -> bool:
        seen = self._forecast.seen(path)
        return seen is not None and writers.is_held(seen)

    def _move(self, old: str, new: str, reason: str) -> Action:
        path, to = self._in(old), self._in(new)
        inode, made = self._inode(path), self._made.pop(path, None)
        self._forecast.move(path, to)
        if made:
            self._made[to] = made
        return self._then(Shift, path, reason, to=to, inode=inode, made=made)

    def _copy(self, path: str, to: str, reason: str, *, is_cut: bool = False) -> Action:
        self._forecast.put(to)
        return self._then(CopyFile, path, reason, to=to, is_cut=is_cut)

    def _compress(self, path: str, to: str, reason: str, *, mtime_ns: int | None = None) -> Iterator[Action]:
        keeps = "preremove" in self._stanza.scripts
        if self._was_held or self._is_held(path):
            yield self._then(self._wait, path, "its writer has to let go of it")
        inode = self._inode(path)
        how: dict[str, Any] = {
            "called": os.path.join(self._shown, os.path.basename(path)),
            "directory": self._setting.directory,
        }
        how |= {"keeps": keeps, "mtime_ns": mtime_ns}
        yield self._then(CompressFile, path, reason, to=to, inode=inode, options=self._options, **how)
        self._forecast.put(to)
        if keeps:
            yield from self._removed(path, "it is compressed")
        else:
            self._forecast.remove(path)

    def _remove(self, removal: Removal) -> Iterator[Action]:
        path = self._in(removal.name)
        if removal.is_replaced:
            yield self._unlinked(path, removal.reason)
            return
        if self._options.mail and not self._options.mailfirst:
            yield self._mail(path, os.path.join(self._shown, removal.name))
        yield from self._removed(path, removal.reason)

    def _removed(self, path: str, reason: str) -> Iterator[Action]:
        script = self._stanza.scripts.get("preremove")
        if script is not None and not path.endswith(".tmp"):
            name = os.path.join(self._shown, os.path.basename(path))
            self.last = (scripts.run(Script("preremove", script, self._setting.streams), (name,), self.last),)
            yield from self.last
        yield self._unlinked(path, reason)

    def _unlinked(self, path: str, reason: str) -> Action:
        inode, options = self._inode(path), self._options
        self._forecast.remove(path)
        cycles = options.shredcycles if options.shred else None
        return self._then(Remove, path, reason, inode=inode, shredcycles=cycles, made=self._made.pop(path, None))

    def _mail(self, path: str, subject: str) -> Action:
        options = self._options
        assert options.mail is not None
        where = self._setting.directory
        how = {"address": options.mail, "program": self._setting.mail, "options": options, "directory": where}
        return self._then(MailFile, path, f"mail {options.mail}", subject=subject, **how)


def _may_be_held(options: Options) -> bool:
    """Whether it matters at the rotation who has the log open: its file is compressed, or copied and removed, then."""
    is_renamed = not (options.copy or options.copytruncate)
    return is_renamed and (options.renamecopy or (options.compress and not options.delaycompress))


def _ownership(make: Make, log: Seen, options: Options) -> Ownership:
    """Of the new log: what `create` says, else as the old one has it; who is not root gives it to itself."""
    mode = log.mode & 0o777 if make.mode is None else make.mode
    uid = log.uid if make.uid is None else make.uid
    gid = log.gid if make.gid is None else make.gid
    su = options.su
    if os.geteuid() == 0 and (su is None or su.uid == 0):
        return Ownership(mode, uid, gid)
    own, groups = (su.gid, [su.gid]) if su else (os.getegid(), os.getgroups())
    return Ownership(mode, su.uid if su else os.geteuid(), gid if gid in groups else own)
