"""What a person writes into the config, right and wrong, and what maintd answers."""

import json
import os
import socket
import sys
import time
import tomllib
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maintd import config, differences, jobs, origins, schema
from maintd.errors import ConfigError, MaintdError

USER = 1000  # whom a config is read for, where permissions are not the point

SERVICES = """\
[rotate.services]
paths = ["/srv/app/logs/*.log"]
cron = "0 0 * * *"
max_size = "10M"
keep = 7
keep_within = "3d"
"""
PRICES = """\
[compress.prices]
paths = ["/srv/prices/*.csv"]
every = "1d"
older_than = "30d"
"""


@pytest.fixture
def write(tmp_path):
    """Writes the main file (text or bytes) and files of conf.d; returns the main file's path."""

    def write(main, **extra):
        files = {tmp_path / "maintd.toml": main}
        files |= {tmp_path / "conf.d" / f"{name}.toml": content for name, content in extra.items()}
        for path, content in files.items():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            path.chmod(0o644)
        return str(tmp_path / "maintd.toml")

    return write


def refused(path, euid=USER):
    """The problems of a config as lines, without the directory."""
    with pytest.raises(ConfigError) as caught:
        config.load(path, euid=euid)
    return str(caught.value).replace(os.path.dirname(path) + "/", "").splitlines()


def loaded(path):
    return config.load(path, euid=USER)


# What is right


def test_values_arrive_typed_and_defaults_stand(write, monkeypatch):
    """A job's options arrive as sizes, spans and cron expressions; what is not given has its default."""
    monkeypatch.delenv("SUPERVISOR_SERVER_URL", raising=False)
    found = loaded(write(SERVICES + PRICES))
    services = found.jobs["rotate.services"]
    assert (services.max_size, services.keep, services.keep_within) == (10 * 1024**2, 7, timedelta(days=3))
    assert str(services.cron) == "0 0 * * *"
    assert services.compress == "zstd"
    assert found.jobs["compress.prices"].older_than == timedelta(days=30)
    assert (found.settings.state_dir, found.settings.timezone) == ("/var/lib/maintd", "UTC")
    assert found.supervisor.url == "unix:///run/supervisor.sock"
    assert found.warnings == ()


def test_supervisord_tells_its_url(write, monkeypatch):
    """Without a url, the one that supervisord gives its programs is used."""
    monkeypatch.setenv("SUPERVISOR_SERVER_URL", "unix:///run/other.sock")
    assert loaded(write("")).supervisor.url == "unix:///run/other.sock"


def test_nothing_can_be_changed_afterwards(write):
    """A Config is a value: neither it nor its jobs can be changed."""
    found = loaded(write(SERVICES))
    with pytest.raises(AttributeError):
        found.files = ()
    with pytest.raises(TypeError):
        found.jobs["rotate.other"] = None
    with pytest.raises(ValueError, match="frozen"):
        found.jobs["rotate.services"].keep = 8


def test_jobs_come_in_the_order_of_the_files(write):
    """Jobs keep file order across kinds, whatever looks like a header inside strings, arrays and comments."""
    path = write(
        '[rotate.b]\npaths = [\n  "/b", # [compress.y]\n"""/[\n[compress.y]\n"""]\nevery = "1d"\n'
        '[compress.z]\npaths = ["/z"]\nolder_than = "1d"\nevery = "1d"\n'
        '[rotate."a"]\npaths = ["/a"]\nevery = "1d"\n'
        '[compress.y]\npaths = ["/y"]\nolder_than = "1d"\nevery = "1d"\n',
        second='[rotate.c]\npaths = ["/c"]\nevery = "1d"\n',
        first='[rotate.d]\npaths = ["/d"]\nevery = "1d"\n',
    )
    assert list(loaded(path).jobs) == ["rotate.b", "compress.z", "rotate.a", "compress.y", "rotate.d", "rotate.c"]


def test_conf_d_adds_jobs(write, tmp_path):
    """Every *.toml in conf.d/ is read, sorted by name; other and hidden files are not."""
    path = write(SERVICES, prices=PRICES)
    for name in ("old.toml~", ".hidden.toml", "README"):
        (tmp_path / "conf.d" / name).write_text("not TOML")
    found = loaded(path)
    assert list(found.jobs) == ["rotate.services", "compress.prices"]
    assert found.files == (path, str(tmp_path / "conf.d" / "prices.toml"))


