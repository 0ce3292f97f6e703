"""Checks in the running daemon: side by side, on the edge, in order of dependence, over restarts."""

import os
import signal
import socket
import sqlite3
from collections.abc import Callable

import pytest

from tests.conftest import until
from tests.end_to_end.daemon import Daemon

from .servers import Server, certified, respond, server

FAST = 'every = "1s"\ntimeout = "900ms"\n'


def http(web: Server, name: str, more: str = FAST) -> str:
    return f'[check.http.{name}]\nurl = "{web.url}/{name}"\n{more}'


def said(one: Daemon) -> list[tuple[str, str]]:
    """The events of checks so far, each as (job, event)."""
    return [(event["job"], event["event"]) for event in one.events() if event["event"].startswith("check.")]


def asked(web: Server, name: str, more: int) -> None:
    """Waits until a path was asked for so many times more."""
    count = len(web.asked[f"/{name}"])
    until(lambda: len(web.asked[f"/{name}"]) >= count + more, f"{more} looks at {name}", 60)


def health(one: Daemon) -> dict[str, str]:
    return {check["name"]: check["health"] for check in one.status()["checks"]}


def is_up(web: Server, path: str) -> Callable[[bool], None]:
    """Has a path answer well, or fail."""

    def answer(well: bool) -> None:
        web.answers[path] = lambda made, _: respond(made, 200 if well else 500, b"")

    answer(True)
    return answer


def test_twelve_that_hang_hold_up_nobody(daemon, web):
    """While twelve servers hang, every other check goes on being looked at, and upkeep too; each of the twelve once."""
    hung = [f"hung{number}" for number in range(12)]
    for name in hung:
        web.answers[f"/{name}"] = web.answers["/hang"]
    others = [f"other{number}" for number in range(10)]
    jobs = "".join(http(web, name, 'every = "1s"\ntimeout = "5m"\n') for name in hung)
    jobs += "".join(http(web, name) for name in others)
    one = daemon(jobs + '[rotate.a]\npaths = ["LOGS/a/*.log"]\nmax_size = "1K"\n').start()
    for name in others:
        until(lambda name=name: len(web.asked[f"/{name}"]) >= 5, f"looks at {name}", 60)
    assert [len(web.asked[f"/{name}"]) for name in hung] == [1] * 12
    one.rotates("a/a.log")
    assert health(one) == {f"check.http.{name}": "unknown" for name in hung} | {
        f"check.http.{name}": "up" for name in others
    }
    assert one.stop() == 0


def test_one_blip_says_nothing_and_two_are_told_once(daemon, web):
    """One bad reading is no event. Two are `check.failed`, once, with since; two good ones are `check.recovered`."""
    answer = is_up(web, "/a")
    one = daemon(http(web, "a", FAST + 'severity = "critical"\n')).start()
    asked(web, "a", 2)
    web.answers["/a"] = lambda made, number: (answer(True), respond(made, 500, b"blip"))
    asked(web, "a", 4)
    assert said(one) == []
    answer(False)
    failed = one.event("check.failed")
    assert (failed["level"], failed["job"], failed["was"]) == ("critical", "check.http.a", "up")
    assert (failed["error_msg"], failed["target"]) == ("status 500, not 2xx", f"{web.url}/a")
    assert {"since", "run", "error", "advice"} <= failed.keys()
    status = one.tree.run("status")
    assert status.returncode == 3
    assert "1 down" in status.stdout
    asked(web, "a", 3)
    answer(True)
    recovered = one.event("check.recovered")
    assert recovered["was"] == "down"
    assert recovered["lasted_s"] > 1
    assert said(one) == [("check.http.a", "check.failed"), ("check.http.a", "check.recovered")]
    assert one.tree.run("status").returncode == 0


def test_up_and_down_and_up_is_flapping_and_told_once(daemon, web):
    """1-0-1-0 raises one event, check.flapping, and none more while it lasts; when it is steady, how it ended."""
    web.answers["/a"] = lambda made, number: respond(made, 200 if number % 2 else 500, b"")
    one = daemon(http(web, "a")).start()
    one.event("check.flapping")
    asked(web, "a", 5)
    assert said(one) == [("check.http.a", "check.flapping")]
    (told,) = one.status()["checks"]
    assert (told["health"], told["flapping"]) == ("degraded", True)
    is_up(web, "/a")
    one.event("check.recovered", was="flapping")
    assert said(one) == [("check.http.a", "check.flapping"), ("check.http.a", "check.recovered")]


