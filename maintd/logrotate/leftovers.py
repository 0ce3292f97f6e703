"""Which archives are compressed before a log is rotated, since an earlier run has left them uncompressed.

logrotate writes over such a file if its number or date comes again. So all numbered ones are compressed first. A date
does not come again, and files with older ones may be of the time before `compress`, which logrotate never looks at:
with dateext only those count of which it is known that a compression of them was to be.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from maintd.logrotate import generations, work
from maintd.logrotate.generations import Rotation
from maintd.logrotate.stanza import Stanza
from maintd.steps import Seen
from maintd.values import dataclass


@dataclass(frozen=True)
class Leftovers:
    """What was left of the log with this path, whose archives are in the folder; `rotated` is by the state file."""

    log: str
    folder: str
    stanza: Stanza
    rotated: datetime | None
    now: datetime

    def rotation(self, archives: Mapping[str, Seen | None]) -> Rotation:
        """The rotation of the log, with what is compressed first; a file that the plan makes is seen as None."""
        options, late = self.stanza.options, Rotation()
        if options.rotate != 0:
            late = self.late(archives)
        if not late.compressions or late.target is None:
            return generations.plan(self.log, self._times(archives), options, self.now)
        return late if options.delaycompress else replace(late, compressed=late.target + options.compressext)

    def late(self, archives: Mapping[str, Seen | None]) -> Rotation:
        """The rotation as with delaycompress, if the stanza compresses; else nothing."""
        options, times = self.stanza.options, self._times(archives)
        if not options.compress or options.delaycompress:
            return Rotation()
        options = replace(options, delaycompress=True)
        found = generations.plan(self.log, times, options, self.now)
        if options.dateext:
            strange = {old for old, new in found.compressions if not self._is_known(old, new, found.target, archives)}
            others = {name: time for name, time in times.items() if name not in strange}
            return generations.plan(self.log, others, options, self.now) if strange else found
        return found

    def _is_known(self, old: str, new: str, target: str | None, archives: Mapping[str, Seen | None]) -> bool:
        """Whether a file with a date would be written over, is half done, or could not be compressed yet."""
        if old == target or self._is_put_off(old, archives[old]):
            return True
        return new in archives and work.is_compressed(self._in(old), self._in(new))

    def _in(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _is_put_off(self, name: str, seen: Seen | None) -> bool:
        """Whether it is of the last rotation, which its stanza, as it stands now, was to compress at once."""
        if self.rotated is None or seen is None:
            return False
        last = generations.plan(self.log, {}, self.stanza.options, self.rotated)
        try:
            return name == last.target and os.stat(self.stanza.file).st_mtime_ns < seen.ctime_ns
        except OSError:
            return False

    def _times(self, archives: Mapping[str, Seen | None]) -> dict[str, int]:
        now_ns = int(self.now.timestamp()) * 10**9
        return {name: seen.mtime_ns if seen else now_ns for name, seen in archives.items()}
