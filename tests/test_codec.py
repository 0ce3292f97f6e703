"""The promises of compressing and verifying a file by its descriptors."""

import errno
import gzip
import hashlib
import os
import random
import subprocess
import sys
import zlib

import pytest

from maintd.codec import PIECE, SMALL, Codec, compress_fd, verify_fd
from maintd.formats import zstd

CODECS = ("zstd", "gzip")
DECOMPRESS = {"zstd": zstd.decompress, "gzip": gzip.decompress}
SIZES = (0, 1, 32 << 10, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 12_345, SMALL, SMALL + 12_345)


def log_text(size: int, seed: int = 1) -> bytes:
    rng = random.Random(seed)
    line = "2026-03-01 12:{:02d}:{:02d},{:03d} INFO [worker-{}] jobs.orders: request {:016x} took {} ms\n"
    made, length = [], 0
    while length < min(size, 200_000):
        n = len(made)
        text = line.format(n // 60 % 60, n % 60, n % 1000, n % 7, rng.getrandbits(64), rng.randrange(5000)).encode()
        made.append(text)
        length += len(text)
    block = b"".join(made)
    return (block * (size // max(1, len(block)) + 1))[:size]


@pytest.fixture
def files(tmp_path):
    """Makes a source and an empty target and opens both; closes them at the end."""
    opened: list[int] = []

    def make(content: bytes) -> tuple[int, int]:
        (tmp_path / "source").write_bytes(content)
        opened.append(os.open(tmp_path / "source", os.O_RDONLY))
        opened.append(os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        return opened[-2], opened[-1]

    yield make
    for fd in opened:
        os.close(fd)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_verifies(files, tmp_path, name, size):
    """Whatever the size, the read-back content has the source's bytes and hash, and the sizes are told right."""
    content = log_text(size)
    source, target = files(content)
    done = compress_fd(source, target, Codec(name))
    assert done.in_bytes == size
    assert done.out_bytes == (tmp_path / "target").stat().st_size
    assert verify_fd(target, Codec(name)) == (size, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("size", SIZES)
def test_the_tools_everyone_has_read_it(files, tmp_path, name, size):
    """`zstd -dc` and `gzip -dc` give the content back without a complaint."""
    content = log_text(size)
    compress_fd(*files(content), Codec(name))
    try:
        with (tmp_path / "target").open("rb") as target:
            done = subprocess.run([name, "-dc"], stdin=target, capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip(f"no {name} here")
    assert done.stdout == content
    assert done.stderr == b""


@pytest.mark.parametrize("size", SIZES)
def test_gzip_is_one_member_that_the_standard_library_reads(files, tmp_path, size):
    """Readers that stop after the first member (RFC 1952 allows several) see all of it."""
    content = log_text(size)
    compress_fd(*files(content), Codec("gzip"))
    written = (tmp_path / "target").read_bytes()
    assert gzip.decompress(written) == content
    first = zlib.decompressobj(31)
    assert first.decompress(written) == content
    assert first.eof
    assert first.unused_data == b""


def test_incompressible_content_grows_little(files):
    """Random bytes come back too, at most 0.1 % larger."""
    content = random.Random(2).randbytes(2 * PIECE + 99)
    for name in CODECS:
        source, target = files(content)
        done = compress_fd(source, target, Codec(name))
        assert verify_fd(target, Codec(name)) == (len(content), hashlib.sha256(content).hexdigest())
        assert done.out_bytes < len(content) * 1.001


def test_gzip_is_at_most_1_percent_larger_than_gzip_6(files):
    """Compressing the pieces apart and at a faster level costs hardly any size."""
    content = log_text(3 * PIECE)
    done = compress_fd(*files(content), Codec("gzip"))
    assert done.out_bytes <= 1.01 * len(zlib.compress(content, 6))


@pytest.mark.parametrize("name", CODECS)
def test_a_higher_level_is_smaller(files, name):
    """The level reaches the codec."""
    content = log_text(PIECE)
    fast = compress_fd(*files(content), Codec(name, 1)).out_bytes
    assert compress_fd(*files(content), Codec(name, 9)).out_bytes < fast


@pytest.mark.parametrize("name", CODECS)
def test_the_number_of_threads_does_not_change_the_file(files, tmp_path, name):
    """One thread or four: the same bytes, in order."""
    content = log_text(SMALL + PIECE + 7)
    written = []
    for threads in (1, 4):
        compress_fd(*files(content), Codec(name, threads=threads))
        written.append((tmp_path / "target").read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("name", CODECS)
def test_progress_counts_the_content_to_its_end(files, name):
    """Progress rises piece by piece and ends at the content's size."""
    read: list[int] = []
    compress_fd(*files(log_text(2 * PIECE + 5)), Codec(name), read.append)
    assert read == [PIECE, 2 * PIECE, 2 * PIECE + 5]


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("junk", [b"x", bytes(100), b"plain text\n" * 1000])
def test_what_does_not_read_back_is_an_error(files, tmp_path, name, junk):
    """If the file does not hold what was written to it, compressing itself fails with EIO."""
    source, _ = files(log_text(2 * PIECE))
    (tmp_path / "target").write_bytes(junk)
    misplacing = os.open(tmp_path / "target", os.O_RDWR | os.O_APPEND)  # pwrite(2): appends whatever the offset
    try:
        with pytest.raises(OSError, match="what was written does not") as caught:
            compress_fd(source, misplacing, Codec(name))
    finally:
        os.close(misplacing)
    assert caught.value.errno == errno.EIO


def damaged(how: str, good: bytes) -> bytes:
    middle = len(good) // 2
    return {
        "cut at the end": good[:-1],
        "cut in the trailer": good[:-5],
        "cut in the middle": good[:middle],
        "cut in the header": good[:3],
        "empty": b"",
        "trailing byte": good + b"x",
        "trailing zeros": good + bytes(100_000),
        "a bit flipped in the middle": good[:middle] + bytes((good[middle] ^ 1,)) + good[middle + 1 :],
        "a wrong checksum": good[:-1] + bytes((good[-1] ^ 0x80,)),
        "another format": b"plain text\n" * 1000,
    }[how]


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    "how",
    [
        "cut at the end",
        "cut in the trailer",
        "cut in the middle",
        "cut in the header",
        "empty",
        "trailing byte",
        "trailing zeros",
        "a bit flipped in the middle",
        "a wrong checksum",
        "another format",
    ],
)
def test_damage_is_found(files, tmp_path, name, how):
    """Whatever befell the file on its way to the disk, verification says EIO and what is wrong."""
    source, target = files(log_text(PIECE + 200_000))
    compress_fd(source, target, Codec(name))
    path = tmp_path / "target"
    path.write_bytes(damaged(how, path.read_bytes()))
    with pytest.raises(OSError, match="what was written does not decompress: ") as caught:
        verify_fd(target, Codec(name))
    assert caught.value.errno == errno.EIO


def verifies_as(target: int, codec: Codec) -> tuple[int, str] | None:
    try:
        return verify_fd(target, codec)
    except OSError:
        return None


@pytest.mark.parametrize("name", CODECS)
def test_no_flipped_bit_passes_for_the_content(files, tmp_path, name):
    """A file that verifies as the source still decompresses to it: the bits that may differ carry no meaning."""
    content = log_text(700)
    source, target = files(content)
    wanted = compress_fd(source, target, Codec(name)).in_bytes
    path = tmp_path / "target"
    good = path.read_bytes()
    passed = 0
    for bit in range(8 * len(good)):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        if verifies_as(target, Codec(name)) == (wanted, hashlib.sha256(content).hexdigest()):
            passed += 1
            assert DECOMPRESS[name](bytes(bad)) == content
    assert passed < 64  # gzip's header has 48 such bits: time, extra flags, operating system (RFC 1952)


def test_a_lost_frame_changes_the_result(files):
    """A file cut exactly between two frames is a valid file: only the compared hash can tell, and does."""
    first = compress_fd(*files(log_text(PIECE)), Codec("zstd")).out_bytes
    source, target = files(log_text(2 * PIECE))
    whole = compress_fd(source, target, Codec("zstd"))
    os.ftruncate(target, first)
    assert verify_fd(target, Codec("zstd")) == (PIECE, hashlib.sha256(log_text(PIECE)).hexdigest())
    assert whole.in_bytes == 2 * PIECE


@pytest.mark.parametrize("name", CODECS)
def test_a_full_disk_is_an_oserror(files, name):
    """What cannot be written is said by its errno, and all threads have ended."""
    source, _ = files(random.Random(3).randbytes(2 * PIECE))
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left on device") as caught:
            compress_fd(source, full, Codec(name))
    finally:
        os.close(full)
    assert caught.value.errno == errno.ENOSPC


SPARSE = """
import os, sys
from maintd.codec import Codec, compress_fd, verify_fd
source, target = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_RDWR | os.O_CREAT, 0o600)
done = compress_fd(source, target, Codec(sys.argv[3]))
assert verify_fd(target, Codec(sys.argv[3]))[0] == done.in_bytes
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(done.in_bytes, done.out_bytes, peak)
"""


@pytest.mark.parametrize("name", CODECS)
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    """A sparse 512 MiB, which compresses a thousandfold, takes under 100 MiB both ways."""
    size = 512 << 20
    with (tmp_path / "source").open("wb") as source:
        source.truncate(size)
    command = [sys.executable, "-c", SPARSE, str(tmp_path / "source"), str(tmp_path / "target"), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    in_bytes, out_bytes, peak_kib = map(int, done.stdout.split())
    assert in_bytes == size
    assert out_bytes < size / 500
    assert peak_kib < 100 * 1024
