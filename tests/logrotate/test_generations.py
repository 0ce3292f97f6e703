"""What becomes of a log's archives: names in, moves and removals out, as the installed logrotate leaves them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from maintd.logrotate.generations import Removal, Rotation, archive_directory, plan, stem
from maintd.logrotate.stamps import stamps
from maintd.logrotate.stanza import Criteria, Options

from .clocked import Original, Tree, lay, needed, stanza, tree

NOW = datetime(2026, 11, 24, 10, 30, 15, tzinfo=UTC)
DAY = 86400
LOG = "x.log"
BACKUP = "-2026112410.backup"
Ages = dict[str, float]


def planned(options: Options, files: Ages, now: datetime = NOW, log: str = LOG) -> Rotation:
    seconds = int(now.timestamp())
    return plan(log, {name: int(seconds - age) * 10**9 for name, age in files.items()}, options, now)


def applied(rotation: Rotation, files: Tree, options: Options, log: str = LOG) -> Tree:
    """The files after a rotation, done in the order that Rotation promises; a move that would overwrite fails."""
    late = [removal.name for removal in rotation.removals if not removal.is_early]
    early = [removal.name for removal in rotation.removals if removal.is_early]
    files = moved(files, *rotation.backups, *rotation.compressions)
    files = moved({name: data for name, data in files.items() if name not in early}, *rotation.shifts)
    if rotation.is_blocked:
        assert not late
        return files
    files = moved(files, (log, rotation.target)) if rotation.target else files
    files = moved(files, (rotation.target, rotation.compressed)) if rotation.target and rotation.compressed else files
    files |= {log: b""} if options.copytruncate else {}
    return {name: data for name, data in files.items() if name not in late}


def moved(files: Tree, *moves: tuple[str, str]) -> Tree:
    files = dict(files)
    for old, new in moves:
        assert new not in files, f"{new} would be overwritten"
        files[new] = files.pop(old)
    return files


def left(options: Options, files: str = "", *, log: str = LOG) -> Tree:
    """What is left after a rotation of the log beside these files, each of which held its own name."""
    aged = listed(files)
    start = {name: name.encode() for name in (log, *aged)}
    return applied(planned(options, aged, log=log), start, options, log)


def listed(text: str) -> Ages:
    """Files by their age in seconds: `a b@3.5`, where b is three and a half days old."""
    return {name: float(days or 0) * DAY for name, _, days in (word.partition("@") for word in text.split())}


def held(text: str) -> Tree:
    """What files hold: `a b=c`, where b holds what c held."""
    return {
        name: (old if is_other else name).encode()
        for name, is_other, old in (word.partition("=") for word in text.split())
    }


GZ = Options(rotate=2, compress=True)
LATER = Options(rotate=2, compress=True, delaycompress=True)
AGED = Criteria(maxage=3)

# options; files, with their age in days; what is left, and what it held if that is not its own name
TREES = [
    (Options(rotate=2), "", "x.log.1=x.log"),
    (Options(rotate=2), "x.log.1 x.log.2 x.log.3 x.log.4 x.log.5", "x.log.1=x.log x.log.2=x.log.1 x.log.4 x.log.5"),
    (Options(rotate=3), "x.log.2 x.log.4", "x.log.1=x.log x.log.3=x.log.2"),
    (Options(rotate=-1), "x.log.1 x.log.7", "x.log.1=x.log x.log.2=x.log.1 x.log.8=x.log.7"),
    (Options(rotate=0), "x.log.1 x.log.2 x.log.3", "x.log.2=x.log.1 x.log.3"),
    (Options(rotate=0), "", ""),
    (Options(rotate=0, copytruncate=True), "x.log.1 x.log.2", "x.log="),
    (Options(rotate=0, copytruncate=True, dateext=True), "x.log-20261101 x.log-20261102", "x.log="),
    (Options(rotate=2, start=0), "x.log.0 x.log.1", "x.log.0=x.log x.log.1=x.log.0"),
    (
        Options(rotate=2, start=3),
        "x.log.1 x.log.2 x.log.3 x.log.4 x.log.5",
        "x.log.1 x.log.2 x.log.3=x.log x.log.4=x.log.3",
    ),
    (Options(rotate=-1, start=2), "x.log.1", "x.log.1 x.log.2=x.log"),
    (
        Options(rotate=2),
        "x.log.01 x.log.1x x.log.1.bak x.logg.1",
        "x.log.01 x.log.1=x.log x.log.1.bak x.log.1x x.logg.1",
    ),
    # with compress only compressed archives count, and without it only the others
    (GZ, "x.log.1.gz x.log.2.gz x.log.3.gz", "x.log.1.gz=x.log x.log.2.gz=x.log.1.gz"),
    (GZ, "x.log.2 x.log.3", "x.log.1.gz=x.log x.log.2 x.log.3"),
    (Options(rotate=2), "x.log.1.gz", "x.log.1=x.log x.log.1.gz"),
    (Options(rotate=0, compress=True), "x.log.1.gz", "x.log.2.gz=x.log.1.gz"),
    (LATER, "x.log.1 x.log.2.gz", "x.log.1=x.log x.log.2.gz=x.log.1"),
    (LATER, "x.log.1.gz", "x.log.1=x.log x.log.2.gz=x.log.1.gz"),
    (LATER, "x.log.1 x.log.1.gz", "x.log.1=x.log x.log.1.gz-2026112410.backup=x.log.1.gz x.log.2.gz=x.log.1"),
    (Options(rotate=2, delaycompress=True), "x.log.1", "x.log.1=x.log x.log.2=x.log.1"),
    (Options(rotate=2, compress=True, compressext=".Z"), "x.log.1.Z", "x.log.1.Z=x.log x.log.2.Z=x.log.1.Z"),
    # extension and addextension
    (Options(rotate=2, extension=".log"), "x.1.log x.log.1", "x.1.log=x.log x.2.log=x.1.log x.log.1"),
    (Options(rotate=2, extension="log"), "", "x..1log=x.log"),
    (Options(rotate=2, extension=".txt"), "x.log.1", "x.log.1=x.log x.log.2=x.log.1"),
    (Options(rotate=2, addextension=".old"), "x.log.1.old", "x.log.1.old=x.log x.log.2.old=x.log.1.old"),
    (Options(rotate=2, addextension=".log"), "x.1.log", "x.1.log=x.log x.2.log=x.1.log"),
    (Options(rotate=2, extension=".log", addextension=".old"), "", "x.1.log=x.log"),
    (Options(rotate=2, extension="log", addextension="g"), "", "x.lo.1g=x.log"),
    (
        Options(rotate=2, compress=True, delaycompress=True, extension=".log"),
        "x.1.log",
        "x.1.log=x.log x.2.log.gz=x.1.log",
    ),
    (Options(rotate=2, extension=".log", dateext=True), "x-20261101.log", "x-20261101.log x-20261124.log=x.log"),
    # dates
    (
        Options(rotate=2, dateext=True),
        "x.log-20261101 x.log-20261102 x.log-20261103",
        "x.log-20261103 x.log-20261124=x.log",
    ),
    (Options(rotate=-1, dateext=True), "x.log-20261101", "x.log-20261101 x.log-20261124=x.log"),
    (Options(rotate=0, dateext=True), "x.log-20261101 x.log-20261102", "x.log-20261102"),
    (Options(rotate=1, dateext=True), "x.log-20261124", "x.log x.log-20261124"),
    (
        Options(rotate=3, dateext=True),
        "x.log-20261120 x.log-20261121 x.log-20261122 x.log-20261123 x.log-20261124",
        "x.log x.log-20261122 x.log-20261123 x.log-20261124",
    ),
    (Options(rotate=1, compress=True, dateext=True), "x.log-20261124.gz", "x.log x.log-20261124.gz"),
    (Options(rotate=1, dateext=True), "x.log-20261124.gz", "x.log-20261124=x.log x.log-20261124.gz"),
    (
        Options(rotate=2, compress=True, delaycompress=True, dateext=True),
        "x.log-20261101 x.log-20261102 x.log-20261103",
        "x.log-20261103.gz=x.log-20261103 x.log-20261124=x.log",
    ),
    (
        Options(rotate=2, compress=True, delaycompress=True, dateext=True),
        "x.log-20261124",
        "x.log x.log-20261124.gz=x.log-20261124",
    ),
    (
        Options(rotate=2, dateext=True, dateformat="-%d-%m-%Y"),
        "x.log-01-12-2025 x.log-02-11-2026 x.log-01-11-2026 x.log-99-99-9999",
        "x.log-02-11-2026 x.log-24-11-2026=x.log",
    ),
    (
        Options(rotate=2, dateext=True, dateformat="-%s"),
        "x.log-1000000000 x.log-1700000000 x.log-999999999",
        "x.log-1700000000 x.log-1795516215=x.log x.log-999999999",
    ),
    # maxage goes by mtime, and only for what is within the numbers, or has a date
    (
        Options(rotate=5, criteria=AGED),
        "x.log.1@3 x.log.2@3.1 x.log.3@2 x.log.9@9",
        "x.log.1=x.log x.log.2=x.log.1 x.log.4=x.log.3 x.log.9",
    ),
    (Options(rotate=-1, criteria=AGED), "x.log.1@1 x.log.5@9", "x.log.1=x.log x.log.2=x.log.1"),
    (Options(rotate=0, criteria=AGED), "x.log.1@9 x.log.2@9", "x.log.2"),
    (
        Options(rotate=5, dateext=True, criteria=AGED),
        "x.log-20261101@1 x.log-20261102@9 x.log.1@9",
        "x.log-20261101 x.log-20261124=x.log x.log.1",
    ),
    (
        Options(rotate=-1, dateext=True, criteria=AGED),
        "x.log-20261101@1 x.log-20261102@9",
        "x.log-20261101 x.log-20261124=x.log",
    ),
    (Options(rotate=5, compress=True, criteria=AGED), "x.log.2@9 x.log.2.gz@9", "x.log.1.gz=x.log x.log.2"),
]


def originally(
    folder, options: Options, files: Ages, now: datetime = NOW, zone: str = "UTC", *, log: str = LOG
) -> Tree:
    """What logrotate -f leaves of a log and these files."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    for path in logs.iterdir():
        path.unlink()
    lay(logs, files | {log: 0}, now.timestamp())
    Original(folder, now.replace(tzinfo=None), zone).run(stanza(logs / log, options), "-f")
    return tree(logs)


