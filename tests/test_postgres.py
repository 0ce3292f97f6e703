"""The kind `postgres` against Debian's server: indexes made beside writers, tables tended, what is odd told."""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .checks.test_servers import EXTRAS, POSTGRES, needs_postgres, postgres  # noqa: F401 - the fixture
from .conftest import environment, until
from .tree import Did, Tree

pytestmark = needs_postgres


class Server:
    """The tree of a config for the server, and psql on it."""

    def __init__(self, tree: Tree, port: int, folder: str) -> None:
        self.tree, self._port, self._folder = tree, port, folder

    def sql(self, *statements: str) -> str:
        done = self.psql(*statements)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def line(self) -> list[Any]:
        return [POSTGRES[-1].parent / "psql", "-h", self._folder, "-p", str(self._port), "-U", "admin", "-AtqX"]

    def psql(self, *statements: str) -> "subprocess.CompletedProcess[str]":
        commands = [part for statement in statements for part in ("-c", statement)]
        return subprocess.run(
            [*self.line, "-v", "ON_ERROR_STOP=1", *commands, "postgres"],
            check=False,
            capture_output=True,
            text=True,
            env={"PGPASSWORD": "s3cret"},
        )

    def configure(self, options: str, password: str = "right", as_user: str = "admin") -> None:
        where = f'conninfo = "host={self._folder} port={self._port} dbname=postgres user={as_user}"\n'
        where += f'password_file = "{self._folder}/{password}"\n'
        self.tree.write_config(f'[postgres.main]\ncron = "@daily"\n{where}{options}')

    def do(self, options: str, password: str = "right", as_user: str = "admin") -> Did:
        self.configure(options, password, as_user)
        line = [EXTRAS, "-c", self.tree.config, "do", "--all", "--json"]
        done = subprocess.run(line, check=False, capture_output=True, text=True, env=environment(), timeout=90)
        assert "Traceback" not in done.stderr, done.stderr
        assert "s3cret" not in done.stdout
        return Did(done.returncode, [json.loads(one) for one in done.stdout.splitlines()], done.stderr)

    def indexes(self) -> list[str]:
        return self.sql("SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1").split()


@pytest.fixture
def server(postgres: Any) -> Iterator[Server]:  # noqa: F811
    port, folder, _ = postgres
    with tempfile.TemporaryDirectory(prefix="maintd-") as place:
        made = Server(Tree(Path(place).resolve()), port, folder)
        until(lambda: made.psql("SELECT 1").returncode == 0, "the server takes statements")
        made.sql(
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public",
            "CREATE TABLE orders (id serial PRIMARY KEY, customer int, symbol text, active bool)",
            "INSERT INTO orders (customer, symbol, active) SELECT n % 500, 'S' || n % 50, true"
            " FROM generate_series(1, 30000) AS n",
        )
        yield made