def test_places_name_file_and_line(write):
    """Each table and each option that is given is found again by file and line, however it is written."""
    path = write(
        '[daemon]\ntimezone = "UTC"\n\n' + SERVICES + 'signal = { name = "HUP", program = "web:nginx" }\n',
        extra='compress.old = { paths = ["/old"], every = "1d",\tolder_than = "7d" }\n'
        'compress.new.paths = ["/new"]\ncompress.new.every = "1d"\ncompress.new.older_than = "7d"\n',
    )
    places = loaded(path).places
    extra = path.replace("maintd.toml", "conf.d/extra.toml")
    assert str(places["daemon.timezone"]) == f"{path}:2"
    assert str(places["rotate.services"]) == f"{path}:4"
    assert str(places["rotate.services.signal"]) == f"{path}:10"
    assert places["compress.old"] == (extra, 1, 10)
    assert places["compress.old.older_than"] == (extra, 1, 50)
    assert places["compress.new"] == (extra, 2, 14)
    assert "rotate.services.compress" not in places


def test_what_looks_like_an_option_is_not_taken_for_one(write):
    """Text in strings of several lines, and comments within a list, give no option its place."""
    path = write(
        "[rotate.services]\n"
        'before = ["/bin/sh", "-c", """\nevery = 1\n[rotate.services]\nkeep = 2\n"""]\n'
        'paths = [\n  # keep = 5\n  "/a",\n]\n'
        '\t every\t= "1d"\n"keep" = 3\nlevel = 4 # mode = 7\n'
    )
    places = loaded(path).places
    found = {name.removeprefix("rotate.services."): place[1:] for name, place in places.items()}
    assert found == {
        "rotate.services": (1, 1), "before": (2, 1), "paths": (7, 1), "every": (11, 3), "keep": (12, 1),
        "level": (13, 1),
    }  # fmt: skip


def test_a_good_config_needs_no_second_parser(write):
    """toml-rs, which locates keys, is not imported for a config without errors."""
    path = write(SERVICES)
    code = f"import sys; from maintd import config; config.load({path!r}, euid=1); sys.exit('toml_rs' in sys.modules)"
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", code) == 0


# What is wrong


@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        ("kep = 7", "4:1", 'kep: unknown key (did you mean "keep"?)'),
        ("keep = 'seven'", "4:8", 'keep: expected a whole number, got "seven"'),
        ("keep = 0", "4:8", "keep: must be at least 1, got 0"),
        ("keep = [1]", "4:8", "keep: expected a whole number, got a list"),
        ("enabled = 'perhaps'", "4:11", 'enabled: expected true or false, got "perhaps"'),
        (
            "cron = '61 0 * * *'",
            "4:8",
            "cron: cron '61 0 * * *': minute: '61' is not allowed; write 0 to 59, a list (1,2), a range (1-5), a step…",
        ),
        ("cron = 5", "4:8", 'cron: expected a text in quotes ("…"), got 5'),
        (
            "max_size = '10 parsecs'",
            "4:12",
            "max_size: '10 parsecs' is not a size (write bytes, or 10K, 10M, 10G, 10MiB, 10MB)",
        ),
        ("max_size = -1", "4:12", "max_size: must be at least 0, got -1"),
        ("max_size = 0", "4:12", "max_size: must be more than 0, got 0"),
        ('timeout = "0s"', "4:11", "timeout: must be longer than nothing"),
        (
            "max_age = 14",
            "4:11",
            "max_age: 14 is not a duration: it needs a unit (write 14s, 14m, 14h or 14d)",
        ),
        (
            'compress = "zstdd"',
            "4:12",
            'compress: expected "zstd", "gzip" or "none", got "zstdd" (did you mean "zstd"?)',
        ),
        ("signal = 1", "4:10", "signal: expected a table, got 1"),
        (
            "signal = { nam = 'HUP' }",
            "4:1",
            "signal.name: is missing",
        ),
        ("before = []", "4:10", "before: must have 1 or more entries"),
        ("exclude = ['/a',\n  '/b', 3]", "5:9", 'exclude[2]: expected a text in quotes ("…"), got 3'),
        ('"ünï" = 1; x', "4:10", None),
        ("exclude = ['/ü', 3]", "4:18", 'exclude[1]: expected a text in quotes ("…"), got 3'),
        ("ping = 1979-05-27", "4:8", 'ping: expected a text in quotes ("…"), got a date or time'),
        ("level = 0xffffffffffffffffffffff", "4:9", "level: must be at most 19, got a number beyond 64 bits"),
    ],
)
def test_a_wrong_option_is_told_by_its_place(write, option, place, message):
    """Each fault comes as file:line:col, the key and what is expected instead of what was given."""
    problems = refused(write(f"[rotate.services]\npaths = ['/srv/*.log']\nevery = '1d'\n{option}\n"))
    assert problems[0].startswith(f"maintd.toml:{place}: error: ")
    if message:
        told = problems[0].removeprefix(f"maintd.toml:{place}: error: rotate.services.")
        assert told.startswith(message[:-1]) if message.endswith("…") else told == message


