"""What Linux offers and Python does not: openat2, renameat2, PDEATHSIG, Landlock, … All of ctypes."""

import contextlib
import ctypes
import errno
import os
import resource
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_OPENAT2 = 437
"""System calls from 424 on have one number on every machine but alpha; for the others the C library is called."""
_IOPRIO_SET, _IOPRIO_GET, _KCMP = {
    "x86_64": (251, 252, 312),
    "aarch64": (30, 31, 272),
    "riscv64": (30, 31, 272),
}.get(os.uname().machine, (0, 0, 0))
"""The C library has no functions for these; 0 where the numbers are not known, and nothing is done then."""
_RENAME_NOREPLACE = 1
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS = 0x02, 0x04
_CAPABILITY_VERSION_3 = 0x2008_0522
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_CREATE_RULESET_VERSION, _LANDLOCK_RULE_PATH_BENEATH = 1, 1
_WRITE_FILE, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE, _IOCTL_DEV = (
    1 << n for n in (1, 5, 7, 8, 13, 14, 15)
)
_REMOVE_DIR, _MAKE_OTHERS = 1 << 4, sum(1 << n for n in (6, 9, 10, 11, 12))
_IOPRIO_WHO_PROCESS, _IOPRIO_CLASS_IDLE = 1, 3 << 13
_AT_FDCWD = -100
_FALLOC_FL_COLLAPSE_RANGE = 0x08
_FS_IOC_GETFLAGS, _FS_EXTENT_FL = 0x80086601, 0x80000  # of a 64-bit machine
_PIDFD_GETFD = 438
_KCMP_FILES = 2
_IN_OPEN = 0x20


def _call(number: int, *arguments: Any, paths: tuple[str, ...] = ()) -> int:
    """Makes a system call; raises OSError with the paths it was about."""
    return _checked(_LIBC.syscall(ctypes.c_long(number), *arguments), *paths)


def _checked(result: int, *paths: str) -> int:
    """What a function of the C library returned; OSError, with the paths it was about, if it failed."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), *paths[:1], *([None, paths[1]] if paths[1:] else []))
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
        flags = ctypes.c_uint(_RENAME_NOREPLACE)
        _checked(_LIBC.renameat2(old_dir, os.fsencode(old), new_dir, os.fsencode(new), flags), old, new)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        os.link(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir, follow_symlinks=False)
        os.unlink(old, dir_fd=old_dir)


def statx(path: str, flags: int, mask: int, *, dir_fd: int = _AT_FDCWD) -> bytes:
    """The struct statx of a path, or of `dir_fd` if it is empty (statx(2), AT_EMPTY_PATH). Raises OSError."""
    answer = ctypes.create_string_buffer(256)
    _checked(_LIBC.statx(dir_fd, os.fsencode(path), flags, mask, answer), path)
    return answer.raw


def shares_descriptors(pid: int, thread: int) -> bool:
    """Whether a thread has the table of descriptors of its process (kcmp(2), KCMP_FILES), or that cannot be known.

    It has not after unshare(2) with CLONE_FILES; nor has any as soon as the first thread has ended before the others.
    """
    if not _KCMP:
        return True
    zero = ctypes.c_ulong(0)
    answer = _LIBC.syscall(ctypes.c_long(_KCMP), pid, thread, ctypes.c_int(_KCMP_FILES), zero, zero)
    return answer == 0 or (answer < 0 and ctypes.get_errno() in (errno.ENOSYS, errno.EPERM))


def die_with_parent(parent: int, signal_number: int) -> None:
    """Has the kernel send this process a signal when its parent dies (prctl(2), PR_SET_PDEATHSIG).

    To be called after any change of uid, which clears it. Raises ProcessLookupError if `parent` is gone already.
    """
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, "the parent is gone")


def be_unreachable() -> None:
    """Keeps other processes of its user from tracing this one, and off its descriptors (prctl(2), PR_SET_DUMPABLE)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def keep_capabilities(numbers: Iterable[int]) -> None:
    """Gives up, in this thread and for good, every capability that is not among these (capset(2))."""
    kept = sum(1 << number for number in numbers)
    header, data = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), ctypes.create_string_buffer(24)
    _checked(_LIBC.capget(header, data))
    words = [
        word & kept >> (32 * (index // 3)) & 0xFFFF_FFFF for index, word in enumerate(struct.unpack("=6I", data.raw))
    ]
    _checked(_LIBC.capset(header, struct.pack("=6I", *words)))


def landlock_abi() -> int:
    """The version of the kernel's Landlock; 0 if it has none, or none that may be used (landlock(7))."""
    try:
        return _call(
            _LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_LANDLOCK_CREATE_RULESET_VERSION)
        )
    except OSError:
        return 0


def fence(directories: Sequence[int], *, moves: bool = True) -> None:
    """Lets this thread write, make and remove files and directories beneath these only (landlock(7)); it may read all.

    For good, and for its children too. Files that are open already stay as they are. What Landlock does not know of,
    such as chmod by path, is not fenced. Where the kernel's cannot rename across directories (before 5.19) several of
    them are fenced only if nothing `moves` from one to another, and where there is none nothing is.
    """
    abi = landlock_abi()
    allowed = _WRITE_FILE | _REMOVE_FILE | _REMOVE_DIR | _MAKE_DIR | _MAKE_REG
    allowed |= (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)
    handled = allowed | _MAKE_OTHERS | (_IOCTL_DEV if abi >= 5 else 0)
    if not abi or (abi < 2 and moves and len(directories) > 1):
        return
    rules = struct.pack("Q", handled)
    ruleset = _call(_LANDLOCK_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), ctypes.c_uint(0))
    try:
        for directory in directories:
            beneath = struct.pack("=Qi", allowed, directory)
            _call(_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, beneath, ctypes.c_uint(0))
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _call(_LANDLOCK_RESTRICT_SELF, ruleset, ctypes.c_uint(0))
    finally:
        os.close(ruleset)