@contextlib.contextmanager
def old_transaction(server: Server, statement: bytes = b"") -> Iterator[None]:
    """Somebody has begun one, with that statement, and keeps it open."""
    line = [*server.line, "postgres"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PGPASSWORD": "s3cret"}) as other:
        other.stdin.write(b"BEGIN ISOLATION LEVEL REPEATABLE READ; " + statement + b"SELECT 4711;\n")
        other.stdin.flush()
        assert other.stdout.readline() == b"4711\n"
        yield
        other.stdin.write(b"ROLLBACK;\n")
        other.stdin.close()


QUIET = "report = false\ntend = false\n"


def test_declared_indexes_are_made_and_probes_measured(server):
    """Plain, unique, partial and expression indexes are made once; one of another name, or a wider one, is found; the
    probe shows the plan before and after."""
    server.sql("CREATE INDEX own ON orders (symbol, customer)")
    declared = [
        "orders(customer, id DESC)",
        "unique orders(id, symbol)",
        "orders(customer) where active",
        "orders(lower(symbol))",
    ]
    options = QUIET + f"indexes = {[*declared, 'orders(symbol, customer)', 'orders(symbol)']}\n"
    options += "probes = [\"SELECT * FROM orders where lower(symbol) = 's7'\"]\n"
    did = server.do(options)
    assert did.code == 0, str(did)
    assert [event["declared"] for event in did.events("index.created")] == declared
    assert [(event["index"], event["how"]) for event in did.events("index.found")] == [
        ("own", "there"),
        ("own", "the beginning of another"),
    ]
    probe = did.event("probe.measured")
    assert probe["plan_before"] == "Seq Scan orders"
    assert "maintd_" in probe["plan_after"]
    again = server.do(options)
    assert again.events("index.created") == []
    assert len(again.events("index.found")) == 6
    assert "invalid" not in server.sql("SELECT * FROM pg_index WHERE NOT indisvalid")


def test_a_probe_or_a_declaration_changes_nothing_else(server):
    """More than one statement, one that is no query, one that writes: refused; tables, their rows, large objects and
    files are those of before."""
    state = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM pg_largeobject_metadata)"
    there, proof = server.sql(state), server.tree.folder / "proof"
    for probe in (
        "SET TRANSACTION READ WRITE; DELETE FROM orders RETURNING 1",
        "SELECT 1; SET TRANSACTION READ WRITE; DELETE FROM orders",
        "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT * FROM gone",
        f"COPY (SELECT 1) TO PROGRAM 'touch {proof}'",
    ):
        did = server.do(QUIET + f"probes = [{json.dumps(probe)}]\n")
        assert did.event("database.failed")["error"] == "refused", str(did)
    assert server.do(QUIET + 'probes = ["/* large */ (SELECT lo_create(4711))"]\n').code == 0
    did = server.do(QUIET + 'indexes = ["orders(id); drop table orders"]\n')
    assert did.event("database.failed")["error"] == "refused", str(did)
    assert server.sql(state) == there
    assert not proof.exists()


def test_an_invalid_leftover_is_rebuilt(server):
    """An index whose making failed half way is dropped and made anew under its name; one that fails leaves nothing."""
    server.sql("UPDATE orders SET symbol = 'same' WHERE id < 3")
    did = server.do(QUIET + 'indexes = ["unique orders(symbol)"]\n')
    assert did.code == 1
    assert "could not create unique index" in did.event("database.failed")["error_msg"]
    assert server.indexes() == ["orders_pkey"]
    server.sql(
        "CREATE INDEX half ON orders (customer)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'half'::regclass",
    )
    rebuilt = server.do(QUIET + 'indexes = ["orders(customer)"]\n').event("index.rebuilt")
    assert rebuilt["index"] == "half"
    assert server.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'half'::regclass") == "t"


