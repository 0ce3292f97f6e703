"""`check.http` against a real server that misbehaves in every way that servers do."""

import os
import time

import pytest

from .conftest import seen
from .servers import certified, respond, server

BAD = {
    "drip": ("no answer within 500ms", "timedout"),
    "drip-head": ("no answer within 500ms", "timedout"),
    "hang": ("no answer within 500ms", "timedout"),
    "reset": ("", ""),
    "short": ("the answer broke off: 90 bytes of its body are missing", "mainterror"),
    "no-length": ("the answer is not HTTP: its Content-Length is -5", ""),
    "nowhere": ("it redirects to http://[oops:port/, which is no URL", ""),
    "loop": ("it redirects more than 5 times", ""),
    "500": ("status 500, not 2xx", ""),
    "garbage": ("the answer is not HTTP", ""),
}


def test_every_way_to_misbehave_is_down_with_its_reason(tree, web):
    """A server that drips, hangs, resets, breaks off, redirects for ever, fails or talks nonsense is down, in time.

    One that answers is up, also behind a redirect, and though it sends without end.
    """
    names = [*BAD, "ok", "moved", "endless"]
    begun = time.monotonic()
    found = seen(
        tree,
        "".join(f'[check.http.{n}]\nurl = "{web.url}/{n}"\ntimeout = "500ms"\n' for n in BAD)
        + "".join(f'[check.http.{n}]\nurl = "{web.url}/{n}"\n' for n in ("ok", "moved", "endless")),
    )
    assert time.monotonic() - begun < 20  # the drip alone would last for ever
    assert {name: found[f"check.http.{name}"]["health"] for name in names} == {
        name: "down" if name in BAD else "up" for name in names
    }
    for name, (reason, _) in BAD.items():
        assert reason in found[f"check.http.{name}"]["reason"]
    assert len(web.asked["/loop"]) == 6


def test_what_the_body_holds(tree, web):
    """Texts, regular expressions and comparisons with JSON are each told apart, with what was found instead."""
    options = {
        "well": "contains = ['\"status\"']\nmatches = 'o[kK]'\n"
        "terms = ['status == \"ok\"', 'workers[0].alive == true', 'depth < 8']",
        "text": 'contains = ["fine"]',
        "regex": 'matches = "^never$"',
        "value": "terms = ['depth < 7']",
        "path": "terms = ['queue.depth < 7']",
        "type": "terms = ['status < 7']",
        "status": 'status = [204, "3xx"]',
        "slow": 'degraded_time = "1us"',
        "slower": 'degraded_time = "1us"\ndown_time = "2us"',
    }
    found = seen(
        tree,
        "".join(f'[check.http.{name}]\nurl = "{web.url}/ok?token=secret"\n{text}\n' for name, text in options.items()),
    )
    said = {name: (found[f"check.http.{name}"]["health"], found[f"check.http.{name}"]["reason"]) for name in options}
    assert said["well"][0] == "up"
    assert said["text"] == ("down", 'the body does not hold "fine"')
    assert said["regex"] == ("down", "nothing in the body matches ^never$")
    assert said["value"] == ("down", "depth is 7, not < 7")
    assert said["path"] == ("down", "it has no queue.depth")
    assert said["type"] == ("down", 'status is "ok", which cannot be compared with 7')
    assert said["status"] == ("down", "status 200, not 204 or 3xx")
    assert said["slow"][0] == "degraded"
    assert said["slower"][0] == "down"
    assert "secret" not in str(found)


def test_a_password_comes_from_a_file_and_is_told_nobody(tree, web):
    """Basic authentication and a bearer token are sent as they stand in their files, and to no other server."""
    secret = tree.folder / "secret"
    secret.write_text("s3cret\n")
    with server() as other:
        web.answers["/away"] = lambda made, _: respond(made, 302, b"", f"Location: {other.url}/ok")
        found = seen(
            tree,
            f'[check.http.basic]\nurl = "{web.url}/basic"\nusername = "me"\npassword_file = "{secret}"\n'
            f'[check.http.token]\nurl = "{web.url}/token"\ntoken_file = "{secret}"\n'
            f'[check.http.away]\nurl = "{web.url}/away"\ntoken_file = "{secret}"\n',
        )
        assert b"Authorization: Basic bWU6czNjcmV0\r\n" in web.headers["/basic"]
        assert b"Authorization: Bearer s3cret\r\n" in web.headers["/token"]
        assert b"Authorization" not in other.headers["/ok"]
    assert "s3cret" not in str(found)


