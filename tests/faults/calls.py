"""The system calls that change a disk or signal a process: their numbers, and which files they are about."""

import os
from dataclasses import dataclass
from types import MappingProxyType

MACHINE = os.uname().machine
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(MACHINE, 0)
"""linux/audit.h; 0 where there is no table of numbers here."""

# Name, number on x86_64, on aarch64 (asm/unistd_64.h, asm-generic/unistd.h; - where it does not exist), then what it is
# about: fdN a descriptor in argument N, pathN a path there, atNM a directory's descriptor in N and a path in M, addrN a
# socket's address, any: every one counts. Whoever only reads is not here.
_TABLE = """
write              1  64 fd0
pwrite64          18  68 fd0
writev            20  66 fd0
pwritev          296  70 fd0
pwritev2         328 287 fd0
sendfile          40  71 fd0
splice           275  76 fd2
copy_file_range  326 285 fd2
truncate          76  45 path0
ftruncate         77  46 fd0
fallocate        285  47 fd0
fsync             74  82 fd0
fdatasync         75  83 fd0
sync_file_range  277  84 fd0
syncfs           306 267 fd0
open               2   - path0
creat             85   - path0
openat           257  56 at01
openat2          437 437 at01
rename            82   - path0 path1
renameat         264  38 at01 at23
renameat2        316 276 at01 at23
link              86   - path0 path1
linkat           265  37 at01 at23
symlink           88   - path1
symlinkat        266  36 at12
unlink            87   - path0
unlinkat         263  35 at01
mkdir             83   - path0
mkdirat          258  34 at01
rmdir             84   - path0
mknod            133   - path0
mknodat          259  33 at01
chmod             90   - path0
fchmod            91  52 fd0
fchmodat         268  53 at01
fchmodat2        452 452 at01
chown             92   - path0
lchown            94   - path0
fchown            93  55 fd0
fchownat         260  54 at01
utime            132   - path0
utimes           235   - path0
futimesat        261   - at01
utimensat        280  88 at01
setxattr         188   5 path0
lsetxattr        189   6 path0
fsetxattr        190   7 fd0
removexattr      197  14 path0
lremovexattr     198  15 path0
fremovexattr     199  16 fd0
bind              49 200 addr1
kill              62 129 any
pidfd_send_signal 424 424 any
"""


@dataclass(frozen=True)
class Kind:
    """One system call of the table; `about` as the table has it."""

    name: str
    number: int
    about: tuple[str, ...]

    @property
    def flags(self) -> int | None:
        """The argument that says whether an open makes or cuts the file; None where every one counts."""
        return {"open": 1, "openat": 2}.get(self.name)


def _kinds() -> dict[int, Kind]:
    found = {}
    for line in _TABLE.strip().splitlines():
        name, x86_64, aarch64, *about = line.split()
        number = {"x86_64": x86_64, "aarch64": aarch64}.get(MACHINE, "-")
        if number != "-":
            found[int(number)] = Kind(name, int(number), tuple(about))
    return found


KINDS = MappingProxyType(_kinds())
"""By number, on this machine."""
CHANGES = os.O_CREAT | os.O_TRUNC
"""An open with one of these flags changes the disk."""