@pytest.mark.parametrize("interval", ["0s", "999ms"])
def test_an_interval_below_a_second_is_told_by_its_place(write, interval):
    """A job that would never rest is an error of the config, with its place."""
    (problem,) = refused(write(f"[rotate.services]\npaths = ['/srv/*.log']\nevery = '{interval}'\n"))
    assert problem == "maintd.toml:3:9: error: rotate.services.every: must be at least 1s"


def test_two_jobs_never_share_one_olddir(write, tmp_path):
    """Two jobs with one absolute olddir, however it is written, are an error that names both and the directory."""
    job = "[rotate.{0}]\npaths = ['/srv/{0}/*.log']\nevery = '1d'\nolddir = '{1}'\n"
    (tmp_path / "link").symlink_to(tmp_path / "old")
    old = f"{tmp_path}/old"
    for other in (old, f"{old}/", f"{tmp_path}/x/../old", f"{tmp_path}/link"):
        (problem,) = refused(write(job.format("first", old) + job.format("second", other)))
        assert problem.startswith("maintd.toml:8:1: error: rotate.second.olddir: ")
        assert "is the olddir of rotate.first as well" in problem
    assert len(loaded(write(job.format("first", old) + job.format("second", f"{old}/second"))).jobs) == 2
    assert len(loaded(write(job.format("first", "old") + job.format("second", "old"))).jobs) == 2
    for olddirs in (("../old", "../old"), ("/srv/old", "../old"), ("../old", "../second/../old")):
        (problem,) = refused(write(job.format("first", olddirs[0]) + job.format("second", olddirs[1])))
        assert "/srv/old is the olddir of rotate.first as well" in problem
    apart = "[rotate.{0}]\npaths = ['/srv/{0}.log']\nevery = '1d'\nolddir = 'old'\n"
    assert len(loaded(write(apart.format("first") + apart.format("second"))).jobs) == 2


def test_every_fault_is_told_at_once(write):
    """All faults of all files that parse come together, in the order of files and lines."""
    path = write(
        "[daemon]\ntimezone = 'Europe/Berlni'\nstate_dir = 'var/lib'\n"
        "[rotate.services]\n  kep = 7\n  cron = '0 0 * *'\n"
        "[rotat.web]\n[compress.old]\npaths = ['/old']\nolder_than = '7d'\n",
        bad="[compress\n",
        late="[compress.late]\nevery = '1d'\nolder_than = '7d'\npath = ['/x']\n",
    )
    told = [": ".join(line.split(": ")[:3]) for line in refused(path)]
    assert told == [
        "maintd.toml:2:12: error: daemon.timezone",
        "maintd.toml:3:13: error: daemon.state_dir",
        "maintd.toml:4:1: error: rotate.services.paths",
        "maintd.toml:5:3: error: rotate.services.kep",
        "maintd.toml:6:10: error: rotate.services.cron",
        "maintd.toml:7:1: error: rotat",
        "maintd.toml:8:1: error: compress.old",
        "conf.d/bad.toml:1:10: error: expected ']' at the end of a table declaration",
        "conf.d/late.toml:1:1: error: compress.late.paths",
        "conf.d/late.toml:4:1: error: compress.late.path",
    ]


HALF_A_SIGNAL = "signal needs either program or pidfile, to say whom it goes to"


