"""Files go to a real S3 server, and what is said when they do not."""

import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import children
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.mariadb import free_port
from servers.swift_s3 import READER, SECRET, WRITER, Swift
from servers.wire import wire_to

from utils import s3
from utils.s3 import MIB, Bucket, S3Stopped
from utils.s3_client import S3Failed, credentials

SOON = (0.05, 0.05, 0.05, 0.05)
NEVER = threading.Event()
KEPT = "All files are kept here; the next upload sends what is missing."

Opens = Callable[..., Bucket]


@pytest.fixture
def opens(swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opens]:
    """Opens buckets of the server as a run does; the key is in a file."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    swift.start()
    with ExitStack() as opened:

        def opens(bucket: str, user: str = WRITER, secret: str = SECRET, **more: Any) -> Bucket:
            settings: dict[str, Any] = {
                "endpoint_url": swift.url,
                "credentials_file": credentials_file(tmp_path, user, secret),
                "pauses": SOON,
            }
            return opened.enter_context(closing(Bucket(f"s3://{bucket}/up", **settings | more)))

        yield opens


def credentials_file(folder: Path, user: str = WRITER, secret: str = SECRET) -> Path:
    file = folder / "credentials"
    file.write_text(f"[default]\naws_access_key_id = {user}\naws_secret_access_key = {secret}\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "humgen%2Fa.dat.gz"
    file.write_bytes(os.urandom(100_000))
    return file


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that goes up in three parts of 5 MiB, the least that S3 allows."""
    file = tmp_path / "large"
    file.write_bytes(os.urandom(11 * MIB))
    return file


@given(st.binary(max_size=200), st.integers(1, 64))
def test_an_etag_is_that_of_the_parts(tmp_path_factory: Any, held: bytes, part: int) -> None:
    file = tmp_path_factory.getbasetemp() / "of-parts"
    file.write_bytes(held)
    parts = [held[at : at + part] for at in range(0, len(held), part)]
    if len(parts) > 1:
        joined = b"".join(hashlib.md5(each).digest() for each in parts)
        expected = f"{hashlib.md5(joined).hexdigest()}-{len(parts)}"
    else:
        expected = hashlib.md5(held).hexdigest()
    with file.open("rb") as opened:
        assert s3.etag([each.md5() for each in s3.cut(opened, part, NEVER)]) == expected


@given(st.integers(0, 40 << 40))
def test_no_file_has_more_parts_than_servers_take(size: int) -> None:
    part = s3.part_size(size, s3.PART_BYTES)
    assert 5 * MIB <= part <= 5 << 30
    assert size <= 1000 * part or (part == 5 << 30 and size <= 10_000 * part)