@pytest.mark.parametrize(("options", "files", "after"), TREES)
def test_what_is_left(options, files, after):
    """Each rule of which archive moves, goes or stays, and that no move ever overwrites another file."""
    assert left(options, files) == held(after)


@needed
@pytest.mark.parametrize(("options", "files", "after"), TREES)
def test_what_is_left_originally(tmp_path, options, files, after):
    """The table is what logrotate -f leaves of the same files."""
    assert originally(tmp_path, options, listed(files)) == held(after)


def test_reasons_and_order():
    """Each removal says why; what is one too many goes only after the log is rotated; the oldest moves first."""
    rotation = planned(Options(rotate=2, criteria=AGED), listed("x.log.1 x.log.2 x.log.3"))
    assert rotation.shifts == (("x.log.2", "x.log.3"), ("x.log.1", "x.log.2"))
    assert rotation.removals == (
        Removal("x.log.3", "the next generation takes its name, rotate is 2", is_replaced=True),
        Removal("x.log.3", "generation 3, rotate is 2", is_early=False),
    )
    rotation = planned(
        Options(rotate=2, dateext=True, criteria=AGED), listed("x.log-20261101 x.log-20261102 x.log-20261103@9")
    )
    assert [(removal.reason, removal.is_early) for removal in rotation.removals] == [
        ("generation 4, rotate is 2", True),
        ("generation 3, rotate is 2", True),
        ("it is older than maxage, 3 days", False),
    ]
    assert planned(Options(), {}).removals == (Removal("x.log.1", "rotate is 0", is_early=False),)