@pytest.mark.parametrize(
    ("table", "place", "message"),
    [
        ("rotate.a]\npaths = ['/a']", "1:1", "a: nothing ever makes this job due: set cron, every or max_size"),
        ("rotate.a]\nmax_size = '1K'\nmin_size = '1M'", "3:12", "a.min_size: min_size is larger than max_size, so no…"),
        ("rotate.a]\nlevel = 10\ncompress = 'gzip'\npaths=1", "2:9", "a.level: level goes from 1 to 9 with gzip"),
        (f"rotate.a]\nevery = {'9' * 400}", "2:9", "a.every: 999…"),
        ("rotate.a]\nreopen = 'signal'", "2:10", 'a.reopen: reopen = "signal" needs signal = …'),
        ("rotate.a]\nreopen = 'command'\ncommand = []", "3:11", "a.command: must have 1 or more entries"),
        ("rotate.a]\npaths = ['x']\ncron = '@daily'", "2:10", "a.paths[0]: 'x' is not an absolute path: a daemon has…"),
        ("rotate.a]\nsignal = { name = 'HUP' }", "2:10", f"a.signal: {HALF_A_SIGNAL}"),
        ("rotate.a]\nsignal = { name = 'KILL' }", "2:10", f"a.signal: {HALF_A_SIGNAL}"),
        ("rotate.a.signal]\nname='HUP'\nprogram=''", "3:9", "a.signal.program: must have 1 or more characters, …"),
        (
            "archive.a]\ns3 = { region = 'x' }\nto = '/b'",
            "2:6",
            "a.s3: s3 says how an object store is reached, but `to` is…",
        ),
        ("guard.a]\nballast = '1K'", "2:11", "a.ballast: ballast and ballast_file are given together: …"),
        ("guard.a]\norder = ['expired', 'expired']", "2:9", "a.order: order names something twice"),
        ("expire.a]\nkeep_within = '1d'", "2:15", "a.keep_within: the policy is empty, so nothing would …"),
        ("backup.a]", "1:1", "a: there is nothing to back up: set databases, files or commands"),
        ("backup.a]", "1:1", "a: nothing ever makes this job due: set cron or every"),
        (
            "check.http.a]\ntoken_file = '/t'\nusername = 'x'",
            "2:14",
            "a.token_file: password_file and token_file are …",
        ),
        ("check.file.a]\npaths = ['/*']\nsha256 = '" + "0" * 64 + "'", "3:10", "a.sha256: sha256 is of one file: …"),
        ("check.log.a]", "1:1", "a: nothing ever makes this check bad: set degraded_count, down_count, or …"),
        ("check.tcp.a]\ndepends_on = ['check.tcp.b']", "2:1", 'a.depends_on: there is no check "check.tcp.b"…'),
    ],
)
def test_a_broken_rule_is_told_beside_other_faults(write, table, place, message):
    """What is wrong with options together is told at the place of one of them, also when another option is wrong."""
    kind = table[: table.index(".a")]
    problems = refused(write(f"[{table}\n[{kind}.a.nosuch]\n".replace("a.signal.nosuch", "a.nosuch")))
    told = f"maintd.toml:{place}: error: {kind}.{message}"
    assert any(line == told or (told[-1] == "…" and line.startswith(told[:-1])) for line in problems), problems
    assert any("a.nosuch: unknown key" in line for line in problems)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[rotat.a]\nkeep = 1\n",
            'maintd.toml:1:1: error: rotat: unknown kind of job (did you mean "rotate"?); there are: ',
        ),
        ("[rotate]\nkeep = 7\n", "maintd.toml:2:1: error: rotate.keep: a job needs a name: write [rotate.NAME] above"),
        ("[rotate]\n", "maintd.toml:1:1: error: rotate: a job needs a name: write [rotate.NAME] above its options"),
        ("rotate = 3\n", "maintd.toml:1:1: error: rotate: a job needs a name"),
        ("[[rotate.a]]\nkeep = 7\n", "maintd.toml:1:1: error: rotate.a: is a list of tables: write [rotate.a], in"),
        ('[rotate."a b"]\nkeep = 7\n', 'maintd.toml:1:1: error: rotate."a b": the name of a job consists of letters'),
        ("keep = 7\n", "maintd.toml:1:1: error: keep: stands in no job and no settings table"),
        ("daemon = 7\n", "maintd.toml:1:10: error: daemon: expected a table, got 7"),
        ("[supervisor]\nurl = 'ftp://x'\n", "maintd.toml:2:7: error: supervisor.url: 'ftp://x' is not a URL of"),
        ("[supervisor]\nusername = 'x'\n", "maintd.toml:2:12: error: supervisor.username: username and a password"),
    ],
)
def test_a_table_that_is_no_job_is_told(write, text, line):
    """A table that is no kind, has no name or the wrong brackets is told with what to write."""
    problems = refused(write(text))
    assert problems[0].startswith(line)
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (SERVICES + SERVICES, "maintd.toml:7:1: error: rotate.services: is defined twice, the first time in line 1"),
        (SERVICES + "keep = 8\n", "maintd.toml:7:1: error: keep: is given twice in this table"),
        (SERVICES[:-3], "maintd.toml:6:17: error: the file ends too early: unterminated string"),
        (SERVICES[:20], "maintd.toml:2:3: error: the file ends too early: expected '=' after a key"),
        (SERVICES[:40], "maintd.toml:2:23: error: the file ends too early: unterminated string"),
        ("[rotate.a]\ncron = @daily\n", "maintd.toml:2:8: error: this is not a value: a text stands in quotes"),
        ("[rotate.a]\npaths = [\n", "maintd.toml:3:1: error: the file ends too early: invalid value"),
        ("[rotate.é]\n", "maintd.toml:1:9: error: a key is expected here (letters, digits, _ and -; others in quotes)"),
        ("x = 1\0\n", "maintd.toml:1:6: error: expected newline or end of document"),
        ("x = " + "[" * 100_000, "maintd.toml: error: is nested deeper than 32 levels"),
        ("x = " + "[" * 40 + "]" * 40, "maintd.toml: error: is nested deeper than 32 levels"),
        (".".join("a" * 2000) + " = 1", "maintd.toml: error: is nested deeper than 32 levels"),
        ("x = " + "1" * 5000, "maintd.toml: error: a value cannot be read: Exceeds the limit (4300 digits)"),
        (b"\xef\xbb\xbf" + SERVICES.encode(), "maintd.toml:1:1: error: begins with a byte order mark (BOM)"),
        (SERVICES.encode("utf-16"), "maintd.toml:1:1: error: is UTF-16, and TOML is UTF-8: iconv -f UTF-16"),
        (
            "# ä\n[rotate.a] # é è".encode("latin-1"),
            "maintd.toml:1:3: error: byte 0xe4 at offset 2 is not UTF-8; if the file is Latin-1: iconv -f LATIN1",
        ),
        ("# ä".encode() + b"\xff", "maintd.toml:1:4: error: byte 0xff at offset 4 is not UTF-8"),
        (b"#" * (16 * 1024**2 + 1), "maintd.toml: error: is larger than 16 MiB: this is not a config"),
    ],
    ids=range(18),
)
def test_a_file_that_does_not_parse_is_told_by_its_first_fault(write, content, line):
    """Of a file that cannot be parsed the first fault is told, by place where there is one."""
    problems = refused(write(content))
    assert problems[0].startswith(line)
    assert len(problems) == 1


