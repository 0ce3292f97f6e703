"""Takes whole blocks out of the front of a log that is being appended to, which its writers hardly notice.

The end of what was archived, less than a block and a bit, is overwritten with a mark (marks.py). The whole blocks
before it are collapsed (fallocate(2)) from behind, so that few extents move each time. Where the mark lies tells how
far it has come.
"""

import errno
import os
import time
from dataclasses import replace

from maintd import codec, descriptors, durable, linux, marks
from maintd.codec import Codec, Part
from maintd.errors import NotYet, Refused
from maintd.intents import Intent
from maintd.names import printable
from maintd.place import How, Made, Place, Request, head_of, last_line_end, mark_of, next_line_end, require_named

SLICE = marks.STEP
"""Bytes collapsed at once: a writer waits about 2 ms for it, and 20 ms for 64 MiB."""
BREATH = 0.003
"""Seconds between two slices, in which writers go on."""
MARGIN = 1 << 20
"""Bytes that are to stay free beside an archive as large as its log; with less, the log goes part by part."""
_CUT = "somebody else cut the log at this moment"
_LOOKS = 3
"""How often in a row it is looked who has opened the log: some programs open it for each line."""
LEAST = 64 << 10
"""The smallest part, in bytes, that a log is archived by on a disk that cannot take the whole."""


def rotate(wanted: Request, place: Place, progress: codec.Progress) -> Made:
    """Archives the whole lines that the log holds now and takes them out of it, in one part if the disk has room.

    When it raises, the phase "done" in the journal says that the parts before the failure are whole.
    """
    how, taken = Codec(wanted.codec, wanted.level), 0
    unit = wanted.unit or os.fstatvfs(place.log).f_bsize
    _check_writers(wanted, place.log)
    begin = head_of(place.log)
    end = last_line_end(place.log, os.fstat(place.log).st_size, begin)
    while begin < end:
        part = Part(begin, _part_end(place, begin, end, 2 * unit), place.length)
        assert part.end is not None
        cut = (part.end - marks.SHORTEST) // unit * unit
        if cut <= 0:
            break
        tail = os.pread(place.log, part.end - cut, cut)
        length = place.archive(part, how, lambda count, before=taken: progress(before + count))  # type: ignore[misc]
        _check_writers(wanted, place.log)
        require_named(wanted)
        intent = place.intend(part, length, wanted.codec, cut=cut, mark_at=cut)
        intent = place.journal.commit(replace(intent, taken=taken, adopt=wanted.adopt))
        if os.pread(place.log, len(tail), cut) != tail:
            raise Refused(_CUT)
        _take_out(place, intent.cut)
        place.journal.commit(replace(intent, phase="done"))
        taken += part.end - begin
        begin, end = part.end - cut, end - cut
    if not taken:
        raise NotYet(f"{printable(wanted.path)} holds less than a block of whole lines")
    return Made(taken, place.length)


def recover(place: Place) -> How:
    """Goes on where it was interrupted. NotYet while a process that does not append, and may not be made to, writes."""
    intent = place.intent
    at = _mark_position(place.log, intent)
    if at is None:  # the mark may have been written in part
        part = Part(intent.start, intent.mark_at, intent.at)
        is_there = os.fstat(place.log).st_size >= intent.end
        if not is_there or not codec.holds(place.copy, Codec(intent.codec), intent.length, place.log, part):
            return "abandoned"
        if not _may_be_marked(place):
            return "abandoned"
        at = intent.cut
    if at > 0:
        try:
            _take_out(place, at)
        except Refused:
            return "undone"
    os.fsync(place.log)
    return "completed"


def _may_be_marked(place: Place) -> bool:
    """Whether each byte where the mark is to be is the log's own, which the archive has, or one of the mark."""
    intent, start = place.intent, max(place.intent.start, place.intent.mark_at)
    size = intent.end - start
    original = codec.last_content(place.copy, Codec(intent.codec), intent.length, intent.at, size)
    mark = mark_of(intent)[-size:]
    found = os.pread(place.log, size, start)
    return len(found) == size and all(byte in both for byte, *both in zip(found, original, mark, strict=True))