def test_a_date_that_is_taken_blocks():
    """A second rotation on one day is skipped with logrotate's words, and nothing that would follow it is removed."""
    rotation = planned(Options(rotate=1, dateext=True), listed("x.log-20261123 x.log-20261124"))
    assert rotation.is_blocked == "destination x.log-20261124 already exists"
    assert [removal.name for removal in rotation.removals] == ["x.log-20261123"]


def test_a_date_that_is_a_path_blocks():
    """A dateformat with a slash leads nowhere, as in logrotate, where the renaming fails."""
    rotation = planned(Options(rotate=1, dateext=True, dateformat="/../%Y"), {})
    assert rotation.is_blocked == "with the date '/../2026' there is no name for an archive"


@needed
@pytest.mark.parametrize("options", [GZ, Options(rotate=2, compress=True, dateext=True)])
def test_what_a_crash_left_uncompressed_is_not_overwritten(tmp_path, options):
    """A run that ended before it had compressed leaves a whole log under the next target: logrotate loses it, maintd
    sets it aside, under the name that logrotate uses with copytruncate."""
    leftover = planned(options, {}).target
    assert leftover.encode() not in originally(tmp_path, options, {leftover: 0}).values()
    start = {LOG: b"today", leftover: b"the day before"}
    assert applied(planned(options, {leftover: 0}), start, options) == {
        f"{leftover}{BACKUP}": b"the day before",
        f"{leftover}.gz": b"today",
    }


