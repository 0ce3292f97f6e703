"""What in logrotate's stanzas is wrong, or may lose lines or stop a service on this machine; for `maintd check`."""

import os
import re
import stat as st
from collections.abc import Iterable, Iterator, Mapping, Sequence

from maintd import holders
from maintd.errors import MaintdError
from maintd.holders import Holder
from maintd.logrotate import logs, status, wildcards
from maintd.logrotate.logs import LogSet
from maintd.logrotate.sources import Reading
from maintd.logrotate.stanza import Stanza
from maintd.names import printable

_RESTARTS = re.compile(
    r"supervisorctl\b[^\n;&|]*\b(?:reload|shutdown)\b"
    r"|\b(?:p?kill|killall)\b[^\n;&|]*(?:-s\s*|-)(?:SIG)?(?:HUP|1)\b[^\n;&|]*supervisord"
    r"|\b(?:systemctl|service)\b[^\n;&|]*\b(?:reload|restart)\b[^\n;&|]*supervisor"
    r"|\b(?:service\s+|init\.d/)supervisor\w*\s+(?:reload|restart|force-reload)"
)
_STOPS = re.compile(r"supervisorctl\b[^\n;&|]*(?<=\s)restart(?=\s)[^\n;&|]*")
_TELLING = ("prerotate", "postrotate", "firstaction", "lastaction")
_CRON = ("etc/cron.daily/logrotate", "etc/cron.hourly/logrotate", "etc/cron.weekly/logrotate")
_CRON_TABLES = ("etc/crontab", "etc/cron.d/*", "var/spool/cron/crontabs/*", "var/spool/cron/*")
_TIMERS = ("etc/systemd/system/*.wants/logrotate.timer", "usr/lib/systemd/system/*.wants/logrotate.timer")
_ENTRY = re.compile(rb"(?m)^[^#\n]*[\s/]logrotate\b")


def of(reading: Reading) -> Iterator[str]:
    """Each as a sentence that begins with the file and line. Looks who has the logs open."""
    expansion = logs.expand(reading.stanzas)
    for complaint in (*reading.complaints, *expansion.complaints):
        if complaint.level != "note":
            place = f"{complaint.file}:{complaint.line}" if complaint.line else complaint.file
            yield printable(f"{place}: {complaint.text}")
    held = _holders(expansion.sets)
    for found in expansion.sets:
        place = f"{found.stanza.file}:{found.stanza.line}"
        yield from (printable(f"{place}: {message}") for message in _of_stanza(found, held))


def of_state(path: str) -> Iterator[str]:
    """What is wrong with the state file, or where it is to be."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        yield f"{printable(folder)} does not exist, so nothing can be rotated: make it (install -d {printable(folder)})"
        return
    try:
        faults = status.read(path).faults
        is_open = os.path.lexists(path) and os.stat(path).st_mode & st.S_IROTH
    except (OSError, MaintdError) as error:
        yield f"it cannot be read, so nothing can be rotated: {error}"
        return
    yield from map(printable, faults)
    if is_open:
        yield f"all can read {printable(path)}, and so lock it: it is not locked against logrotate (chmod 640 it)"


def of_schedules(root: str = "/") -> Iterator[str]:
    """What else runs logrotate on this machine, which would rotate the same logs."""
    found = [os.path.join(root, path) for path in _CRON if os.access(os.path.join(root, path), os.X_OK)]
    found += [path for table in _CRON_TABLES for path in wildcards.expand(os.path.join(root, table)) if _names(path)]
    timers = [path for timer in _TIMERS for path in wildcards.expand(os.path.join(root, timer))]
    found += filter(os.path.lexists, timers)
    for path in found:
        how = "systemctl disable --now logrotate.timer" if path.endswith(".timer") else f"remove {printable(path)}"
        yield f"logrotate itself is run by {printable(path)} as well: once maintd rotates these logs, {how}"


def _names(table: str) -> bool:
    try:
        with open(table, "rb") as file:
            return bool(_ENTRY.search(file.read(1 << 20)))
    except OSError:
        return False


def _holders(sets: Iterable[LogSet]) -> Mapping[str, list[Holder]]:
    """Who can write each log now."""
    inodes = {}
    for path in (path for found in sets for path in found.logs):
        try:
            info = os.lstat(path)
        except (OSError, ValueError):
            continue
        if st.S_ISREG(info.st_mode):
            inodes[path] = (info.st_dev, info.st_ino)
    found = holders.find(set(inodes.values())) if inodes else {}
    return {path: [one for one in found.get(inode, []) if one.writing] for path, inode in inodes.items()}


def _of_stanza(found: LogSet, held: Mapping[str, list[Holder]]) -> Iterator[str]:
    stanza = found.stanza
    for name, text in stanza.scripts.items():
        match = _RESTARTS.search(text)
        if match:
            yield (
                f'{name} runs "{" ".join(match[0].split())}", which restarts supervisord and every program of it;'
                " to make it reopen its logs, send it SIGUSR2"
            )
        match = _STOPS.search(text)
        if match:
            yield (
                f'{name} runs "{" ".join(match[0].split())}", which stops these programs and starts them again;'
                " to make supervisord reopen its logs, send it SIGUSR2"
            )
    for log in found.logs:
        if held.get(log):
            yield from _of_log(stanza, log, held[log])


def _of_log(stanza: Stanza, log: str, writers: Sequence[Holder]) -> Iterator[str]:
    options, who = stanza.options, ", ".join(dict.fromkeys(map(str, writers)))
    if options.copytruncate:
        loose = [writer for writer in writers if not writer.appending]
        if loose:
            yield (
                f"copytruncate of {log}, to which {loose[0]} does not append: it writes on where it was, behind a hole"
                " of NULs, and lines may be lost; have it append"
            )
        return
    if options.copy:
        return
    if options.compress and not options.delaycompress:
        yield (
            f"compress without delaycompress of {log}, which {who} keeps open: logrotate would compress it while it is"
            " written; maintd waits until nobody writes it; set delaycompress"
        )
    if not any(script in stanza.scripts for script in _TELLING):
        yield f"no script tells {who} to open {log} anew: it writes on into the archive; set copytruncate or postrotate"
    if options.create is None:
        cannot = next((writer for writer in writers if not may_create(writer.uid, os.path.dirname(log))), None)
        if cannot:
            yield f"nocreate, and {cannot} (uid {cannot.uid}) may not make {log} in its directory; set create"


def may_create(uid: int, folder: str) -> bool:
    """Whether the modes of a directory let a user make files in it; what its groups may is taken for allowed."""
    info = os.stat(folder)
    if uid in (0, info.st_uid):
        return uid == 0 or bool(info.st_mode & st.S_IWUSR)
    return bool(info.st_mode & (st.S_IWOTH | st.S_IWGRP))