def test_a_secret_that_cannot_be_read_is_no_fault_of_the_server(tree, web):
    """Without its secret a check is unknown, says why, and asks nobody; also if a pipe that nobody writes is named."""
    os.mkfifo(tree.folder / "pipe")
    (tree.folder / "latin").write_bytes(b"t\xe9k\n")
    (tree.folder / "lines").write_text("token\nX-More: header\n")
    reasons = {
        "lines": "holds no token that can be sent",
        "missing": "No such file",
        "pipe": "no regular file",
        ".": "no regular file",
        "latin": "not UTF-8",
    }
    jobs = [f'[check.http.{n}]\nurl = "{web.url}/{n}"\ntoken_file = "HERE/{name}"\n' for n, name in enumerate(reasons)]
    found = seen(tree, "".join(jobs))
    for number, reason in enumerate(reasons.values()):
        told = found[f"check.http.{number}"]
        assert told["health"] == "unknown"
        assert reason in told["reason"]
    assert not web.asked


def test_where_a_redirect_leads_gets_no_secret(tree, web):
    """Another server gets neither a body nor a header that may be a secret, however it is written; the same one does.

    What answers a POST with 302 or 303 is asked with GET then. A place with a space or an umlaut in it is found.
    """
    secrets = 'headers = { authorization = "s3cret", X-Api-Key = "k3y", Cookie = "c00kie", accept = "text/*" }\n'
    with server() as other:
        web.answers |= {
            "/away": lambda made, _: respond(made, 307, b"", f"Location: {other.url}/away"),
            "/near": lambda made, _: respond(made, 307, b"", "Location: /near-there"),
            "/seen": lambda made, _: respond(made, 303, b"", "Location: /seen-there"),
            "/odd": lambda made, _: respond(made, 302, b"", "Location: /\u00fcber uns"),
        }
        post = f'method = "POST"\nbody = "p4ss€"\n{secrets}'
        found = seen(
            tree,
            f'[check.http.away]\nurl = "{web.url}/away"\n{post}[check.http.near]\nurl = "{web.url}/near"\n{post}'
            f'[check.http.seen]\nurl = "{web.url}/seen"\n{post}[check.http.odd]\nurl = "{web.url}/odd"\n'
            f'[check.http.plain]\nurl = "{web.url}/a b/\u00fc?q=a b"\n',
        )
        assert {event["health"] for event in found.values()} == {"up"}, found
        sent = other.headers["/away"]
        assert sent.startswith(b"POST ")
        assert b"accept: text/*\r\n" in sent
        assert not [word for word in (b"s3cret", b"k3y", b"c00kie", b"p4ss", b"Content-Length: 7") if word in sent]
    assert web.headers["/near-there"].startswith(b"POST ")
    assert b"s3cret" in web.headers["/near-there"]
    assert b"Content-Length: 7\r\n" in web.headers["/near-there"]
    assert web.headers["/seen-there"].startswith(b"GET ")
    assert b"k3y" in web.headers["/seen-there"]
    assert b"Content-Length" not in web.headers["/seen-there"]
    assert {"/%C3%BCber%20uns", "/a%20b/%C3%BC?q=a%20b"} <= web.headers.keys()


def test_what_a_redirect_names_is_told_without_its_query(tree, web):
    """Keys that stand in a query, or before the host, are told nowhere, wherever a redirect leads and ends."""
    secret = "k3y"
    leads = {
        "loop": f"/loop?key={secret}",
        "scheme": f"ftp://user:{secret}@host/file?key={secret}",
        "port": f"http://user:{secret}@[oops:port/?key={secret}#{secret}",
    }
    for name, place in leads.items():
        answer = lambda made, _, place=place: respond(made, 302, b"", f"Location: {place}")  # noqa: E731
        web.answers |= {f"/{name}": answer, f"/{name}?key={secret}": answer}
    jobs = "".join(f'[check.http.{name}]\nurl = "{web.url}/{name}?key={secret}"\n' for name in leads)
    found = seen(tree, jobs)
    assert {name: event["reason"] for name, event in found.items()} == {
        "check.http.loop": f"it redirects more than 5 times, at last to {web.url}/loop",
        "check.http.scheme": "it redirects to ftp://host/file, which is not HTTP",
        "check.http.port": "it redirects to http://[oops:port/, which is no URL",
    }
    assert secret not in str(found)