def test_crlf_is_fine_and_counted(write):
    """A file with Windows line ends loads, and its faults are told by the right place."""
    assert "rotate.services" in loaded(write(SERVICES.replace("\n", "\r\n"))).jobs
    assert refused(write((SERVICES + "kep = 1\n").replace("\n", "\r\n")))[0].startswith("maintd.toml:7:1: error: ")


def test_a_name_is_given_once_in_all_files(write):
    """A job that two files define is refused, naming both places."""
    path = write(SERVICES, again="\n" + SERVICES)
    assert refused(path) == [
        "conf.d/again.toml:2:1: error: rotate.services: is already defined in maintd.toml:1",
    ]


def test_settings_stand_in_the_main_file(write):
    """A settings table in conf.d/ is refused."""
    path = write(SERVICES, more="[daemon]\nobserve = true\n")
    message = "daemon: belongs into the main file: files of conf.d/ may only add jobs"
    assert refused(path) == [f"conf.d/more.toml:1:1: error: {message}"]


def test_what_is_no_file_is_told(tmp_path):
    """A missing file, a directory, a FIFO, a socket, a device, a dangling link: each is told, none hangs."""
    os.mkfifo(tmp_path / "fifo")
    os.symlink("nowhere", tmp_path / "link")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    special = "error: is a FIFO, a socket or a device, not a regular file"
    assert refused(f"{tmp_path}/fifo") == [f"fifo: {special}"]
    assert refused(f"{tmp_path}/socket") == [f"socket: {special}"]
    assert refused("/dev/null") == [f"null: {special}"]
    assert refused(f"{tmp_path}") == [f"{tmp_path.name}: error: is a directory, not a file"]
    for name in ("missing", "link"):
        assert refused(f"{tmp_path}/{name}")[0].startswith(f"{name}: error: cannot be read: No such file or directory")
    assert refused(f"{tmp_path}/a\0b") == ["a\\x00b: error: is no name of a file"]


