"""What a file has besides its content: mode, owner, times, extended attributes and access lists."""

import errno
import os
import stat as st

from maintd.durable.files import Ownership, dress

_ACL = "system.posix_acl_"


def copy_attributes(source: int, target: int) -> None:
    """Gives `target` the owner, mode, extended attributes and times of `source`.

    An attribute that the file system or the caller's rights do not allow (`security.*` without CAP_SYS_ADMIN) is left
    out; `ENOTSUP` means that there are none.
    """
    info = os.fstat(source)
    dress(target, Ownership(st.S_IMODE(info.st_mode), info.st_uid, info.st_gid))
    copy_extended(source, target)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def set_times(descriptor: int, info: os.stat_result) -> None:
    """Gives a file the times of another."""
    os.utime(descriptor, ns=(info.st_atime_ns, info.st_mtime_ns))


def set_mtime(descriptor: int, mtime_ns: int) -> None:
    """Gives a file that mtime, in nanoseconds since the epoch."""
    os.utime(descriptor, ns=(mtime_ns, mtime_ns))


def copy_extended(source: int, target: int, *, acl: bool = True) -> None:
    """Gives `target` the extended attributes of `source`, labels and, if wanted, access control lists among them."""
    for attribute in _attributes(source):
        if attribute.startswith(_ACL) and not acl:
            continue
        try:
            os.setxattr(target, attribute, os.getxattr(source, attribute))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA):
                raise


def _attributes(descriptor: int) -> list[str]:
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
