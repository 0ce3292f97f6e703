"""The kind `archive` into object stores: real servers on loopback, and each way in which one can fail."""

import contextlib
import gzip
import http.server
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from maintd import inventory
from maintd.actions.upload import UploadManifest
from maintd.steps import Action

from .conftest import environment, until
from .test_archive import DAY, heard_of
from .tree import Did, Tree

ROOT = Path(__file__).parents[1]
MAINTD = ROOT / ".venv-extras/bin/maintd"
KEYS = {"AWS_ACCESS_KEY_ID": "key-of-the-test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-test"}

pytestmark = pytest.mark.skipif(not MAINTD.exists(), reason="the environment with the extras is not there (make setup)")


class Server:
    """A program that listens on a port of loopback; it is ended by its pid."""

    def __init__(self, *argv: str | Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._argv = [str(part).replace("PORT", str(self.port)) for part in argv]
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(self._argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, f"{self._argv[0]} to listen", 60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"{self._argv} has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def moto() -> Iterator[Server]:
    server = Server(ROOT / ".venv-dev/bin/moto_server", "-H", "127.0.0.1", "-p", "PORT")
    yield server
    server.kill()


def rclone(folder: Path) -> Server:
    key = f"{KEYS['AWS_ACCESS_KEY_ID']},{KEYS['AWS_SECRET_ACCESS_KEY']}"
    argv = ("serve", "s3", "--addr", "127.0.0.1:PORT", "--auth-key", key, "--no-modtime", folder)
    return Server(ROOT / ".venv-dev/bin/rclone", *argv)


@pytest.fixture
def bucket(moto: Server, request: pytest.FixtureRequest) -> str:
    name = f"b{abs(hash(request.node.name))}"
    asked(f"{moto.url}/{name}", "PUT", b"")
    return name


def asked(url: str, method: str = "GET", data: bytes | None = None) -> bytes:
    """What moto answers to somebody whose key it does not look at."""
    signed = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=s"
    request = urllib.request.Request(
        url, method=method, data=data, headers={"Authorization": signed, "Content-Type": "x/y"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def objects(server: Server, bucket: str) -> dict[str, bytes]:
    """What moto holds."""
    text = asked(f"{server.url}/{bucket}?list-type=2").decode()
    keys = [part.partition("</Key>")[0] for part in text.split("<Key>")[1:]]
    return {key: asked(f"{server.url}/{bucket}/{urllib.request.quote(key)}") for key in keys}


def configure(tree: Tree, url: str, to: str, options: str = 'timeout = "20s"', more: str = "") -> None:
    tree.write_config(
        f'[archive.old]\npaths = ["LOGS/**/*.csv"]\nto = "{to}"\nolder_than = "30d"\ncron = "@daily"\n{more}'
        f'[archive.old.s3]\nendpoint = "{url}"\n{options}\n'
    )


def run(tree: Tree, *arguments: str, env: dict[str, str] = KEYS) -> "subprocess.CompletedProcess[str]":
    line = [MAINTD, "-c", tree.config, *arguments]
    return subprocess.run(
        line, check=False, capture_output=True, text=True, timeout=100, env=environment(**env), cwd="/"
    )


def do(tree: Tree, env: dict[str, str] = KEYS) -> Did:
    done = run(tree, "do", "--all", "--json", env=env)
    assert "Traceback" not in done.stderr, done.stderr
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in done.stdout + done.stderr
    return Did(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


def failures(did: Did) -> list[dict[str, Any]]:
    return [event for event in did.events() if event["event"].endswith(".failed")]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path)
    made.log("2026/a.csv", b"a price\n" * 1000, age=40 * DAY).chmod(0o640)
    made.log("b.csv", b"another\n", age=50 * DAY)
    return made


def refused(tree: Tree, env: dict[str, str] = KEYS) -> dict[str, Any]:
    """The one failure of a run that takes nothing away."""
    before = tree.contents()
    did = do(tree, env)
    assert did.code in (1, 5)
    (event,) = failures(did)
    assert event["event"] == "archive.failed"
    assert tree.contents() == before
    return event


def test_files_are_stored_verified_listed_and_brought_back(tree, moto, bucket):
    """What is old goes to the store with its manifest, and list, verify and get read it from there alone."""
    configure(tree, moto.url, f"s3://{bucket}/some/prefix")
    planned = [
        step["detail"]
        for step in map(json.loads, run(tree, "plan", "--json").stdout.splitlines())
        if step["verb"] == "archive"
    ]
    did = do(tree)
    assert (did.code, tree.names()) == (0, []), str(did)
    assert sorted(event["archived_to"] for event in did.events("file.archived")) == sorted(planned)
    assert objects(moto, bucket).keys() == {
        "some/prefix/2026/a.csv.zst",
        "some/prefix/b.csv.zst",
        "some/prefix/maintd-manifest.jsonl",
    }
    assert {event["event"] for event in do(tree).events()} == {"paths.missed"}
    listed = [json.loads(line) for line in run(tree, "archive", "list", "--json").stdout.splitlines()]
    assert {Path(entry["original"]).name: entry["size"] for entry in listed} == {"a.csv": 8000, "b.csv": 8}
    assert run(tree, "archive", "verify").returncode == 0
    assert run(tree, "archive", "get", "a.csv", "--to", str(tree.folder / "back")).returncode == 0
    back = tree.folder / "back/2026/a.csv"
    assert (back.read_bytes(), back.stat().st_mode & 0o777) == (b"a price\n" * 1000, 0o640)


def test_a_new_machine_goes_on_with_the_manifest_of_the_store(tree, moto, bucket):
    """Without its own copy of the manifest maintd fetches the store's first, and loses no line of it."""
    configure(tree, moto.url, f"s3://{bucket}")
    do(tree)
    subprocess.run(["rm", "-r", tree.folder / "state"], check=True)
    tree.log("c.csv", age=40 * DAY)
    assert do(tree).code == 0
    lines = objects(moto, bucket)["maintd-manifest.jsonl"].splitlines()
    assert sorted(json.loads(line)["name"] for line in lines) == ["2026/a.csv.zst", "b.csv.zst", "c.csv.zst"]


def test_names_of_any_bytes_can_be_stored(tree, moto, bucket):
    """Names with every byte but / and NUL have a key of their own, and come back as they were; also numbered ones."""
    configure(tree, moto.url, f"s3://{bucket}")
    every = [b"x" + bytes([byte]) + b".csv" for byte in (1, 10, 32, 35, 37, 42, 63, 92, 126, 127, 195, 255)]
    for name in every:
        tree.log(os.fsdecode(name), name, age=40 * DAY)
    did = do(tree)
    assert (did.code, tree.names()) == (0, []), failures(did)
    assert run(tree, "archive", "verify").returncode == 0
    folder = "sub\\dir"
    for number, content in enumerate((b"before", b"after"), 1):
        tree.log(f"{folder}/again\xe9.csv", content, age=(40 + number) * DAY)
        assert do(tree).code == 0
    back = tree.folder / "back"
    assert run(tree, "archive", "get", "*", "--to", str(back)).returncode == 0
    assert {name for name in os.listdir(os.fsencode(back)) if name.startswith(b"x")} == set(every)
    assert sorted(os.listdir(back / folder)) == ["again\xe9.csv", "again\xe9.csv-1"]


def test_a_large_file_goes_in_parts(tree, moto, bucket):
    """A file larger than a part is uploaded in several, and is whole."""
    configure(tree, moto.url, f"s3://{bucket}", more='compress = "none"\n')
    data = os.urandom(9 << 20)
    tree.log("large.csv", data, age=40 * DAY)
    assert do(tree).code == 0
    assert objects(moto, bucket)["large.csv"] == data


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize(("more", "target"), [("", "large.csv"), ('bundle = "month"\n', ".tar.zst")])
def test_what_takes_long_on_a_slow_link_says_that_it_goes_on(tree, moto, bucket, more, target):
    """Hashing, the upload and reading it back are heard of too, so that no silence ends them."""
    configure(tree, moto.url, f"s3://{bucket}", more=more)
    size = 20 << 20
    tree.log("large.csv", os.urandom(size), age=70 * DAY)
    told = heard_of(tree, target)
    times = sum(before >= size > after for before, after in itertools.pairwise([*told, 0]))
    assert times >= 4, f"made ready, hashed, uploaded, read back: {told}"
    assert max(after - before for before, after in itertools.pairwise(told)) < 16 << 20, f"part by part: {told}"


@pytest.mark.usefixtures("keyed")
def test_a_manifest_that_takes_long_says_that_it_goes_on(tree, moto, bucket):
    """It is one request, whatever its size, and heard of while the store has not taken it yet."""
    is_heard = threading.Event()

    def hold(data: bytes) -> str:
        is_manifest = data.startswith(b"PUT") and inventory.NAME.encode() in data.partition(b"\r\n")[0]
        return "" if not is_manifest or is_heard.wait(15) else "cut"

    def hear(action: Action) -> None:
        if isinstance(action, UploadManifest):
            is_heard.set()

    with proxied(moto, hold) as url:
        configure(tree, url, f"s3://{bucket}")
        heard_of(tree, bucket, hear)
    assert inventory.NAME in objects(moto, bucket)


def test_an_object_of_an_interrupted_run_is_compared_and_taken(tree, moto, bucket):
    """An object that is there already counts if it holds the same; otherwise nothing is overwritten or removed."""
    configure(tree, moto.url, f"s3://{bucket}", more='compress = "none"\n')
    for key, content in (("b.csv", b"another\n"), ("2026/a.csv", b"something else")):
        asked(f"{moto.url}/{bucket}/{key}", "PUT", content)
    did = do(tree)
    (event,) = failures(did)
    assert (event["error"], tree.names()) == ("EEXIST", ["2026/a.csv"])
    assert objects(moto, bucket)["2026/a.csv"] == b"something else"


def test_a_bucket_that_is_not_there_is_said_once(tree, moto):
    """One event names the bucket; every file stays, and goes as soon as there is one."""
    configure(tree, moto.url, "s3://no-such-bucket-here/prefix")
    assert "no-such-bucket-here" in refused(tree)["error_msg"]


def test_a_key_that_is_wrong_is_said_once(tree, tmp_path):
    """A store that refuses the key takes nothing; with the right one the next run does it."""
    (tmp_path / "store/bucket").mkdir(parents=True)
    server = rclone(tmp_path / "store")
    try:
        configure(tree, server.url, "s3://bucket/p")
        event = refused(tree, KEYS | {"AWS_SECRET_ACCESS_KEY": "wrong"})
        assert "refuses the key" in event["error_msg"]
        assert do(tree).code == 0
        assert tree.names() == []
        assert run(tree, "archive", "verify").returncode == 0
    finally:
        server.kill()


class Skewed(http.server.BaseHTTPRequestHandler):
    """A store to which a request comes from another time."""

    def answer(self) -> None:
        said = b"<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_HEAD = do_PUT = answer  # noqa: N815 - what http.server calls

    def log_message(self, *_: Any) -> None:
        pass


def test_a_clock_that_is_wrong_is_told_as_that(tree):
    """Where a store refuses requests because of their time, it is the clock that is named, and not the key."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Skewed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        configure(tree, f"http://127.0.0.1:{server.server_port}", "s3://bucket/p")
        event = refused(tree)
        server.shutdown()
    assert "the clock here" in event["error_msg"]
    assert "timedatectl" in event["advice"]


def test_a_key_file_that_is_no_text_is_said_without_what_it_holds(tree, moto, bucket):
    """It is one event that names the file, and no traceback."""
    secret = tree.folder / "secret"
    secret.write_bytes(b"\xff\xfehidden")
    configure(tree, moto.url, f"s3://{bucket}", f'secret_access_key_file = "{secret}"')
    event = refused(tree)
    assert event["error_msg"] == f"{secret} holds no text"
    assert "hidden" not in json.dumps(event)


def test_keys_come_from_files_or_the_environment_alone(tree, moto, bucket):
    """Without a key one event says which variable is missing; a file that is named is read; no key is ever printed."""
    configure(tree, moto.url, f"s3://{bucket}")
    assert "AWS_ACCESS_KEY_ID is not set" in refused(tree, {})["error_msg"]
    files = {"access_key_id_file": "AWS_ACCESS_KEY_ID", "secret_access_key_file": "AWS_SECRET_ACCESS_KEY"}
    lines = []
    for option, name in files.items():
        (tree.folder / option).write_text(KEYS[name] + "\n")
        lines.append(f'{option} = "{tree.folder}/{option}"\n')
    configure(tree, moto.url, f"s3://{bucket}", "".join(lines))
    assert do(tree, {}).code == 0
    assert run(tree, "check").stderr.count("others may read") == 2
    for option in files:
        (tree.folder / option).chmod(0o600)
    assert "others may read" not in run(tree, "check").stderr
    (tree.folder / "access_key_id_file").unlink()
    checked = run(tree, "check")
    assert "access_key_id_file cannot be read: No such file or directory" in checked.stdout + checked.stderr
    configure(tree, f"http://me:pass@127.0.0.1:{moto.port}", f"s3://{bucket}")
    checked = run(tree, "check")
    assert checked.returncode == 1
    assert "a secret is not written here" in checked.stdout + checked.stderr


class Proxy:
    """Between maintd and a store: `meddle` gets each request's head, and may say to stall, cut, or kill."""

    def __init__(self, port: int, meddle: Callable[[bytes], str]) -> None:
        self._port, self._meddle = port, meddle
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self._port)) as server:
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            while data := client.recv(65536):
                match self._meddle(data):
                    case "stall":
                        self._over.wait(60)
                        return
                    case "cut":
                        return
                server.sendall(data)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)


def is_upload(data: bytes) -> bool:
    """Whether this begins the PUT of an object, and not of what finds out about the store, or reserves a name."""
    head = data.partition(b"\r\n\r\n")[0].lower()
    is_small = re.search(rb"content-length: \d\d?\r\n", head + b"\r\n")
    return head.startswith(b"put") and b"maintd-probe" not in head and not (b".tar.zst" in head and is_small)


@contextlib.contextmanager
def proxied(server: Server, meddle: Callable[[bytes], str]) -> Iterator[str]:
    proxy = Proxy(server.port, meddle)
    try:
        yield proxy.url
    finally:
        proxy.close()


def test_a_server_that_does_not_answer_ends_within_its_timeout(tree, moto, bucket):
    """A store that stalls is given up after s3.timeout; nothing is removed, and the next run does it."""
    for number in range(20):
        tree.log(f"{number}.csv", age=40 * DAY)
    with proxied(moto, lambda data: "stall" if is_upload(data) else "") as url:
        configure(tree, url, f"s3://{bucket}", 'timeout = "1s"')
        begun = time.monotonic()
        did = do(tree)
        assert time.monotonic() - begun < 60
    assert [event["event"] for event in failures(did)] == ["archive.failed"] * 2, "and not one for each file"
    assert {event["reason"].rpartition("left to ")[2] for event in did.events("action.omitted")} == {
        "a later run, after others have failed there"
    }
    assert len(did.events("action.omitted")) <= 2, "one for each verb"
    assert len(tree.names()) == 22
    configure(tree, moto.url, f"s3://{bucket}")
    assert do(tree).code == 0
    assert tree.names() == []


def test_a_server_that_is_killed_during_an_upload_loses_nothing(tree, tmp_path):
    """Killed in the middle of a PUT, the store has nothing or a part; the file stays, and is stored by the next run."""
    (tmp_path / "store/bucket").mkdir(parents=True)
    server = rclone(tmp_path / "store")
    data = os.urandom(3 << 20)
    tree.log("large.csv", data, age=40 * DAY)

    def kill(_: bytes) -> str:
        seen["bytes"] += len(_)
        if seen["bytes"] > 1 << 20 and server.process.poll() is None:
            server.process.send_signal(signal.SIGKILL)
        return ""

    seen = {"bytes": 0}
    try:
        with proxied(server, kill) as url:
            configure(tree, url, "s3://bucket", 'timeout = "2s"', 'compress = "none"\n')
            did = do(tree)
        assert server.process.poll() is not None, "it was not killed"
        assert failures(did)
        assert "large.csv" in tree.names()
        server.kill()
        server.start()
        configure(tree, server.url, "s3://bucket", more='compress = "none"\n')
        did = do(tree)
        assert (did.code, tree.names()) == (0, []), failures(did)
        assert (tmp_path / "store/bucket/large.csv").read_bytes() == data
    finally:
        server.kill()


def test_maintd_killed_during_an_upload_begins_it_anew(tree, moto, bucket):
    """kill -9 in the middle of a PUT leaves the file where it is, and the next run stores it."""
    reached = threading.Event()

    def stall(data: bytes) -> str:
        if is_upload(data):
            reached.set()
            return "stall"
        return ""

    with proxied(moto, stall) as url:
        configure(tree, url, f"s3://{bucket}", 'timeout = "60s"')
        line = [MAINTD, "-c", tree.config, "do", "--all"]
        process = subprocess.Popen(line, env=environment(**KEYS), stdout=subprocess.DEVNULL, cwd="/")
        assert reached.wait(60)
        process.kill()
        process.wait()
    assert tree.names() == ["2026/a.csv", "b.csv"]
    configure(tree, moto.url, f"s3://{bucket}")
    did = do(tree)
    assert (did.code, tree.names()) == (0, []), failures(did)


def test_an_object_that_comes_back_cut_off_is_no_archive(tree, tmp_path):
    """A store that keeps less than it was given is found out when the object is read back; the file stays."""
    (tmp_path / "store/bucket").mkdir(parents=True)
    server = rclone(tmp_path / "store")

    def meddle(data: bytes) -> str:  # before an object is read back it has lost its end
        if data.startswith((b"GET ", b"HEAD ")):
            for path in (tmp_path / "store/bucket").rglob("*.zst"):
                os.truncate(path, min(path.stat().st_size, 20))
        return ""

    tree.log("2026/a.csv", os.urandom(500_000), age=40 * DAY)
    try:
        with proxied(server, meddle) as url:
            configure(tree, url, "s3://bucket", 'timeout = "5s"')
            did = do(tree)
        assert len(failures(did)) == 2
        assert tree.names() == ["2026/a.csv", "b.csv"]
    finally:
        server.kill()


def test_without_the_extra_the_error_names_it(tree, moto, bucket):
    """The plain installation says which extra is missing, once, and touches nothing."""
    configure(tree, moto.url, f"s3://{bucket}")
    did = tree.do()
    (event,) = failures(did)
    assert "extra s3" in event["error_msg"]
    assert "maintd[s3]" in event["advice"]
    assert tree.names() == ["2026/a.csv", "b.csv"]


def dated(tree: Tree, url: str, bucket: str, options: str = 'timeout = "20s"') -> None:
    """Files of one day, to be bundled."""
    configure(tree, url, f"s3://{bucket}/p", options, 'bundle = "day"\n')
    for number in range(3):
        tree.log(f"{number}-2026-02-03.csv", b"price %d\n" % number)


def test_a_bundle_goes_to_the_store_and_is_read_from_there(tree, moto, bucket):
    """Files of a day are one object; list, verify and get read single files of it."""
    dated(tree, moto.url, bucket)
    did = do(tree)
    assert (did.code, tree.names()) == (0, []), failures(did)
    keys = objects(moto, bucket).keys()
    assert {key for key in keys if "2026-02-03" in key} == {"p/2026-02-03.tar.zst"}
    assert run(tree, "archive", "verify").returncode == 0
    assert run(tree, "archive", "get", "1-2026-02-03.csv", "--to", str(tree.folder / "back")).returncode == 0
    assert (tree.folder / "back/1-2026-02-03.csv").read_bytes() == b"price 1\n"


def test_a_bundle_is_fetched_once_for_all_of_its_files(tree, moto, bucket):
    """verify and get of many files ask the store for their bundle as often as it has parts, and not for each file."""
    for number in range(30):
        tree.log(f"{number}-2026-03-01.csv", os.urandom(400_000))
    dated(tree, moto.url, bucket)
    assert do(tree).code == 0
    fetched: list[bytes] = []

    def note(data: bytes) -> str:
        if data.startswith(b"GET") and b".tar.zst" in data.partition(b"\r\n")[0]:
            fetched.append(data)
        return ""

    with proxied(moto, note) as url:
        dated(tree, url, bucket)
        assert run(tree, "archive", "verify").returncode == 0
        assert len(fetched) <= 12, "two parts, each with a look at the size, hashed and unpacked; and a small bundle"
        fetched.clear()
        back = tree.folder / "back"
        assert run(tree, "archive", "get", "*-2026-03-01.csv", "--to", str(back)).returncode == 0
        assert len(list(back.glob("*.csv"))) == 30
        assert len(fetched) <= 4


def test_a_bundle_whose_upload_is_cut_off_is_made_anew(tree, moto, bucket):
    """Killed in the middle of its PUT, or with the store gone, a bundle counts for nothing: the next run makes it."""
    reached = threading.Event()

    def stall(data: bytes) -> str:
        if is_upload(data):
            reached.set()
            return "stall"
        return ""

    with proxied(moto, stall) as url:
        dated(tree, url, bucket, 'timeout = "60s"')
        before = tree.contents()
        line = [MAINTD, "-c", tree.config, "do", "--all"]
        process = subprocess.Popen(line, env=environment(**KEYS), stdout=subprocess.DEVNULL, cwd="/")
        assert reached.wait(60)
        process.kill()
        process.wait()
    with proxied(moto, lambda data: "cut" if is_upload(data) else "") as url:
        dated(tree, url, bucket, 'timeout = "1s"')
        assert failures(do(tree))
    assert tree.contents() == before
    dated(tree, moto.url, bucket)
    did = do(tree)
    assert (did.code, tree.names()) == (0, []), failures(did)
    assert run(tree, "archive", "verify").returncode == 0


def test_a_bundle_that_cannot_be_read_back_is_compared_by_the_next_run(tree, moto, bucket):
    """Stored, and not given back: its files stay, and the next run finds it there, compares, and is done."""
    is_deaf = threading.Event()

    def meddle(data: bytes) -> str:
        return "cut" if is_deaf.is_set() and re.match(rb"GET \S*\.tar\.zst", data) else ""

    with proxied(moto, meddle) as url:
        dated(tree, url, bucket, 'timeout = "1s"')
        before = tree.contents()
        is_deaf.set()
        assert failures(do(tree))
        assert tree.contents() == before
        assert [name for name in objects(moto, bucket) if name.endswith(".tar.zst")]
        is_deaf.clear()
        did = do(tree)
        assert (did.code, tree.names()) == (0, []), failures(did)
        assert run(tree, "archive", "verify").returncode == 0


def test_a_bundle_that_was_stored_before_a_kill_is_compared_and_taken(tree, moto, bucket):
    """With the object stored and its files still here, the next run reads it, and removes what is in it."""
    dated(tree, moto.url, bucket)
    assert do(tree).code == 0
    for number in range(3):
        entry = next(
            json.loads(line)
            for line in run(tree, "archive", "list", "--json").stdout.splitlines()
            if json.loads(line)["member"] == f"{number}-2026-02-03.csv"
        )
        os.utime(tree.log(f"{number}-2026-02-03.csv", b"price %d\n" % number), ns=(entry["mtime_ns"],) * 2)
    did = do(tree)
    assert (did.code, tree.names()) == (0, []), failures(did)
    assert len([key for key in objects(moto, bucket) if "2026-02-03" in key]) == 1


def test_what_the_policy_gives_up_goes_from_the_store(tree, moto, bucket):
    """keep_last of an archive in an object store removes objects, and the store's manifest does not list them more."""
    configure(tree, moto.url, f"s3://{bucket}/p", more='per = "log"\nkeep_last = 1\nmax_share = "100%"\n')
    for day in (1, 2, 3):
        tree.log(f"d-2026-02-0{day}.csv", b"%d" % day)
    assert do(tree).code == 0
    did = do(tree)
    assert did.code == 0, failures(did)
    assert [event["target"][-20:] for event in did.events("file.expired")] == [
        f"d-2026-02-0{day}.csv.zst" for day in (1, 2)
    ]
    left = objects(moto, bucket)
    assert [key for key in left if "/d-" in key] == ["p/d-2026-02-03.csv.zst"]
    assert run(tree, "archive", "verify").returncode == 0
    assert sum(1 for line in left["p/maintd-manifest.jsonl"].splitlines() if json.loads(line).get("void")) == 2


def test_a_guard_gives_up_what_the_store_has(tree, moto, bucket):
    """With keep_originals files stay until a budget is exceeded; then the oldest go, if the store says it has them.

    It is asked once for all of them. One that it has no more, or that it cannot be asked for, stays: it may be the only
    copy. Its job stores it anew.
    """
    asks: list[bytes] = []

    def meddle(data: bytes) -> str:
        asks.append(data.partition(b" HTTP")[0])
        return ""

    with proxied(moto, meddle) as url:
        configure(tree, url, f"s3://{bucket}/p", more="keep_originals = true\n")
        for number in range(5):
            tree.log(f"{number}.csv", os.urandom(20_000), age=(60 - number) * DAY)
        assert do(tree).code == 0
        assert len(tree.names()) == 7
        assert '"action"' not in run(tree, "plan", "--json").stdout
        alone = tree.config.read_text()
        tree.config.write_text(f'{alone}[guard.logs]\ndirectory = "{tree.logs}"\nmax_used = "85K"\n')
        (failed,) = failures(guarded(tree, env={}))
        assert "AWS_ACCESS_KEY_ID" in failed["error_msg"], "without a key: said once"
        assert len(tree.names()) == 7
        asked(f"{moto.url}/{bucket}/p/0.csv.zst", "DELETE")
        asked(f"{moto.url}/{bucket}/p/1.csv.zst", "PUT", b"cut off")
        asks.clear()
        did = guarded(tree)
        assert len(asks) == 1, "one listing"
        gone = {Path(event["target"]).name: event["reason"] for event in did.events("file.expired")}
        assert set(gone) == {"2.csv", "3.csv"}, "and no more than were needed"
        assert f"stored as s3://{bucket}/p/2.csv.zst" in gone["2.csv"]
        gone_there, cut_there = sorted(event["error_msg"] for event in failures(did))
        assert gone_there.startswith("0.csv.zst is not there any more")
        assert cut_there.startswith("1.csv.zst has 7 bytes there, and not 200")
        tree.config.write_text(alone)
        did = do(tree)
        assert did.code == 0, did
        assert {event["target"].rpartition("/")[2] for event in did.events("object.lost")} == {"0.csv.zst", "1.csv.zst"}
        assert "p/0.csv.zst" in objects(moto, bucket)
        done = run(tree, "archive", "verify").stdout
        assert "all as they were" in done
        assert "p/1.csv.zst: it is not in the manifest" in done, "nothing is overwritten"
        assert '"action"' not in run(tree, "plan", "--json").stdout


def guarded(tree: Tree, env: dict[str, str] = KEYS) -> Did:
    done = run(tree, "do", "guard.logs", "--json", env=env)
    return Did(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


def test_a_bundle_that_the_store_has_lost_is_made_anew(tree, moto, bucket):
    """With keep_originals the store is asked once a day what it has; one that is gone is made anew."""
    dated(tree, moto.url, bucket)
    tree.config.write_text(tree.config.read_text().replace('"day"', '"day"\nkeep_originals = true'))
    assert do(tree).code == 0
    asked(f"{moto.url}/{bucket}/p/2026-02-03.tar.zst", "DELETE")
    (note,) = (tree.folder / "state/stores").glob("*/losses")
    said = json.loads(note.read_text())
    note.write_text(json.dumps(said | {"at": said["at"].replace("20", "19", 1)}))  # asked long ago
    assert [step["verb"] for step in planned(tree)] == ["ask"]
    assert do(tree).code == 0
    assert [step["verb"] for step in planned(tree)] == ["disown", "reach", "bundle", "list"]
    did = do(tree)
    assert (did.code, len(did.events("object.lost"))) == (0, 1), did
    assert planned(tree) == []
    assert "read 5 of 5 files" in run(tree, "archive", "verify").stdout


def planned(tree: Tree) -> list[dict[str, Any]]:
    steps = map(json.loads, run(tree, "plan", "--json").stdout.splitlines())
    return [step for step in steps if step["step"] == "action"]


def test_a_policy_does_not_count_what_the_store_has_lost(tree, moto, bucket):
    """Before anything goes the store is asked for what stays; if that is gone, nothing goes until it is judged anew."""
    configure(tree, moto.url, f"s3://{bucket}/p", more='base = "/"\n')
    for day in (1, 2, 3, 4):
        tree.log(f"d-2026-02-0{day}.csv", b"%d" % day)
    assert do(tree).code == 0
    stored = [key for key in objects(moto, bucket) if "/d-" in key]
    (lost,) = (key for key in stored if "02-04" in key)
    asked(f"{moto.url}/{bucket}/{lost}", "DELETE")
    more = 'base = "/"\nper = "log"\nkeep_last = 2\nmax_share = "100%"\n'
    configure(tree, moto.url, f"s3://{bucket}/p", more=more)
    (failed,) = failures(do(tree))
    assert "1 object that the policy keeps is not there any more" in failed["error_msg"]
    assert [key for key in objects(moto, bucket) if "/d-" in key] == [key for key in stored if key != lost]
    assert do(tree).code == 0
    assert [key[-14:-8] for key in objects(moto, bucket) if "/d-" in key] == ["-02-02", "-02-03"]
    assert "it is missing" in run(tree, "archive", "verify").stdout


def test_what_another_machine_has_listed_stays_in_the_manifest_of_the_store(tree, moto, bucket):
    """Lines of the store's manifest that are not here, because the state is older or empty, are taken over."""
    configure(tree, moto.url, f"s3://{bucket}/p")
    assert do(tree).code == 0
    (manifest,) = (tree.folder / "state/stores").glob(f"*/{inventory.NAME}")
    first = objects(moto, bucket)[f"p/{inventory.NAME}"]
    assert first == manifest.read_bytes()
    manifest.write_bytes(b"")
    (manifest.parent / "uploaded").unlink()
    tree.log("late.csv", b"late\n", age=60 * DAY)
    assert do(tree).code == 0
    kept = objects(moto, bucket)[f"p/{inventory.NAME}"].splitlines()
    assert set(first.splitlines()) < set(kept)
    listed = run(tree, "archive", "list", "--json").stdout
    assert listed.count('"original"') == 3


def test_logs_reads_generations_out_of_the_store(tree, moto, bucket):
    """`maintd logs` shows a log over all its generations, those in an object store too, alone or out of a bundle."""
    configure(tree, moto.url, f"s3://{bucket}/p")
    text = tree.config.read_text().replace("/**/*.csv", "/*.log.*")
    log = f'[rotate.app]\npaths = ["{tree.logs}/*.log"]\nmax_size = "1G"\n'
    tree.config.write_text(text + log)
    expected = [b"".join(b"%d.%d a line\n" % (day, number) for number in range(20_000)) for day in range(1, 5)]
    tree.log("app.log.20260201T000000Z.gz", gzip.compress(expected[0]), age=42 * DAY)
    tree.log("app.log.20260202T000000Z", expected[1], age=41 * DAY)
    assert run(tree, "do", "archive.old").returncode == 0
    tree.config.write_text(text.replace("[archive.old]\n", '[archive.old]\nbundle = "month"\n') + log)
    tree.log("app.log.20260203T000000Z", expected[2], age=40 * DAY)
    assert run(tree, "do", "archive.old").returncode == 0
    assert not list(tree.logs.glob("app*"))
    tree.log("app.log", expected[3])
    shown = run(tree, "logs", "app")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == b"".join(expected).decode()
    found = run(tree, "logs", "app", "--grep", r"[13]\.19999")
    assert (found.returncode, found.stdout) == (0, "1.19999 a line\n3.19999 a line\n")
    late = run(tree, "logs", "app", "--since", "1h", env={})
    assert (late.returncode, late.stdout) == (0, expected[3].decode()), "what is too old is not asked for"


def test_logs_of_a_store_that_gives_nothing(tree, moto, bucket):
    """Without a key what is here is shown; each generation that is not is told with the reason; the exit code is 1."""
    configure(tree, moto.url, f"s3://{bucket}/p")
    text = tree.config.read_text().replace("/**/*.csv", "/*.log.*")
    tree.config.write_text(text + f'[rotate.app]\npaths = ["{tree.logs}/*.log"]\nmax_size = "1G"\n')
    for day in (1, 2):
        tree.log(f"app.log.2026020{day}T000000Z", b"away\n")
    tree.log("app.log", b"the live one\n")
    assert run(tree, "do", "archive.old").returncode == 0
    shown = run(tree, "logs", "app", env={})
    assert (shown.returncode, shown.stdout) == (1, "the live one\n")
    assert shown.stderr.count("cannot be read") == 2
    assert "AWS_ACCESS_KEY_ID" in shown.stderr


def test_what_was_listed_by_another_endpoint_is_not_forgotten(tree, moto, bucket):
    """Lines that never got to the store, since it failed, get there after its endpoint has been changed, too.

    One of an object that has the same size there, and other contents, is another store's.
    """
    tree.log("other.csv", age=40 * DAY)
    with proxied(
        moto, lambda data: "cut" if data.startswith(b"PUT") and b"maintd-manifest" in data[:200] else ""
    ) as url:
        configure(tree, url, f"s3://{bucket}/p", 'timeout = "2s"')
        assert do(tree).code == 5
    assert tree.names() == []
    tree.log("later.csv", age=40 * DAY)
    size = len(objects(moto, bucket)["p/other.csv.zst"])
    asked(f"{moto.url}/{bucket}/p/other.csv.zst", "PUT", bytes(size))
    configure(tree, moto.url, f"s3://{bucket}/p")
    assert do(tree).code == 0
    listed = [json.loads(line)["name"] for line in run(tree, "archive", "list", "--json").stdout.splitlines()]
    assert sorted(listed) == ["2026/a.csv.zst", "b.csv.zst", "later.csv.zst"]
    verified = run(tree, "archive", "verify").stdout
    assert "other.csv.zst: it is not in the manifest" in verified
    assert "read 3 of 3 files" in verified