def test_conf_d_that_is_no_directory_is_told(write, tmp_path):
    """conf.d that cannot be listed is an error, never silence."""
    path = write(SERVICES)
    (tmp_path / "conf.d").write_text("")
    assert refused(path) == ["conf.d: error: cannot be listed: Not a directory"]


def test_root_refuses_what_others_may_write(write):
    """Read by root, a file that group or others may write is refused, with what to type; other users may."""
    path = write(SERVICES, more=PRICES)
    more = path.replace("maintd.toml", "conf.d/more.toml")
    for mode in (0o664, 0o646):
        os.chmod(more, mode)
        problems = "\n".join(refused(path, euid=0))
        if os.geteuid() == 0:
            assert problems == (
                "conf.d/more.toml: error: may be written by group or others, and maintd runs as root "
                "(type: chmod go-w conf.d/more.toml)"
            )
        assert loaded(path).jobs
    if os.geteuid() == 0:
        os.chmod(more, 0o644)
        assert config.load(path, euid=0).jobs
        os.chown(path, 1234, 0)
        assert refused(path, euid=0) == [
            "maintd.toml: error: belongs to uid 1234, and maintd runs as root (type: chown root maintd.toml)"
        ]


# Secrets


def test_secrets_come_by_reference_and_are_never_shown(write, tmp_path, monkeypatch):
    """A password is given by file or variable; one that is written down is refused and not repeated."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    found = loaded(write(f"[supervisor]\nusername = 'me'\npassword_file = '{secret}'\n" + SERVICES))
    assert found.supervisor.password() == "hunter2"
    assert found.warnings == ()
    assert "hunter2" not in "\n".join(origins.show(found)) + repr(found)
    monkeypatch.delenv("SUPERVISOR_PASSWORD", raising=False)
    found = loaded(write("[supervisor]\nusername = 'me'\npassword_env = 'SUPERVISOR_PASSWORD'\n"))
    with pytest.raises(MaintdError, match="SUPERVISOR_PASSWORD is not set"):
        found.supervisor.password()
    monkeypatch.setenv("SUPERVISOR_PASSWORD", "hunter2")
    assert found.supervisor.password() == "hunter2"
    for wrong in ("password = 'hunter2'", "url = 'http://me:hunter2@host:9001'", "password_file = 'hunter2'"):
        [*_, problem] = refused(write(f"[supervisor]\n{wrong}\n"))
        assert "hunter2" not in problem


def test_doubtful_secrets_are_warned_of(write, tmp_path, monkeypatch):
    """A password that others may read, or that is not there, is a warning with its place."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    path = write(f"[supervisor]\nusername = 'me'\npassword_file = '{secret}'\n" + SERVICES)
    assert [str(warning) for warning in loaded(path).warnings] == [
        f"{path}:3:1: warning: supervisor.password_file: others may read {secret}: chmod 600 {secret}"
    ]
    secret.unlink()
    assert "cannot be read: No such file" in str(loaded(path).warnings[0])
    monkeypatch.delenv("NOT_THERE", raising=False)
    path = write("[supervisor]\nusername = 'me'\npassword_env = 'NOT_THERE'\n" + SERVICES)
    assert "NOT_THERE is not set here" in str(loaded(path).warnings[0])


# Comparing


def test_a_diff_is_by_value(write):
    """Only what differs by value is in a diff; spelling, order and comments are not."""
    old = loaded(write(SERVICES + PRICES + "[rotate.gone]\npaths = ['/gone']\nevery = '1d'\n"))
    text = PRICES + SERVICES.replace('"10M"', "10485760 # the same") + "[rotate.new]\npaths = ['/n']\nevery = '1d'\n"
    new = loaded(write("[daemon]\nobserve = true\n" + text.replace('"30d"', '"31d"')))
    assert differences.diff(old, new) == differences.Diff(
        ("rotate.new",), ("compress.prices",), ("rotate.gone",), ("daemon",)
    )
    assert str(differences.diff(old, new)) == "+1 ~1 \N{MINUS SIGN}1"
    assert str(differences.diff(new, new)) == "+0 ~0 \N{MINUS SIGN}0"