def test_declarations_that_come_to_the_same_words_get_names_of_their_own(server):
    """Indexes of two tables of one schema whose names would be the same, also where they are cut off, are both made;
    one that cannot be made takes no valid one of another table with it."""
    long = "c" * 50
    server.sql(
        "CREATE TABLE a_b (c int)",
        f"CREATE TABLE a (b_c int, {long}_1 int, {long}_2 int)",
        "CREATE TABLE maintd_a_b_c_2 (n int)",
        "INSERT INTO a (b_c) VALUES (1), (1)",
    )
    declared = ["a_b(c)", "a(b_c)", f"a({long}_1)", f"a({long}_2)"]
    did = server.do(QUIET + f"indexes = {declared}\n")
    assert did.code == 0, str(did)
    names = {event["declared"]: event["index"] for event in did.events("index.created")}
    assert list(names) == declared
    assert names["a_b(c)"] == "maintd_a_b_c"
    assert names["a(b_c)"] == "maintd_a_b_c_3"
    assert set(names.values()) <= set(server.indexes())
    assert server.do(QUIET + "indexes = ['unique a(b_c)']\n").code == 1
    assert set(names.values()) <= set(server.indexes())
    assert server.sql("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == "0"


def test_killed_while_an_index_is_made(server):
    """Killed while CREATE INDEX CONCURRENTLY waits for an old transaction: the server ends it, and the next run finds
    the invalid index and makes it anew."""
    server.configure(QUIET + 'indexes = ["orders(customer)"]\n')
    old = subprocess.Popen(
        [*server.line, "postgres"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PGPASSWORD": "s3cret"}
    )
    try:
        old.stdin.write(b"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM orders;\n")
        old.stdin.flush()
        assert old.stdout.readline() == b"30000\n"
        line = [EXTRAS, "-c", server.tree.config, "do", "--all"]
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, env=environment()) as doing:
            until(lambda: "maintd_orders_customer" in server.indexes(), "the index is being made", 30)
            doing.kill()
        until(lambda: not server.sql("SELECT pid FROM pg_stat_progress_create_index"), "the server ends it", 30)
    finally:
        old.communicate(b"ROLLBACK;\n", timeout=20)
    assert server.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'maintd_orders_customer'::regclass") == "f"
    did = server.do(QUIET + 'indexes = ["orders(customer)"]\n')
    assert did.event("index.rebuilt")["index"] == "maintd_orders_customer"
    assert server.indexes() == ["maintd_orders_customer", "orders_pkey"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('indexes = ["orders(nothing)"]', "nothing"),
        ('indexes = ["nowhere(id)"]', "no table nowhere"),
        ('indexes = ["gibberish"]', "declares no index"),
        ('probes = ["DELETE FROM orders"]', "may only read"),
        ('query_timeout = "1s"\nprobes = ["SELECT pg_sleep(60)"]', "longer than 1s"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_made(server, options, said):
    """A table or column that is not there, a probe that writes, or that never ends: one failure, and no change."""
    did = server.do(f"{QUIET}{options}\n")
    assert did.code == 1
    assert said in did.event("database.failed")["error_msg"]
    assert server.indexes() == ["orders_pkey"]
    assert server.sql("SELECT count(*) FROM orders") == "30000"


def test_tables_are_tended_past_the_thresholds_and_oddities_told(server):
    """Dead rows bring VACUUM, changed ones ANALYZE, and a second run finds nothing to do; bloat, duplicate, unused and
    invalid indexes are told, and nothing of that is changed."""
    server.sql(
        "CREATE INDEX one ON orders (customer)",
        "CREATE INDEX two ON orders (customer)",
        "CREATE TABLE calm (a int)",
        "INSERT INTO calm SELECT generate_series(1, 2000)",
        "CREATE INDEX bad ON calm (a)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'bad'::regclass",
        "DELETE FROM orders WHERE id % 4 <> 0",
        "SELECT pg_stat_force_next_flush()",
    )
    options = 'min_size = "64K"\nunused_after = "1us"\n'
    did = server.do(options)
    assert did.code == 0, str(did)
    tended = {(event["table"], event["what"]) for event in did.events("table.tended")}
    assert tended == {("orders", "vacuumed"), ("calm", "analyzed")}
    assert did.event("table.bloated")["table"] == "orders"
    assert did.event("index.redundant")["index"] == "one"
    assert did.event("index.invalid")["index"] == "bad"
    assert {event["index"] for event in did.events("index.unused")} >= {"one", "two"}
    assert server.indexes() == ["bad", "one", "orders_pkey", "two"]
    assert server.do(options).events("table.tended") == []


def test_what_could_not_be_vacuumed_is_not_told_as_done(server):
    """Rows that an old transaction may see are still there after VACUUM: a failure, until they are gone."""
    with old_transaction(server):
        server.sql("DELETE FROM orders WHERE id % 4 <> 0", "SELECT pg_stat_force_next_flush()")
        did = server.do("report = false\n")
        assert did.code == 1, str(did)
        assert "still there" in did.event("database.failed")["error_msg"]
        assert did.events("table.tended") == []
    assert server.do("report = false\n").event("table.tended")["what"] == "vacuumed"


def test_a_table_that_takes_too_long_is_named(server):
    """statement_timeout at one table, which somebody has locked here, is told with its name; the others are tended."""
    server.sql(
        "CREATE TABLE calm (a int)", "INSERT INTO calm SELECT generate_series(1, 2000)", "CREATE TABLE zeal (a int)"
    )
    server.sql("INSERT INTO zeal SELECT generate_series(1, 2000)", "SELECT pg_stat_force_next_flush()")
    with old_transaction(server, b"LOCK TABLE calm; "):
        did = server.do('report = false\nlock_timeout = "50s"\nstatement_timeout = "1s"\n')
    assert "ANALYZE of calm: canceling statement" in did.event("database.failed")["error_msg"]
    assert did.event("database.failed")["error"] == "timedout"
    assert "zeal" in {event["table"] for event in did.events("table.tended")}


def test_an_owner_that_is_no_superuser(server):
    """The tables of its role are tended and reported on; those of others, past the thresholds, are told as not tended,
    and a schema that is closed to it is no obstacle."""
    server.sql(
        "DO $$ BEGIN CREATE ROLE plain LOGIN PASSWORD 's3cret'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        "DROP SCHEMA IF EXISTS app, closed CASCADE",
        "CREATE SCHEMA app AUTHORIZATION plain",
        "CREATE SCHEMA closed",
        "CREATE TABLE closed.t AS SELECT generate_series(1, 5000) AS a",
        "CREATE TABLE app.mine (id int PRIMARY KEY, c int, s text)",
        "INSERT INTO app.mine SELECT n, n % 9, repeat('z', 200) FROM generate_series(1, 20000) AS n",
        "CREATE UNIQUE INDEX again ON app.mine (id)",
        "ALTER TABLE app.mine OWNER TO plain",
        "DELETE FROM closed.t",
        "DELETE FROM app.mine WHERE id % 10 <> 0",
        "SELECT pg_stat_force_next_flush()",
    )
    did = server.do('min_size = "64K"\nindexes = ["app.mine(c)"]\n', as_user="plain")
    assert did.code == 5, str(did)
    assert "not for maintd's user to tend: closed.t" in did.event("database.failed")["error_msg"]
    assert [(event["table"], event["what"]) for event in did.events("table.tended")] == [("app.mine", "vacuumed")]
    assert did.event("table.bloated")["table"] == "app.mine"
    assert did.event("index.redundant")["index"] == "app.again"
    did = server.do(QUIET + 'indexes = ["closed.t(a)"]\n', as_user="plain")
    assert "the index closed.t(a) cannot be made on table closed.t: permission denied" in str(did)
    server.sql("DROP SCHEMA app, closed CASCADE")


def test_one_index_or_probe_that_fails_leaves_the_others(server):
    """Indexes before and behind one that cannot be made are made and told, and so is a probe that was too slow before
    its index was there; of a probe no row is kept."""
    slow = "SELECT sum((SELECT count(*) FROM orders AS b where b.symbol = a.symbol and b.id = a.id)) FROM orders AS a"
    server.sql("ALTER TABLE orders DROP CONSTRAINT orders_pkey")
    declared = ["orders(customer)", "unique orders(symbol)", "orders(id)"]
    probes = [slow, "SELECT repeat('x', 1000) FROM generate_series(1, 100000)", "SELECT nothing FROM orders"]
    did = server.do(QUIET + f'query_timeout = "2s"\nindexes = {declared}\nprobes = {json.dumps(probes)}\n')
    assert did.code == 1, str(did)
    assert [event["declared"] for event in did.events("index.created")] == [declared[0], declared[2]]
    first, second = did.events("probe.measured")
    assert "before_ms" not in first
    assert first["after_ms"] < 2000
    assert "before_ms" in second
    said = did.event("database.failed")["error_msg"]
    assert "making the index unique orders(symbol): could not create unique index" in said
    assert "SELECT nothing FROM orders: column" in said


def test_rows_of_a_probe_take_no_memory(server):
    """1.2 GB of rows are read by a probe in a process that may have one."""
    probe = "SELECT repeat('x', 4000000) FROM generate_series(1, 300)"
    server.configure(QUIET + f'query_timeout = "80s"\nprobes = ["{probe}"]\n')
    line = ["prlimit", f"--as={1 << 30}", EXTRAS, "-c", server.tree.config, "do", "--all", "--json"]
    done = subprocess.run(line, check=False, capture_output=True, text=True, env=environment(), timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"probe.measured"' in done.stdout


def test_what_is_compared_and_reported(server):
    """INCLUDE is part of an index: such a one is made where a wider one without it is, and is not redundant. What is
    declared is not called unused, and a table that is filled as its fillfactor says is not called bloated."""
    server.sql(
        "CREATE INDEX wide ON orders (customer, symbol)",
        "CREATE INDEX inc ON orders (customer) INCLUDE (active)",
        "CREATE TABLE loose (a int, b text) WITH (fillfactor = 20)",
        "INSERT INTO loose SELECT n, repeat('y', 200) FROM generate_series(1, 5000) AS n",
        "ANALYZE loose",
        "SELECT pg_stat_force_next_flush()",
    )
    did = server.do(
        'tend = false\nmin_size = "64K"\nunused_after = "1us"\nindexes = ["orders(customer) include (symbol)"]\n'
    )
    assert did.code == 0, str(did)
    made = did.event("index.created")["index"]
    assert [event["msg"] for event in did.events("index.redundant")] == []
    assert {event["index"] for event in did.events("index.unused")} == {"wide", "inc"}
    assert made not in {"wide", "inc"}
    assert did.events("table.bloated") == []


def test_indexes_of_tables_with_partitions(server):
    """One that a table with partitions has is found, and those of its partitions are called neither unused nor
    redundant; one that is missing is a failure that says how to make it, and keeps no other from being made."""
    server.sql(
        "CREATE TABLE ev (id int, k int) PARTITION BY RANGE (id)",
        "CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM (0) TO (1000000)",
        "INSERT INTO ev SELECT n, n % 7 FROM generate_series(1, 1000) AS n",
        "CREATE INDEX of_all ON ev (k)",
        "CREATE INDEX of_orders ON orders (customer)",
        "CREATE INDEX wider ON ev_1 (k, id)",
    )
    options = 'tend = false\nunused_after = "1s"\nindexes = ["ev(k)", "ev(id)", "orders(symbol)"]\n'
    did = server.do(options)
    assert did.code == 5, str(did)
    failed = did.event("database.failed")
    assert "making the index ev(id) on a table with partitions" in failed["error_msg"]
    assert "ATTACH PARTITION" in failed["advice"]
    assert did.event("index.found")["index"] == "of_all"
    assert did.event("index.created")["declared"] == "orders(symbol)"
    assert {event["index"] for event in did.events("index.unused")} == {"of_orders", "wider"}
    assert did.events("index.redundant") == []


def test_options_of_the_conninfo_are_kept(server):
    """What conninfo gives the server as options counts beside maintd's own."""
    server.sql("CREATE SCHEMA IF NOT EXISTS other", "CREATE TABLE IF NOT EXISTS other.o (c int)")
    did = server.do(QUIET + 'indexes = ["o(c)"]\n', as_user="admin options='-c search_path=other'")
    assert did.event("index.created")["declared"] == "o(c)", str(did)
    server.sql("DROP SCHEMA other CASCADE")


def test_check_says_what_is_wrong_with_a_password(server):
    """A file that is not there is said, and no kind of password stands in the config."""
    server.configure(QUIET, "nowhere")
    assert "nowhere cannot be read" in server.tree.run("check").stderr
    server.configure(QUIET, as_user="admin sslpassword=geheim")
    done = server.tree.run("check")
    assert "a secret is not written here" in done.stdout + done.stderr
    assert "geheim" not in done.stdout + done.stderr


def test_a_wrong_password_and_no_extra_are_told(server):
    """One failure with the server's word for it; without the extra, how to install it."""
    did = server.do(QUIET + 'indexes = ["orders(customer)"]\n', "wrong")
    assert "password authentication failed" in did.event("database.failed")["error_msg"]
    assert "maintd[postgres]" in server.tree.do().event("database.failed")["advice"]
