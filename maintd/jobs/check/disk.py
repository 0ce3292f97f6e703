"""The kind `check.disk`: a file system: its space, its inodes, whether it is mounted and may be written."""

import os
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from maintd.check import Check, Percent, Share
from maintd.job import AbsolutePath, Context, Flag, Limit
from maintd.readings import Sign, above, below, down, up
from maintd.units import format_size


class CheckDisk(Check):
    """Looks at the file system on which a path lies. Space is that which users other than root may still use, as df."""

    kind: ClassVar[str] = "check.disk"

    path: AbsolutePath = Field(default="/", description="a directory or file on the file system")
    mount: Flag = Field(default=False, description="true if something must be mounted at `path` itself")
    read_only: Flag = Field(default=False, description="true if it is meant to be read-only; else that is down")
    degraded_used: Percent | None = Field(default=Share(85), description="so much of the space used is degraded")
    down_used: Percent | None = Field(default=Share(95), description="and so much is down")
    degraded_free: Limit | None = Field(default=None, description="less space left than this is degraded")
    down_free: Limit | None = Field(default=None, description="and less than this is down")
    degraded_inodes: Percent | None = Field(default=Share(85), description="so many of the inodes used are degraded")
    down_inodes: Percent | None = Field(default=Share(95), description="and so many are down")

    @property
    def target(self) -> str:
        return self.path

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        if self.mount and self.path.rstrip("/") not in {point.rstrip("/") for point in _mount_points()}:
            yield down(f"nothing is mounted at {self.path}", "mount it, or see /etc/fstab and dmesg")
            return
        found = os.statvfs(self.path)
        if found.f_flag & os.ST_RDONLY and not self.read_only:
            yield down("it is mounted read-only", "often after an I/O error: look at dmesg, then remount it")
        free, used = found.f_bavail * found.f_frsize, (found.f_blocks - found.f_bfree) * found.f_frsize
        if used + free:
            share = 100 * used / (used + free)
            yield above(share, (self.degraded_used, self.down_used), f"{share:.0f}% of the space used")
            yield below(free, (self.degraded_free, self.down_free), f"{format_size(free)} free")
        if found.f_files:
            share = 100 * (found.f_files - found.f_ffree) / found.f_files
            yield above(share, (self.degraded_inodes, self.down_inodes), f"{share:.0f}% of the inodes used")
        else:
            yield up("no limit of inodes")


def _mount_points() -> Iterator[str]:
    """Where something is mounted (proc_pid_mountinfo(5)), with its escapes of white space undone."""
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            name = line.split()[4]
            for escape, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
                name = name.replace(escape, char)
            yield os.fsdecode(name)