def allow_descriptors(wanted: int) -> None:
    """Lets this process have so many files open, or as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def be_background() -> None:
    """Nice 19 and the idle I/O class for this process (ioprio_set(2)): services go first."""
    os.nice(19)
    _set_io_priority(_IOPRIO_CLASS_IDLE)


def _set_io_priority(priority: int) -> None:
    if _IOPRIO_SET:
        _call(_IOPRIO_SET, _IOPRIO_WHO_PROCESS, 0, priority)


@contextlib.contextmanager
def urgent() -> Iterator[None]:
    """For the block, this process has the priorities of a service: others wait for a lock that it holds in the kernel.

    Where that is not allowed (CAP_SYS_NICE) it stays in the background.
    """
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except PermissionError:
        yield
        return
    io_priority = _call(_IOPRIO_GET, _IOPRIO_WHO_PROCESS, 0) if _IOPRIO_GET else 0
    try:
        _set_io_priority(0)
        yield
    finally:
        _set_io_priority(io_priority)
        os.setpriority(os.PRIO_PROCESS, 0, nice)


@contextlib.contextmanager
def named(descriptor: int) -> Iterator[None]:
    """An OSError in this block that names no file gets the path of this one: which disk is full is to be told."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            with contextlib.suppress(OSError):
                error.filename = os.readlink(f"/proc/self/fd/{descriptor}")
        raise


def collapse_range(descriptor: int, offset: int, length: int) -> None:
    """Removes a range of whole blocks from a file: what follows moves down (fallocate(2), FALLOC_FL_COLLAPSE_RANGE).

    EOPNOTSUPP where the file system cannot; EINVAL if the range is not of whole blocks or reaches the end of the file.
    """
    first, count = ctypes.c_int64(offset), ctypes.c_int64(length)
    while _LIBC.fallocate64(descriptor, _FALLOC_FL_COLLAPSE_RANGE, first, count) < 0:
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def has_extents(descriptor: int) -> bool:
    """Whether ext4 keeps the file as extents (FS_IOC_GETFLAGS, see chattr(1)); ext2, ext3 and others never do."""
    flags = ctypes.c_long()
    if _LIBC.ioctl(descriptor, ctypes.c_ulong(_FS_IOC_GETFLAGS), ctypes.byref(flags)) < 0:
        return False
    return bool(flags.value & _FS_EXTENT_FL)


def type_of_file_system(path: str) -> int:
    """The magic number of the file system that holds `path` (statfs(2), f_type)."""
    answer = ctypes.create_string_buffer(256)
    if _LIBC.statfs(os.fsencode(path), answer) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFF_FFFF


def descriptor_of(pidfd: int, number: int) -> int:
    """A duplicate of another process's descriptor: the same open file, its flags and offset (pidfd_getfd(2))."""
    return _call(_PIDFD_GETFD, pidfd, number, ctypes.c_uint(0))


@contextlib.contextmanager
def openings(descriptor: int) -> Iterator[Callable[[], bool]]:
    """For the block, what tells whether anybody has opened a file since it was asked last (inotify(7), IN_OPEN).

    Where the kernel has no watch left to give, it says so each time.
    """
    watch = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    path = os.fsencode(f"/proc/self/fd/{descriptor}")
    is_watched = watch >= 0 and _LIBC.inotify_add_watch(watch, path, ctypes.c_uint32(_IN_OPEN)) >= 0

    def opened() -> bool:
        if not is_watched:
            return True
        try:
            return bool(os.read(watch, 1 << 16))
        except BlockingIOError:
            return False

    try:
        yield opened
    finally:
        if watch >= 0:
            os.close(watch)