def test_what_depends_on_a_failing_check_is_unknown_and_quiet(daemon, web):
    """If the database and all that needs it fail at once, the database alone is told, though looked at last.

    They are unknown meanwhile, and up without a word when it is back.
    """
    answers = [is_up(web, f"/{name}") for name in ("db", "api", "page")]
    slow = 'every = "3s"\ntimeout = "900ms"\n'
    one = daemon(
        http(web, "page", FAST + 'depends_on = ["check.http.api"]\n')
        + http(web, "api", FAST + 'depends_on = ["check.http.db"]\n')
        + http(web, "db", slow)
    ).start()
    until(lambda: set(health(one).values()) == {"up"}, "all are up", 30)
    for answer in answers:
        answer(False)
    one.event("check.failed")
    until(lambda: health(one)["check.http.page"] == "unknown", "what depends on it is unknown", 30)
    asked(web, "page", 4)
    assert health(one) == {"check.http.db": "down", "check.http.api": "unknown", "check.http.page": "unknown"}
    (page,) = [check for check in one.status()["checks"] if check["name"] == "check.http.page"]
    assert page["reason"] == "check.http.db is down"
    for answer in answers:
        answer(True)
    one.event("check.recovered")
    until(lambda: set(health(one).values()) == {"up"}, "all are up again", 30)
    assert said(one) == [("check.http.db", "check.failed"), ("check.http.db", "check.recovered")]


def test_a_cause_that_is_well_again_or_paused_hides_nothing(daemon, web):
    """What hides others is looked at as often as they are, though its own interval is an hour; not while it is paused.

    So what fails for a reason of its own is told soon after the cause was repaired, and while the cause is paused.
    """
    db, api = is_up(web, "/db"), is_up(web, "/api")
    db(False)
    hourly = 'every = "1h"\ntimeout = "900ms"\nfail_after = 1\n'
    one = daemon(http(web, "db", hourly) + http(web, "api", FAST + 'depends_on = ["check.http.db"]\n')).start()
    one.event("check.failed", job="check.http.db")
    db(True)
    one.event("check.recovered", job="check.http.db")
    api(False)
    one.event("check.failed", job="check.http.api")
    api(True)
    one.event("check.recovered", job="check.http.api")
    db(False)
    assert one.tree.run("do", "check.http.db").returncode == 1
    one.event("check.failed", job="check.http.db", count=2)
    until(lambda: health(one)["check.http.api"] == "unknown", "what depends on it is unknown", 30)
    assert one.tree.run("pause", "check.http.db").returncode == 0
    until(lambda: health(one)["check.http.api"] == "up", "a paused check hides nothing", 30)
    api(False)
    one.event("check.failed", job="check.http.api", count=2)
    assert health(one)["check.http.db"] == "down"


def test_many_ways_from_one_check_to_another_are_gone_once(daemon, web):
    """Of 24 layers of two checks, each on both below it (16 million ways), the lowest hides all, and that soon."""
    down, layers = is_up(web, "/0a"), range(24)
    down(False)
    needs = {n: [f"check.http.{n - 1}{way}" for way in "ab"] if n else [] for n in layers}
    jobs = [
        http(web, f"{n}{way}", f"{FAST}depends_on = {needs[n]}\n".replace("'", '"')) for n in layers for way in "ab"
    ]
    one = daemon("".join(jobs)).start()
    one.event("check.failed", job="check.http.0a")
    asked(web, "23b", 3)
    assert health(one) == {f"check.http.{n}{way}": "unknown" for n in layers for way in "ab"} | {
        "check.http.0a": "down",
        "check.http.0b": "up",
    }
    assert one.stop() == 0