@needed
def test_rotate_without_end_loses_nothing_from_0_on(tmp_path):
    """`rotate -1` keeps all; with `start 0` logrotate 3.21 overwrites the oldest archive, maintd moves that too."""
    options, files = Options(rotate=-1, start=0), "x.log.0 x.log.1"
    assert b"x.log.1" not in originally(tmp_path, options, listed(files)).values()
    assert left(options, files) == held("x.log.0=x.log x.log.1=x.log.0 x.log.2=x.log.1")


@needed
@pytest.mark.parametrize(
    ("log", "dateformat", "own", "strange"),
    [
        ("x[a].log", "-%Y%m%d", "x[a].log-20261101", "xa.log-20261101"),
        ("x*.log", "-%Y%m%d", "x*.log-20261101", "xyz.log-20261101"),
        ("x.log", "-%Y*", "x.log-2020*", "x.log-2020-of-another"),
    ],
)
def test_no_name_is_a_pattern(tmp_path, log, dateformat, own, strange):
    """A `*` or `[` in a name or a dateformat is itself: logrotate takes it for a pattern and removes other files."""
    options = Options(rotate=1, dateext=True, dateformat=dateformat)
    files = f"{own} {strange}"
    assert strange.encode() not in originally(tmp_path, options, listed(files), log=log).values()
    after = left(options, files, log=log)
    assert strange in after
    assert own not in after


@needed
def test_a_copy_that_is_not_made_is_not_compressed(tmp_path):
    """copytruncate with rotate 0 only empties the log; with compress, logrotate 3.21 then fails for want of a copy."""
    options = Options(rotate=0, copytruncate=True, compress=True)
    assert "x.log.2.gz" in originally(tmp_path, options, {"x.log.1.gz": 0})
    rotation = planned(options, {"x.log.1.gz": 0})
    assert (rotation.target, rotation.compressed) == (None, None)
    assert left(options, "x.log.1.gz") == held("x.log=")


def test_a_backup_does_not_replace_another():
    """Two collisions within an hour leave two backups, where logrotate's second one replaces the first."""
    rotation = planned(LATER, listed(f"x.log.1 x.log.1.gz x.log.1.gz{BACKUP}"))
    assert rotation.backups == (("x.log.1.gz", f"x.log.1.gz{BACKUP}.2"),)


def test_the_log_is_never_its_own_archive():
    """A dateformat of nothing names the log itself: it is neither compressed nor removed, and blocks the rotation."""
    rotation = planned(replace(LATER, dateext=True, dateformat="", extension=".log"), {LOG: 0})
    assert (rotation.compressions, rotation.removals) == ((), ())
    assert rotation.is_blocked == "with the date '' there is no name for an archive"


@pytest.mark.parametrize(
    ("olddir", "directory"),
    [(None, "/var/log"), ("old", "/var/log/old"), ("../old", "/var/old"), ("/mnt/old", "/mnt/old"), (".", "/var/log")],
)
def test_archive_directory(olddir, directory):
    """olddir counts from the directory of the log, unless it is absolute."""
    assert archive_directory("/var/log/x.log", Options(olddir=olddir)) == directory


def test_stem():
    """All archives begin with the log's name, less the extension that goes to their end."""
    assert stem("/var/log/x.log", Options()) == LOG
    assert stem("/var/log/x.log", Options(extension=".log")) == "x"


STAMPS = [
    ("-%Y%m%d", "-20261124"),
    ("-%Y-%V", "-2026-48"),
    (".%s", ".1795516215"),
    ("-%H%M%S", "-103015"),
    ("-%y%F%j%n", "-%y%F%j%n"),
    ("-%%Y", "-%2026"),
    ("-%Y%%m", "-2026%11"),
    ("-%Y%", "-2026%"),
    ("-%", "-%"),
    ("-foo", "-foo"),
]


@pytest.mark.parametrize(("dateformat", "stamp"), STAMPS)
def test_dateformat(dateformat, stamp):
    """The eight conversions are made; all else, other conversions too, stands for itself."""
    assert stamps(Options(dateformat=dateformat), NOW).now == stamp


@needed
@pytest.mark.parametrize(("dateformat", "stamp"), STAMPS)
def test_dateformat_originally(tmp_path, dateformat, stamp):
    """As logrotate makes them."""
    assert f"x.log{stamp}" in originally(tmp_path, Options(rotate=1, dateext=True, dateformat=dateformat), {})


def test_the_offset_of_3_22():
    """%z tells the two hours apart that have one name when clocks go back, and puts the first one first."""
    options = Options(rotate=1, dateext=True, dateformat="-%Y%m%d-%H%z")
    hour = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    first, second = stamps(options, hour), stamps(options, hour.replace(fold=1))
    assert (first.now, second.now) == ("-20261025-02+0200", "-20261025-02+0100")
    assert first.order(first.now) < first.order(second.now)
    assert first.order("-20261025-02") is None