@given(
    st.binary(max_size=50),
    st.integers(0, 50),
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(0, 60), st.integers(-1, 60))),
)
def test_a_part_reads_like_a_file_of_its_own(
    tmp_path_factory: Any, held: bytes, start: int, size: int, reads: list[tuple[int, int]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "with-a-part"
    file.write_bytes(held)
    twin = io.BytesIO(held[start : start + size])
    with file.open("rb") as opened:
        part = s3.Part(opened, start, len(twin.getvalue()), NEVER)
        for at, count in reads:
            assert part.seek(at) == twin.seek(at)
            assert part.read(count) == twin.read(count)
            assert part.tell() == twin.tell()
        assert part.seek(0, os.SEEK_END) == twin.seek(0, os.SEEK_END)


def test_credentials_that_others_can_read_are_refused(tmp_path: Path) -> None:
    file = credentials_file(tmp_path)
    assert credentials(file)["aws_secret_access_key"] == SECRET
    for mode in (0o640, 0o604):
        file.chmod(mode)
        with pytest.raises(S3Failed, match=f"others can read {file}: run chmod 600 on it$"):
            credentials(file)


@pytest.mark.parametrize(
    "text", ["", "[default]\naws_access_key_id = hush", "hush", "[default]\nhush", "[x]\nhush = 1"]
)
def test_what_holds_no_credentials_is_told_without_showing_it(tmp_path: Path, text: str) -> None:
    file = credentials_file(tmp_path)
    file.write_text(text)
    with pytest.raises(S3Failed, match=r"has no section \[default\] with") as failed:
        credentials(file)
    assert "hush" not in str(failed.value)
    assert failed.value.__suppress_context__


def test_credentials_that_are_no_text_or_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(S3Failed, match="none: No such file"):
        credentials(tmp_path / "none")
    file = credentials_file(tmp_path)
    file.write_bytes(b"\xff")
    with pytest.raises(S3Failed, match="is no UTF-8 text"):
        credentials(file)


def test_a_file_is_there_as_it_was_sent(swift: Swift, opens: Opens, file: Path) -> None:
    name = swift.make_bucket()
    bucket = opens(name)
    assert not bucket.has(file, "day/a%2Fb", NEVER)
    bucket.send(file, "day/a%2Fb", NEVER)
    assert bucket.has(file, "day/a%2Fb", NEVER)
    assert swift.read(name, "up/day/a%2Fb") == file.read_bytes()
    assert bucket.url("day/a%2Fb") == f"s3://{name}/up/day/a%2Fb at {swift.url}"


def test_a_large_file_goes_up_in_parts(swift: Swift, opens: Opens, large: Path) -> None:
    name = swift.make_bucket()
    bucket = opens(name, part_bytes=5 * MIB)
    bucket.send(large, "large", NEVER)
    assert len(swift.objects(f"{name}+segments")) == 3
    assert swift.read(name, "up/large") == large.read_bytes()
    assert bucket.has(large, "large", NEVER)
    with large.open("r+b") as opened:
        opened.write(b"other")
    assert not bucket.has(large, "large", NEVER)


def test_an_empty_file_is_sent_too(swift: Swift, opens: Opens, tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.touch()
    name = swift.make_bucket()
    opens(name).send(file, "empty", NEVER)
    assert swift.read(name, "up/empty") == b""


def test_the_key_may_be_in_the_environment(
    swift: Swift, opens: Opens, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", WRITER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    bucket = opens(swift.make_bucket(), credentials_file=None)
    bucket.send(file, "x", NEVER)
    assert bucket.has(file, "x", NEVER)


def test_without_any_key_it_is_said_where_it_may_be(
    swift: Swift, opens: Opens, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    bucket = opens(swift.make_bucket(), credentials_file=None)
    with pytest.raises(S3Failed, match="no access key: set AWS_ACCESS_KEY_ID and"):
        bucket.has(file, "x", NEVER)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ((WRITER, "a-wrong-one"), "wrong access key or secret"),
        (("test:nobody", SECRET), "wrong access key or secret"),
        ((READER, SECRET), "access denied: the key needs s3:PutObject"),
    ],
)
def test_a_key_that_may_not_is_told_at_once(
    swift: Swift, opens: Opens, file: Path, key: tuple[str, str], words: str
) -> None:
    name = swift.make_bucket()
    bucket = opens(name, *key, pauses=[60])
    assert not bucket.has(file, "x", NEVER)
    with pytest.raises(S3Failed, match=words) as failed:
        bucket.send(file, "x", NEVER)
    assert f"{file} was not sent to s3://{name}/up/x at {swift.url}: " in str(failed.value)
    assert str(failed.value).endswith(KEPT)
    assert key[1] not in str(failed.value)


def test_a_bucket_that_is_not_there_is_told_at_once(opens: Opens, file: Path) -> None:
    bucket = opens("no-such-bucket", pauses=[60])
    assert not bucket.has(file, "x", NEVER)
    with pytest.raises(S3Failed, match="no such bucket: make it"):
        bucket.send(file, "x", NEVER)


def test_a_full_store_is_told_at_once(swift: Swift, opens: Opens, file: Path) -> None:
    bucket = opens(swift.make_bucket(quota_bytes=1000), pauses=[60])
    with pytest.raises(S3Failed, match=r"no room left in the store: .*quota"):
        bucket.send(file, "x", NEVER)


def test_a_server_that_stays_away_is_named_after_five_tries(opens: Opens, file: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    pauses, said = [0.1, 0.2, 0.3, 0.4], list[str]()
    bucket = opens("a-bucket", endpoint_url=nowhere, pauses=pauses, waiting=said.append)
    asked = []
    bucket._client.meta.events.register("before-send", lambda **sent: asked.append(sent))
    begun = time.monotonic()
    with pytest.raises(S3Failed, match=f"server not reachable at {nowhere}"):
        bucket.send(file, "x", NEVER)
    assert time.monotonic() - begun > 1
    assert len(asked) == 5
    assert len(said) == 4
    assert all(nowhere in why and why.endswith(": again in 0 s") for why in said)


def test_a_server_that_comes_back_is_waited_for(swift: Swift, opens: Opens, file: Path) -> None:
    name = swift.make_bucket()
    bucket = opens(name, pauses=[0.2, 0.8, 1, 10])
    swift.kill()
    back = threading.Timer(0.2, swift.start)
    back.start()
    bucket.send(file, "x", NEVER)
    back.join()
    assert swift.read(name, "up/x") == file.read_bytes()


def test_a_server_that_has_trouble_is_asked_again(swift: Swift, opens: Opens, file: Path) -> None:
    name = swift.make_bucket()
    bucket = opens(name, pauses=[0.1, 0.4, 1, 10])
    swift.lose_disk()
    found = threading.Timer(0.3, swift.find_disk)
    try:
        with pytest.raises(S3Failed, match=r"trouble of its own: .* \(the server says \w+: "):
            opens(name).send(file, "x", NEVER)
    finally:
        found.start()
    bucket.send(file, "x", NEVER)
    found.join()
    assert swift.read(name, "up/x") == file.read_bytes()


def test_what_is_not_there_as_it_was_sent_is_sent_again(
    swift: Swift, opens: Opens, file: Path
) -> None:
    name = swift.make_bucket()
    with wire_to(swift.port) as wire:
        bucket = opens(name, endpoint_url=f"http://127.0.0.1:{wire.port}")
        other = bytes(file.stat().st_size)
        wire.before(b"PUT /", b"HEAD /", act=lambda: swift.write(name, "up/x", other))
        bucket.send(file, "x", NEVER)
        assert wire.happened.is_set()
        bucket.close()
    assert swift.read(name, "up/x") == file.read_bytes()


def test_what_is_never_there_as_it_was_sent_is_an_error(
    swift: Swift, opens: Opens, file: Path
) -> None:
    name = swift.make_bucket()
    bucket = opens(name)
    bucket._client.meta.events.register(
        "before-call.s3.HeadObject", lambda **_: swift.write(name, "up/x", b"other")
    )
    with pytest.raises(S3Failed, match="another size or checksum each time"):
        bucket.send(file, "x", NEVER)


def test_parts_outlive_a_lost_answer(swift: Swift, opens: Opens, large: Path) -> None:
    name = swift.make_bucket()
    with wire_to(swift.port) as wire:
        url = f"http://127.0.0.1:{wire.port}"
        bucket = opens(name, endpoint_url=url, part_bytes=5 * MIB)
        wire.cut_behind(b"partNumber=2", b"<CompleteMultipartUpload")
        bucket.send(large, "large", NEVER)
        assert wire.happened.is_set()
        bucket.close()
    assert swift.read(name, "up/large") == large.read_bytes()


def test_parts_that_do_not_become_an_object_are_taken_back(
    swift: Swift, opens: Opens, large: Path
) -> None:
    name = swift.make_bucket()
    stop = threading.Event()
    with wire_to(swift.port) as wire:
        url = f"http://127.0.0.1:{wire.port}"
        bucket = opens(name, endpoint_url=url, part_bytes=5 * MIB, pauses=[60])
        wire.before(b"partNumber=2", act=stop.set)
        with pytest.raises(S3Failed):
            bucket.send(large, "large", stop)
        assert wire.happened.is_set()
        bucket.close()
    assert swift.objects(f"{name}+segments") == {}
    assert swift.objects(name) == {}


def test_a_part_that_is_to_stop_is_not_read_on(file: Path) -> None:
    stop = threading.Event()
    with file.open("rb") as opened:
        part = s3.Part(opened, 0, 10, stop)
        assert len(part.read(4) or b"") == 4
        stop.set()
        with pytest.raises(S3Stopped):
            part.read(4)


def test_without_boto3_it_is_said_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "boto3").mkdir()
    (tmp_path / "boto3" / "__init__.py").write_text("raise ImportError('hidden')")
    said = children.run(
        """
        import sys
        sys.path[:0] = sys.argv[1:]
        from utils import s3, s3_client

        try:
            s3.Bucket("s3://abc/x")
        except s3_client.S3Failed as failed:
            print(failed)
        """,
        tmp_path,
        Path(s3.__file__).parent.parent,
    )
    assert said == "s3://abc/x: boto3 is not there: pip install 'lurge[object-stores]'\n"