def test_an_answer_that_only_informs_is_not_the_answer(tree, web):
    """103 Early Hints, and any 1xx, as many as there are, come before the answer (RFC 9110, 15.2); 101 is one."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 5\r\n\r\n"
    web.answers |= {
        "/hints": lambda made, _: (
            made.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" + hints * 3),
            respond(made, 200, b"ok"),
        ),
        "/bad": lambda made, _: (made.sendall(hints), respond(made, 500, b"")),
        "/switched": lambda made, _: made.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    }
    found = seen(
        tree,
        f'[check.http.hints]\nurl = "{web.url}/hints"\ncontains = ["ok"]\n'
        f'[check.http.bad]\nurl = "{web.url}/bad"\n[check.http.switched]\nurl = "{web.url}/switched"\nstatus = [101]\n',
    )
    assert {name.rpartition(".")[2]: event["health"] for name, event in found.items()} == {
        "hints": "up",
        "bad": "down",
        "switched": "up",
    }
    assert found["check.http.bad"]["reason"] == "status 500, not 2xx"


@pytest.mark.parametrize(("days", "health"), [(60, "up"), (10, "degraded"), (1, "down"), (-1, "down")])
def test_the_end_of_a_certificate_is_seen_ahead(tree, tmp_path, days, health):
    """A certificate that ends soon is degraded, one that ends in a day or has ended is down; for check.tls likewise.

    Without the authorities that are to be gone by it cannot be told.
    """
    with server(certified(tmp_path, days)) as made:
        common = f'ca_file = "{tmp_path}/cert.pem"\n'
        found = seen(
            tree,
            f'[check.http.a]\nurl = "{made.url}/ok"\n{common}'
            f'[check.tls.a]\nhost = "127.0.0.1"\nport = {made.port}\n{common}'
            f'[check.http.unverified]\nurl = "{made.url}/ok"\nverify = false\n'
            f'[check.http.stranger]\nurl = "{made.url}/ok"\n'
            f'[check.http.blind]\nurl = "{made.url}/ok"\nca_file = "HERE/none"\n'
            f'[check.tls.blind]\nhost = "127.0.0.1"\nport = {made.port}\nca_file = "HERE/maintd.toml"\n'
            f'[check.tcp.blind]\ntls = true\nport = {made.port}\nca_file = "HERE/none"\n',
        )
    blind = [event["health"] for name, event in found.items() if name.endswith("blind")]
    assert blind == ["unknown"] * 3
    assert found["check.http.a"]["health"] == health
    assert found["check.tls.a"]["health"] == health
    assert found["check.http.unverified"]["health"] == "up"
    assert found["check.http.stranger"]["health"] == "down"
    if days < 0:
        assert "certificate has expired" in found["check.tls.a"]["reason"]


def test_options_that_cannot_be_meant_are_errors_with_their_place(tree):
    """A password in the URL, a term that is none, a status that is none: each is told by file and line, all at once."""
    tree.write_config(
        '[check.http.a]\nurl = "http://me:pw@localhost/"\nterms = ["status"]\nstatus = [99]\n'
        'fail_after = "5 of 3"\ndepends_on = ["check.tcp.none"]\n[check.tcp.b]\nhost = "x"\n'
        '[check.http.h]\nurl = "http://a/"\nheaders = { A = "b\\r\\nC: d" }\n'
        f'[check.tcp.e]\nsocket = "/{"s" * 107}"\n[check.http.f]\nurl = "http://a b/"\n[check.http.g]\nurl = "http://a:b/"\n'
        '[check.tcp.c]\nport = 1\ndepends_on = ["check.tcp.d"]\n[check.tcp.d]\nport = 1\ndepends_on = ["check.tcp.c"]\n'
    )
    done = tree.run("check")
    assert done.returncode == 1
    for text in (
        "check.http.a.url: a secret is not written here",
        "check.http.a.terms[0]: ",
        "check.http.a.status[0]: ",
        "check.http.a.fail_after: ",
        "check.tcp.b: give either port",
        "check.tcp.e.socket: ",
        "check.http.f.url: ",
        "check.http.g.url: ",
        "check.http.h.headers: ",
        "check.tcp.c.depends_on: leads back to this check itself",
    ):
        assert text in done.stderr