def test_a_repaired_database_is_up_before_it_would_be_read_through_again(daemon):
    """Damage is over once the file is repaired, exchanged, or another one is named, however rare `quick_check_every`.

    A person who asks has it read through at once, also what was found whole.
    """
    one = daemon("")
    good, broken = (one.tree.folder / name for name in ("good.sqlite", "broken.sqlite"))
    database = sqlite3.connect(good)
    database.execute("CREATE TABLE price (at, value)")
    database.executemany("INSERT INTO price VALUES (?, ?)", [(n, "x" * 200) for n in range(500)])
    database.execute("CREATE INDEX by_time ON price (at)")
    database.commit()
    database.close()
    whole = good.read_bytes()
    bad = bytearray(whole)
    bad[4096 * 5 + 8 : 4096 * 5 + 200] = b"\xff" * 192
    broken.write_bytes(bad)
    options = 'query = "SELECT 1"\nquick_check_every = "1h"\nevery = "1s"\ntimeout = "30s"\n'
    job = f'[check.sqlite.a]\npath = "{broken}"\n{options}'
    one.tree.write_config(job)
    one.start()
    assert "quick_check says" in one.event("check.failed")["error_msg"]
    broken.write_bytes(whole)
    one.event("check.recovered")
    broken.write_bytes(bad)
    assert one.tree.run("do", "check.sqlite.a").returncode == 1
    one.event("check.failed", count=2)
    (one.tree.folder / "new").write_bytes(whole)
    (one.tree.folder / "new").rename(broken)
    one.event("check.recovered", count=2)
    good.write_bytes(bad)
    one.tree.write_config(job.replace(str(broken), str(good)))
    one.hang_up()
    one.event("check.failed", count=3)


def test_authorities_that_are_renewed_count_at_once(daemon, tmp_path):
    """A certificate that is renewed together with the file of its authority is trusted by the running daemon."""
    contexts, authority = [], tmp_path / "authority.pem"
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        contexts.append(certified(tmp_path / name, 60))
    authority.write_bytes((tmp_path / "old/cert.pem").read_bytes())
    with server(contexts[0]) as web:
        one = daemon(http(web, "a", FAST + f'ca_file = "{authority}"\n')).start()
        until(lambda: health(one)["check.http.a"] == "up", "it is up", 30)
        web.secure(contexts[1])
        assert "certificate" in one.event("check.failed")["error_msg"]
        authority.write_bytes((tmp_path / "new/cert.pem").read_bytes())
        one.event("check.recovered")


def test_how_it_stands_survives_a_kill(daemon, web):
    """After kill -9 and a start a check that was down is down since then, is not told again, and its recovery is."""
    answer = is_up(web, "/a")
    answer(False)
    one = daemon(http(web, "a")).start()
    one.event("check.failed")
    (before,) = one.status()["checks"]
    one.process.send_signal(signal.SIGKILL)
    one.process.communicate()
    one.start()
    asked(web, "a", 3)
    (after,) = one.status()["checks"]
    assert (after["health"], after["since"]) == ("down", before["since"])
    assert said(one) == [("check.http.a", "check.failed")]
    answer(True)
    one.event("check.recovered")


def test_bad_readings_in_the_grace_do_not_count(daemon, web):
    """For as long as `grace` says after the start, nothing is told of what is not up yet; good readings count.

    What depends on it waits for it, and `maintd status` says so; when it is up, that is told.
    """
    answer, other = is_up(web, "/a"), is_up(web, "/b")
    answer(False), other(False)
    needing = http(web, "b", FAST + 'depends_on = ["check.http.a"]\n')
    one = daemon(http(web, "a", FAST + 'grace = "1h"\n') + needing).start()
    asked(web, "a", 4)
    waits = "it would be down (status 500, not 2xx), but for check.http.a, which may be the cause"
    until(lambda: waits in {check["reason"] for check in one.status()["checks"]}, "it waits")
    assert said(one) == []
    assert health(one) == {"check.http.a": "unknown", "check.http.b": "unknown"}
    answer(True)
    one.event("check.failed", job="check.http.b")
    assert health(one)["check.http.a"] == "up"


def test_a_pause_holds_a_check_and_a_reload_forgets_one(daemon, web):
    """A paused check is not looked at, as status says. One that a reload takes out is not in it any more."""
    is_up(web, "/a")(False)
    one = daemon(http(web, "a") + http(web, "b") + http(web, "c")).start()
    one.event("check.failed")
    assert one.tree.run("pause", "check.http.b").returncode == 0
    count = len(web.asked["/b"])
    asked(web, "c", 3)
    assert len(web.asked["/b"]) <= count + 1
    assert "not looked at until maintd resume" in " ".join(one.tree.run("status").stdout.split())
    one.tree.write_config(http(web, "b") + http(web, "c"))
    assert one.tree.run("reload").returncode == 0
    assert health(one).keys() == {"check.http.b", "check.http.c"}
    assert one.tree.run("status").returncode == 0