def test_default_dateformat():
    """The hour is in it for `hourly` only."""
    assert stamps(Options(criteria=Criteria(kind="hourly")), NOW).now == "-2026112410"
    assert stamps(Options(criteria=Criteria(kind="daily")), NOW).now == "-20261124"


EVERYTHING = "-%Y%m%d-%H:%M:%S-%s"
CLOCKS = [
    ("UTC", "2026-11-24 10:30:15"),
    ("UTC", "2026-03-01 00:00:00"),
    ("UTC", "2026-01-01 05:00:00"),
    ("Europe/Berlin", "2026-03-29 03:30:00"),
    ("Europe/Berlin", "2026-03-30 00:30:00"),
    ("Europe/Berlin", "2026-10-25 03:30:00"),
    ("Europe/Berlin", "2026-10-26 00:30:00"),
]


@needed
@pytest.mark.parametrize(("zone", "now"), CLOCKS)
@pytest.mark.parametrize("shifts", [(), ("dateyesterday",), ("datehourago",), ("dateyesterday", "datehourago")])
def test_another_time_than_now(tmp_path, zone, now, shifts):
    """dateyesterday is noon of the day before, datehourago an hour less; as in logrotate when clocks change, too."""
    moment = datetime.fromisoformat(now).replace(tzinfo=ZoneInfo(zone))
    options = replace(Options(rotate=1, dateext=True, dateformat=EVERYTHING), **dict.fromkeys(shifts, True))
    assert f"x.log{stamps(options, moment).now}" in originally(tmp_path, options, {}, moment, zone)


def test_yesterday():
    """Yesterday of the first of March is the last of February, at noon."""
    options = Options(dateformat="-%Y%m%d%H%M%S", dateyesterday=True)
    assert stamps(options, datetime(2026, 3, 1, 0, 1, 2, tzinfo=UTC)).now == "-20260228120102"


options_of = st.builds(
    Options,
    rotate=st.integers(-1, 4),
    start=st.integers(0, 3),
    compress=st.booleans(),
    delaycompress=st.booleans(),
    extension=st.sampled_from([None, None, ".log", "g", ".txt"]),
    addextension=st.sampled_from([None, None, ".old", ".log", "g"]),
    dateext=st.booleans(),
    dateformat=st.sampled_from([None, "-%d%m%Y", ".%Y-%m-%d_%H", "-%s", "-%m%d"]),
    dateyesterday=st.booleans(),
    copytruncate=st.just(value=True),
    criteria=st.builds(Criteria, maxage=st.sampled_from([0, 0, 2])),
)
"""With copytruncate, so that what lies in the way is set aside by logrotate too."""
age_of = st.sampled_from([0, DAY, 2 * DAY - 1, 2 * DAY, 2 * DAY + 1, 5 * DAY])


@st.composite
def files_of(draw: st.DrawFn, options: Options) -> Ages:
    """Files as these options, with and without compression, leave them, and a few that are none of theirs."""
    rotation = planned(replace(options, rotate=1), {})
    mark = stamps(options, NOW).now if options.dateext else f".{options.start}"
    begin, end = rotation.target.split(mark, 1)
    days = draw(st.lists(st.integers(-2, 40), max_size=6, unique=True))
    if options.dateext:
        marks = [stamps(options, NOW - timedelta(days=day)).now for day in days]
    else:
        marks = [f".{day % 9}" for day in days]
    found = {}
    for each in marks:
        for tail in draw(st.sampled_from([("",), (".gz",), ("", ".gz")])):
            found[begin + each + end + tail] = draw(age_of)
    for strange in draw(
        st.lists(st.sampled_from(["x.log.a", "x.log.01", "x.logs", "y.log.1", "x.log.1.gzz"]), max_size=2)
    ):
        found[strange] = draw(age_of)
    return found


@needed
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_rotates_as_logrotate_does(tmp_path, data):
    """Whatever the options and the files that are there, the names and contents afterwards are those of logrotate."""
    options = data.draw(options_of)
    files = data.draw(files_of(options))
    assume((options.rotate, options.start) != (-1, 0))  # it loses one: see the test of that
    assume(options.rotate != 0 or not options.compress or options.delaycompress)  # it fails: see the test of that
    start = {name: name.encode() for name in (LOG, *files)}
    assert applied(planned(options, files), start, options) == originally(tmp_path, options, files)