def _check_writers(wanted: Request, log: int) -> None:
    others = [writer for writer in descriptors.writers(log) if not writer.appending]
    if others and not wanted.adopt:
        raise Refused(f"{others[0]} writes it without appending", hint="adopt = true has its descriptor append")
    descriptors.require_unmapped(log)
    descriptors.make_append(log, others)


def _admit_writers(log: int, *, adopt: bool) -> None:
    """NotYet while a process that does not append, and may not be made to, has come to a log that is half done."""
    others = [writer for writer in descriptors.writers(log) if not writer.appending]
    if others and not adopt:
        raise NotYet(f"{others[0]} has come to write the log without appending; it is completed when that has gone")
    try:
        descriptors.require_unmapped(log)
        descriptors.make_append(log, others)
    except Refused as error:
        raise NotYet(f"{error}; it is completed when that has gone") from error


def _part_end(place: Place, begin: int, end: int, least: int) -> int:
    """Where the next part ends: at the end of a line, and all of it if the disk has room for it uncompressed.

    It is no smaller than LEAST and `least` bytes, if there are as many.
    """
    volume = os.fstatvfs(place.copy)
    free = volume.f_bavail * volume.f_frsize
    room = max((free - MARGIN) // 2, free // 4, LEAST, least)
    if end - begin <= room:
        return end
    found = last_line_end(place.log, begin + room, begin)
    return found if found > begin else next_line_end(place.log, begin + room, end)


def _take_out(place: Place, position: int) -> None:
    """Marks what is left of the archived part, at `position`, and collapses the blocks before it.

    The mark is written also if it seems to be there: it may be in memory only. Refused, with the log as it was, if its
    file system turns out not to collapse it (overlay on another one, bigalloc whose superblock may not be read).
    """
    intent = place.intent
    durable.overwrite(place.log, mark_of(intent), position)
    try:
        _collapse_before(place.log, position, mark_of(intent), adopt=intent.adopt)
    except OSError as error:
        is_impossible = error.errno in (errno.EINVAL, errno.EOPNOTSUPP)
        if not is_impossible or intent.taken or _mark_position(place.log, intent) != intent.cut:
            raise
        how, size = Codec(intent.codec), intent.end - intent.mark_at
        original = codec.last_content(place.copy, how, intent.length, intent.at, size)
        durable.overwrite(place.log, original, intent.mark_at)
        place.journal.withdraw()
        raise Refused(
            "its file system cannot collapse files",
            hint="let its writer be told (signal, command): overlay on a file system that cannot, cannot either",
        ) from error


def _collapse_before(log: int, position: int, mark: bytes, *, adopt: bool) -> None:
    """Whoever opens the log meanwhile is looked at before the next slice: a place in the file may not mean another.

    NotYet if the mark is not where it was put, since somebody else has cut the log: what came then is not taken out.
    """
    is_new = True
    with linux.openings(log) as opened, linux.urgent():
        while position > 0:
            looks = _LOOKS
            while looks and (is_new or opened()):
                is_new, looks = False, looks - 1
                _admit_writers(log, adopt=adopt)
            length = position % SLICE or SLICE
            durable.make_ready(log, position - length)
            if os.pread(log, len(mark), position) != mark:
                raise NotYet(_CUT)
            durable.collapse(log, position, length)
            position -= length
            time.sleep(BREATH)  # or who waits for the file's lock might not get it for several slices
    os.fsync(log)


def _mark_position(log: int, intent: Intent) -> int | None:
    """Where the mark lies by now: collapses move it down, the first to a multiple of SLICE."""
    mark = mark_of(intent)
    positions = [*range(0, intent.cut, SLICE), intent.cut]
    return next((at for at in positions if os.pread(log, len(mark), at) == mark), None)