def test_a_person_is_answered_also_while_all_lanes_are_busy(daemon, web):
    """`maintd do` of a check is done by the daemon beside the lanes, says what it sees, and fails if that is down."""
    is_up(web, "/a")(False)
    one = daemon(http(web, "a", 'every = "1h"\n') + http(web, "b", 'every = "1h"\n')).start()
    did = one.tree.do("check.http.b")
    assert did.code == 0
    assert did.event("check.seen")["health"] == "up"
    did = one.tree.do("check.http.a")
    assert did.code == 1
    assert did.event("check.seen")["reason"] == "status 500, not 2xx"


def test_status_says_which_checks_wait_for_a_place(daemon):
    """When as many programs hang as may be asked at a time, `status` says of the one that is left what it waits for."""
    jobs = "".join(
        f'[check.program.p{number}]\ncommand = ["/bin/sleep", "300"]\nevery = "1s"\ntimeout = "5m"\n'
        for number in range(17)
    )
    one = daemon(jobs).start()
    until(lambda: [check["name"] for check in one.status()["checks"] if check["waits_for"]], "one has to wait")
    until(
        lambda: "not looked at yet; waits for one of 16 places with a child" in one.tree.run("status").stdout,
        "it is said",
    )
    assert one.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a name server of its own")
def test_a_resolver_that_hangs_holds_up_names_alone(daemon, web):
    """While 70 checks wait for names that nobody resolves, those of an address and of this machine go on."""
    jobs = "".join(
        f'[check.tcp.t{number}]\nhost = "t{number}.example"\nport = 1\nevery = "1s"\ntimeout = "5m"\n'
        for number in range(70)
    )
    local = http(web, "local").replace("127.0.0.1", "localhost")
    one = daemon(jobs + http(web, "other") + local)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.53.1", 53))
        config = one.tree.folder / "resolv.conf"
        config.write_text("nameserver 127.0.53.1\noptions timeout:30\n")
        own = f'mount --bind {config} /etc/resolv.conf && exec "$@"'
        one.start(under=["unshare", "--mount", "sh", "-c", own, "sh"])
        place = "one of 48 places by name"
        until(lambda: place in [check["waits_for"] for check in one.status()["checks"]], "some have to wait", 60)
        asked(web, "other", 3)
        asked(web, "local", 3)
        assert one.stop() == 0


def test_an_expression_that_backtracks_stops_nobody(daemon, web):
    """Expressions that take for ever on what a server sends, or a log holds, end with their look, and are told so.

    The other checks, `status` and SIGTERM go on meanwhile.
    """
    web.answers["/page"] = lambda made, _: respond(made, 200, b" " * 300_000 + b"x")
    web.answers["/a"] = lambda made, _: respond(made, 200, b"a" * 36)
    one = daemon(
        http(web, "page", FAST + "matches = '\\s+$'\n")
        + f'[check.tcp.t]\nport = {web.port}\nsend = "GET /a HTTP/1.1\\r\\n\\r\\n"\n'
        + f"expect = '(a|a)+$\\d'\n{FAST}"
        + f"[check.log.l]\npaths = [\"LOGS/a.log\"]\nmatches = '^(\\S+\\s*)+: ERROR'\ndegraded_count = 1\n{FAST}"
        + http(web, "other")
        + http(web, "well", FAST + "matches = '(ok|well)+'\n")
    )
    log = one.tree.log("a.log", b"")
    one.start()
    until(lambda: health(one)["check.log.l"] == "up", "the log is read", 30)
    with log.open("ab") as file:
        file.write(b"GET /a/very/long/path/of/a/request/that/nobody/expected/to/be/so/long status=200\n")
    for job in ("check.http.page", "check.tcp.t", "check.log.l"):
        assert "the regular expression was not done within 900ms" in one.event("check.failed", job=job)["error_msg"]
    asked(web, "other", 3)
    assert health(one)["check.http.well"] == "up"
    assert one.stop() == 0
