"""What becomes of logs that were set aside, as it is planned."""

from datetime import UTC, datetime

from maintd import families, retention, settling
from maintd.actions.compress import Compress
from maintd.own_files import OwnFiles
from maintd.rotation import Policy
from maintd.rungs import Reopening
from maintd.supervisor import Supervisor


def test_what_a_writer_wrote_last_before_it_let_go_is_compressed_with_the_rest(tmp_path):
    """An archive that grew between the look at its directory and the look for its writers is planned as it is then."""
    archive = tmp_path / "x.log.20260101T000000Z"
    archive.write_bytes(b"a line\n")
    found, _ = families.find([f"{tmp_path}/*.log"], [], None, OwnFiles())
    with archive.open("ab") as writer:
        writer.write(b"the last one\n")
    policy = Policy(reopening=Reopening(mode="auto", supervisor=Supervisor("")), retention=retention.Policy())
    (compress,) = settling.plan_settling(found, policy, [], datetime(2026, 1, 2, tzinfo=UTC))
    assert isinstance(compress, Compress)
    assert compress.in_bytes == len(b"a line\nthe last one\n")