def test_a_half_written_file_loses_much(write):
    """Losing more than half of the jobs is told apart from losing half; a lost table of settings counts."""
    job = "[rotate.j{}]\npaths = ['/{}']\nevery = '1d'\n"
    four, two, one = (loaded(write("".join(job.format(n, n) for n in range(count)))) for count in (4, 2, 1))
    nothing = loaded(write(""))
    assert differences.losses(four, two) == []
    assert differences.losses(four, one) == ["3 of 4 jobs"]
    assert differences.losses(one, nothing) == ["1 of 1 job"]
    assert differences.losses(nothing, four) == []
    assert differences.losses(nothing, nothing) == []
    settings = loaded(write("[daemon]\nobserve = true\n[supervisor]\n"))
    assert differences.losses(settings, nothing) == ["[daemon]", "[supervisor]"]
    assert differences.losses(settings, loaded(write("[supervisor]\n[daemon]\n"))) == []
    assert differences.losses(nothing, settings) == []


def test_a_digest_tells_what_a_plan_is_made_from(write, monkeypatch):
    """Configs of one digest come to the same plans: values, settings and the order of jobs count, comments do not."""
    alike = [
        SERVICES + PRICES,
        "# a comment\n" + SERVICES.replace('"10M"', "10485760") + PRICES,
        "[daemon]\n" + SERVICES + PRICES,
    ]
    others = [
        PRICES + SERVICES,
        SERVICES,
        SERVICES.replace('"10M"', '"11M"') + PRICES,
        *(
            f"{table}\n{SERVICES}{PRICES}"
            for table in ("[daemon]\nobserve = true", "[daemon]\ntimezone = 'Europe/Berlin'")
        ),
        "[supervisor]\nurl = 'http://127.0.0.1:9001'\n" + SERVICES + PRICES,
    ]
    same = {loaded(write(text)).digest for text in alike}
    monkeypatch.setenv(
        "SUPERVISOR_SERVER_URL", "unix:///run/another.sock"
    )  # as supervisord gives it to the daemon alone
    same.add(loaded(write(alike[0])).digest)
    assert len(same) == 1
    assert len(same | {loaded(write(text)).digest for text in others}) == 1 + len(others)


def test_the_first_job_owns_a_log(write, tmp_path):
    """A job is told what the enabled jobs before it claim; a log that two claim is a warning that names both."""
    for name in ("a.log", "b.log", "c.txt"):
        (tmp_path / name).write_text("x")
    job = "[rotate.{}]\npaths = ['{}/{}']\nevery = '1d'\n"
    path = write(
        job.format("off", tmp_path, "*")
        + "enabled = false\n"
        + job.format("first", tmp_path, "*.log")
        + job.format("second", tmp_path, "b.log")
        + job.format("third", tmp_path, "*.txt")
        + job.format("fourth", tmp_path, "?.log")
    )
    found = loaded(path)
    files = [str(tmp_path / name) for name in ("a.log", "b.log", "c.txt")]
    assert found.claims.owners(files, before="rotate.third") == dict.fromkeys(files[:2], "rotate.first")
    assert found.claims.owners(files, before="rotate.fourth") == dict.fromkeys(files[:2], "rotate.first") | {
        files[2]: "rotate.third"
    }
    assert found.claims.owners(files, before="rotate.first") == {}
    second, fourth = (str(problem) for problem in config.shared_logs(found))
    owner = f"which rotate.first claims as well; rotate.first stands first ({path}:5) and rotates it"
    assert second == f"{path}:8:1: warning: rotate.second: claims {tmp_path}/b.log, {owner}"
    assert fourth == f"{path}:14:1: warning: rotate.fourth: claims {tmp_path}/a.log and 1 more, {owner}"


# Showing


def test_show_gives_each_option_its_origin(write):
    """Every option of every table is shown with its value and the line it is from; the whole is TOML again."""
    path = write(SERVICES)
    lines = list(origins.show(loaded(path)))
    by_text = dict(line.rsplit("  # ", 1) for line in lines if line)
    shown = {text.strip(): origin for text, origin in by_text.items()}
    assert shown["[rotate.services]"] == f"{path}:1"
    assert shown["max_size = 10485760"] == f"{path}:4"
    assert shown['keep_within = "3d"'] == f"{path}:6"
    assert shown['compress = "zstd"'] == "default"
    assert shown["# max_age is not set"] == "default"
    again = write("\n".join(lines))
    assert str(differences.diff(loaded(path), loaded(again))) == "+0 ~0 \N{MINUS SIGN}0"


