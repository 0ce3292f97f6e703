"""What Linux offers and Python does not: openat2, renameat2, PDEATHSIG, I/O priority. All of ctypes."""

import ctypes
import errno
import os
import struct
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_OPENAT2, _RENAMEAT2 = 437, 276 if os.uname().machine == "aarch64" else 316
_IOPRIO_SET = 30 if os.uname().machine == "aarch64" else 251
_RENAME_NOREPLACE = 1
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS = 0x02, 0x04
_PR_SET_PDEATHSIG = 1
_IOPRIO_WHO_PROCESS, _IOPRIO_CLASS_IDLE = 1, 3 << 13
_AT_FDCWD = -100


def _call(number: int, *arguments: Any, paths: tuple[str, ...] = ()) -> int:
    """Makes a system call; raises OSError with the paths it was about."""
    result: int = _LIBC.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), *([paths[0]] if paths else []), *([None, paths[1]] if paths[1:] else []))
    return result


def open_beneath(path: str, flags: int, *, dir_fd: int = _AT_FDCWD) -> int:
    """Opens `path` and follows no symbolic link anywhere in it (openat2(2), RESOLVE_NO_SYMLINKS; Linux 5.6).

    Without openat2 (an older kernel, or a seccomp filter) the path is walked one directory descriptor at a time.
    """
    flags |= os.O_CLOEXEC
    how = struct.pack("QQQ", flags, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    try:
        return _call(_OPENAT2, dir_fd, os.fsencode(path), how, ctypes.c_size_t(len(how)), paths=(path,))
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return _walk(path, flags, dir_fd)


def _walk(path: str, flags: int, dir_fd: int) -> int:
    current = os.open("/" if path.startswith("/") else ".", os.O_PATH | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        *directories, last = [part for part in path.split("/") if part] or ["."]
        for part in directories:
            deeper = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = deeper
        return os.open(last, flags | os.O_NOFOLLOW, dir_fd=current)
    finally:
        os.close(current)


def rename_noreplace(old: str, new: str, *, old_dir: int, new_dir: int) -> None:
    """Renames and never overwrites: FileExistsError if `new` is there (renameat2(2), RENAME_NOREPLACE).

    On a file system that cannot (EINVAL, e.g. some network ones) it is link + unlink, which overwrites nothing either.
    """
    try:
        _call(
            _RENAMEAT2,
            old_dir,
            os.fsencode(old),
            new_dir,
            os.fsencode(new),
            ctypes.c_uint(_RENAME_NOREPLACE),
            paths=(old, new),
        )
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        os.link(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir, follow_symlinks=False)
        os.unlink(old, dir_fd=old_dir)


def die_with_parent(parent: int, signal_number: int) -> None:
    """Has the kernel send this process a signal when its parent dies (prctl(2), PR_SET_PDEATHSIG).

    To be called after any change of uid, which clears it. Raises ProcessLookupError if `parent` is gone already.
    """
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, "the parent is gone")


def be_background() -> None:
    """Nice 19 and the idle I/O class for this process (ioprio_set(2)): services go first."""
    os.nice(19)
    _call(_IOPRIO_SET, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_CLASS_IDLE)
