"""Cuts a log to nothing where its file system has no collapse: with its writers stopped, or, if lines may be lost, not.

The writers are stopped from the copy of the last lines to the cut. Before it, the end of what was archived becomes a
mark, whose absence tells after a crash that the log was cut; and the part of a line with which the log ends is written
to its head, where the cut leaves it.
"""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace

from maintd import codec, descriptors, durable, freeze, linux, marks
from maintd.codec import Codec, Part
from maintd.errors import NotYet, Refused
from maintd.holders import Holder
from maintd.intents import Intent
from maintd.place import How, Made, Place, Request, head_of, last_line_end, mark_of, require_named

_CAUGHT_UP = 64 << 10
_COMPARED = 1 << 20
_ROUNDS = 20
_CUT = "somebody else cut the log at this moment"
_PLAIN = Codec("none")


def rotate(wanted: Request, place: Place, progress: codec.Progress) -> Made:
    """Archives the whole lines of the log, uncompressed, and cuts it."""
    descriptors.require_unmapped(place.log)
    begin = head_of(place.log)
    had = Part(begin, begin, 0)
    for _ in range(_ROUNDS):
        assert had.end is not None
        end = last_line_end(place.log, os.fstat(place.log).st_size, had.end)
        if had.end > begin and end - had.end < _CAUGHT_UP:
            break
        length = place.archive(Part(had.end, end, had.at), _PLAIN, progress)
        had = Part(begin, end, length)
    require_named(wanted)
    if wanted.way == "lossy":
        return _cut_beside_writers(place, had)
    writers = descriptors.writers(place.log)
    awake = freeze.awake((writer.pid, writer.start) for writer in writers)
    with linux.urgent(), freeze.stopped(awake) as since:
        now = descriptors.writers(place.log)
        if {writer.pid for writer in now} - {writer.pid for writer in writers}:
            raise NotYet("another process began to write the log at this moment")
        with descriptors.not_appending(place.log, now) as others:
            descriptors.check_at_end(place.log, others)
            intent = _last_part(place, awake, had)
            _cut_off(place, intent, others, since + freeze.SHORT)
        stopped_ms = round((time.monotonic() - since) * 1000, 1)
    return Made(place.intent.end - begin, place.length, stopped_ms=stopped_ms)


def recover(place: Place) -> How:
    """Puts the log back as it was if it was not cut yet."""
    intent = place.intent
    if intent.mark_at < 0:
        return "undone" if _is_there(place, intent.start, intent.end) else "completed"
    mark = mark_of(intent)
    if intent.phase == "marked" and os.pread(place.log, len(mark), intent.mark_at) != mark:
        return "completed"
    if not _is_there(place, max(intent.start, intent.rest), intent.mark_at):
        return "abandoned"
    _put_back(place)
    return "undone"


def _last_part(place: Place, awake: tuple[freeze.Process, ...], had: Part) -> Intent:
    """Archives what came since; `had` is what was archived so far, and as `at` the archive's length with it.

    `awake` are the writers that were stopped for it.
    """
    log, begin = place.log, had.start
    assert had.end is not None
    _require_uncut(place, had)
    size = os.fstat(log).st_size
    end = last_line_end(log, size, had.end)
    mark_at = end - marks.SHORTEST
    if mark_at < max(size - end, begin):
        raise Refused("the log is too short, or the line it ends with too long, to be rotated in place")
    length = place.archive(Part(had.end, end, had.at), _PLAIN, lambda _: None) if end > had.end else had.at
    intent = place.intend(Part(begin, end, 0), length, "none", cut=0, mark_at=mark_at)
    return place.journal.commit(replace(intent, stopped=awake, rest=size - end))


def _cut_off(place: Place, intent: Intent, others: Sequence[tuple[Holder, int]], until: float) -> None:
    """Cuts the log behind the part of a line that it ends with, if the writers are stopped for long enough."""
    log, size, mark = place.log, intent.end + intent.rest, mark_of(intent)
    if not _is_there(place, intent.mark_at, intent.end):
        raise Refused(_CUT)
    durable.overwrite(log, mark, intent.mark_at)
    intent = place.journal.commit(replace(intent, phase="marked"))
    durable.overwrite(log, os.pread(log, intent.rest, intent.end), 0)
    is_late, is_written = time.monotonic() > until, os.fstat(log).st_size != size
    if os.pread(log, len(mark), intent.mark_at) != mark:
        raise Refused(_CUT)
    if is_late or is_written:
        _put_back(place)
        place.journal.withdraw()
        late = "the disk was too slow to keep the writers stopped for it"
        raise NotYet(
            "a process that maintd may not see wrote to it while its writers were stopped" if is_written else late
        )
    with descriptors.set_back(others, intent.rest):
        durable.cut(log, intent.rest)
        os.fsync(log)
    place.journal.commit(replace(intent, phase="done"))


def _cut_beside_writers(place: Place, had: Part) -> Made:
    """Cuts the log while it is written: what comes between the last look and the cut is lost, and told.

    What comes in the microseconds of the cut itself is not seen, and told as if it came twice as fast as before them.
    """
    _require_uncut(place, had)
    begin, end, length, since = had.start, os.fstat(place.log).st_size, had.at, time.monotonic()
    assert had.end is not None
    if end > had.end:
        length = place.archive(Part(had.end, end, had.at), _PLAIN, lambda _: None)
    if end == begin:
        raise Refused("the log holds nothing but the mark of what was archived before")
    intent = place.journal.commit(place.intend(Part(begin, end, 0), length, "none", cut=0, mark_at=-1))
    with linux.urgent():
        lost, at = max(os.fstat(place.log).st_size - end, 0), time.monotonic()
        durable.cut(place.log, 0)
        unseen = 2 * (time.monotonic() - at) / (at - since)
    os.fsync(place.log)
    place.journal.commit(replace(intent, phase="done"))
    return Made(end - begin, length, lost_bytes=math.ceil(lost * (1 + unseen)))


def _require_uncut(place: Place, had: Part) -> None:
    """Refused if the log does not hold the end of what was archived of it any more."""
    assert had.end is not None
    size = min(had.end - had.start, marks.SHORTEST)
    at = had.end - size
    if os.pread(place.log, size, at) != os.pread(place.copy, size, at - had.start):
        raise Refused(_CUT)


def _is_there(place: Place, begin: int, end: int) -> bool:
    """Whether the log still has what was archived of it between two offsets, and nobody cut it since."""
    if os.fstat(place.log).st_size < place.intent.end:
        return False
    while begin < end:
        size = min(_COMPARED, end - begin)
        if os.pread(place.log, size, begin) != os.pread(place.copy, size, begin - place.intent.start):
            return False
        begin += size
    return True


def _put_back(place: Place) -> None:
    """Gives the log its own bytes back, from the archive, where the mark and the part of a line were written.

    First the intent says again that the log was not cut: that the mark is gone is to mean nothing any more.
    """
    intent = place.journal.commit(replace(place.intent, phase="archived"))
    if intent.start and intent.rest:
        durable.overwrite(place.log, marks.make(bytes.fromhex(intent.nonce), intent.start), 0)
    for begin, end in ((intent.start, intent.rest), (intent.mark_at, intent.end)):
        if begin < end:
            durable.overwrite(place.log, os.pread(place.copy, end - begin, begin - intent.start), begin)