def test_the_schema_is_current():
    """config/maintd.schema.json is what `maintd schema` prints."""
    kept = os.path.join(os.path.dirname(__file__), "..", "config", "maintd.schema.json")
    with open(kept, encoding="utf-8") as file:
        assert file.read() == schema.text(), "run: maintd schema > config/maintd.schema.json"


def test_the_schema_knows_every_option():
    """Each option of each kind and settings table is in the schema, described, and nothing there is null."""
    whole = schema.schema()
    for kind in jobs.kinds():
        named = whole
        for part in kind.split("."):
            named = named["properties"][part]
        [reference] = named["patternProperties"].values()
        table = whole["$defs"][reference["$ref"].removeprefix("#/$defs/")]
        assert list(table["properties"]) == list(jobs.kind(kind).model_fields)
        assert all("description" in option for option in table["properties"].values())
        assert table["additionalProperties"] is False
    assert '"null"' not in json.dumps(whole)


# Many, and arbitrary


def test_ten_thousand_jobs(write):
    """10,000 jobs load in seconds, and thousands of faults are told by their lines."""
    job = SERVICES.replace("services", "j{0}").replace("0 0", "{1} 0")
    path = write("".join(job.format(n, n % 60) for n in range(10_000)))
    start = time.monotonic()
    assert len(loaded(path).jobs) == 10_000
    assert time.monotonic() - start < 60
    path = write("".join(job.format(n, n % 60).replace("keep =", "kep =") for n in range(3_000)))
    problems = refused(path)
    assert len(problems) == 3_000
    assert problems[-1].startswith("maintd.toml:17999:1: error: rotate.j2999.kep: unknown key")


FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
VALID = ("[daemon]\nobserve = false\n" + SERVICES + "signal = { name = 'HUP', program = 'a:b' }\n" + PRICES).encode()


def attempt(path):
    """The config of a file and no problem, or None and the problems it is refused with. Anything else rises."""
    try:
        return loaded(path), ()
    except ConfigError as error:
        return None, error.problems


def lie_inside(problems, path):
    """Whether each problem has a message on one line, and a place inside the file."""
    with open(path, "rb") as file:
        lines = file.read().count(b"\n") + 1
    return all(problem.message and "\n" not in str(problem) and 0 <= problem.line <= lines for problem in problems)


PIECES = """
[ ] " ' = { } . # - 1 [[ =[[[ \"\"\" \\u00e9 1e999 nan true rotate signal 07:32:00 1979-05-27 0xffffffffffffffffffffff
[{},{}] "\\u0000" é \u2028 \0
"""


@FUZZ
@given(content=st.binary(max_size=200))
def test_arbitrary_bytes_are_loaded_or_refused(write, content):
    """No content of a file makes loading fail with anything but ConfigError."""
    path = write(content)
    found, problems = attempt(path)
    assert (found is None) == bool(problems)
    assert lie_inside(problems, path)
    assert found is None or list(origins.show(found))


@FUZZ
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, len(VALID)),
            st.integers(0, 12),
            st.sampled_from([b"", b"\n", b"\r", b"\xc3", *PIECES.encode().split()]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_mutated_configs_are_loaded_or_refused(write, changes):
    """A valid config with any bytes cut out and put in loads or is refused with places."""
    content = VALID
    for at, cut, put in changes:
        content = content[:at] + put + content[at + cut :]
    path = write(content)
    found, problems = attempt(path)
    assert (found is None) == bool(problems)
    assert lie_inside(problems, path)
    assert found is None or list(origins.show(found))


SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1h", "10M", "@daily", "/x", "USR1"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*jobs.kind("rotate").model_fields, "x", "", "é"])


@FUZZ
@given(options=st.dictionaries(KEYS, VALUES, max_size=6))
def test_any_value_of_any_option_is_loaded_or_refused(write, options):
    """Any TOML value under any option of a job is taken or refused with places."""
    text = "[rotate.x]\n" + "".join(f"{as_toml(key)} = {as_toml(value)}\n" for key, value in options.items())
    tomllib.loads(text)
    path = write(text)
    found, problems = attempt(path)
    assert (found is None) == bool(problems)
    assert lie_inside(problems, path)
    assert found is None or list(origins.show(found))


def as_toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(key)} = {as_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, float):
        return {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}.get(json.dumps(value), repr(value))
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08X}" for char in value) + '"'
    return json.dumps(value)
