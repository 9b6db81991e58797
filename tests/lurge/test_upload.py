"""A folder of finished files goes to a real S3 server, whatever comes between."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import children
import pytest
from servers.swift_s3 import SECRET, WRITER, Swift
from servers.wire import Wire, wire_to

from lurge.splitter.upload import MARKER, Uploaded, _files, marked, upload
from utils import s3
from utils.parts import part_of
from utils.s3 import Bucket
from utils.s3_client import S3Failed

FILES = 12
RUN = """
    import signal, sys
    from pathlib import Path

    sys.path.insert(0, sys.argv[1])
    from lurge.splitter.upload import upload
    from utils.s3 import Bucket

    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever was inherited
    folder, url, endpoint, credentials = sys.argv[2:]
    bucket = Bucket(url, endpoint_url=endpoint, credentials_file=Path(credentials))
    upload(Path(folder), bucket, lambda done, total: None)
"""


def quietly(done: int, total: int) -> None:
    """Progress that nobody wants to see."""


class Site:
    """A folder with files, and a bucket for them."""

    def __init__(self, swift: Swift, folder: Path, opened: ExitStack) -> None:
        self.swift = swift
        self.name = swift.make_bucket()
        self.folder = folder / "20260301"
        self.credentials = folder / "credentials"
        self._opened = opened
        self.credentials.touch(0o600)
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {WRITER}\naws_secret_access_key = {SECRET}\n"
        )
        self.folder.mkdir()
        for number in range(FILES):
            (self.folder / f"a%2Fgroup {number}.dat.gz").write_bytes(os.urandom(1000 * number))

    def bucket(self, **settings: Any) -> Bucket:
        chosen: dict[str, Any] = {
            "endpoint_url": self.swift.url,
            "credentials_file": self.credentials,
            "pauses": (),
        }
        bucket = Bucket(f"s3://{self.name}/trees", **chosen | settings)
        return self._opened.enter_context(closing(bucket))

    def upload(self, bucket: Bucket | None = None) -> Uploaded:
        return upload(self.folder, bucket or self.bucket(), quietly)

    def is_all_there(self) -> bool:
        """Whether the bucket has the files of the folder, byte for byte, and nothing else."""
        files = {f"trees/20260301/{file.name}": file for file in self.folder.glob("a*")}
        assert self.swift.objects(self.name).keys() == files.keys()
        return all(
            self.swift.read(self.name, key) == file.read_bytes() for key, file in files.items()
        )


@pytest.fixture
def site(swift: Swift, tmp_path: Path) -> Iterator[Site]:
    swift.start()
    with ExitStack() as opened:
        yield Site(swift, tmp_path, opened)


@contextmanager
def wire(site: Site) -> Iterator[tuple[Wire, Bucket]]:
    """A wire to the server, and a bucket at the end of it."""
    with wire_to(site.swift.port) as to_server:
        url = f"http://127.0.0.1:{to_server.port}"
        with closing(site.bucket(endpoint_url=url)) as bucket:
            yield to_server, bucket


def test_a_folder_goes_up_byte_for_byte(site: Site) -> None:
    told: list[tuple[int, int]] = []
    done = upload(site.folder, site.bucket(), lambda *so_far: told.append(so_far))
    total = sum(1000 * number for number in range(FILES))
    destination = f"s3://{site.name}/trees/20260301 at {site.swift.url}"
    assert done == Uploaded(destination, FILES, 0, total)
    assert site.is_all_there()
    assert marked(site.folder) == destination
    assert told == sorted(told)
    assert told[-1] == (total, total)
    assert told[0] == (0, total)
    assert len(told) == 1 + FILES


def test_hidden_files_folders_and_links_stay(site: Site) -> None:
    (site.folder / ".hidden").write_text("x")
    (site.folder / "folder").mkdir()
    (site.folder / "link").symlink_to("/etc/passwd")
    assert site.upload().sent == FILES
    assert site.is_all_there()


def test_an_empty_folder_is_there_at_once(swift: Swift, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with closing(Bucket("s3://any-bucket", endpoint_url=swift.url)) as bucket:
        assert upload(folder, bucket, quietly).sent == 0
    assert marked(folder) == f"s3://any-bucket/empty at {swift.url}"


def test_what_is_there_is_not_sent_again(site: Site) -> None:
    site.upload()
    before = site.swift.objects(site.name)
    (site.folder / MARKER).unlink()
    done = site.upload()
    assert (done.sent, done.already_there, done.sent_bytes) == (0, FILES, 0)
    assert site.swift.objects(site.name) == before


def test_a_folder_that_is_marked_asks_nobody(site: Site) -> None:
    with wire(site) as (_, bucket):
        assert site.upload(bucket).sent == FILES
    assert site.upload(bucket).already_there == FILES  # the wire has gone


def test_a_mark_of_another_destination_does_not_count(site: Site) -> None:
    site.upload()
    site.name = site.swift.make_bucket()
    assert site.upload().sent == FILES
    assert site.is_all_there()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_an_upload_that_was_ended_goes_on_with_what_is_missing(
    site: Site, ending: signal.Signals
) -> None:
    with wire(site) as (to_server, bucket):
        url, endpoint = f"s3://{site.name}/trees", f"http://127.0.0.1:{to_server.port}"
        ran: list[subprocess.Popen[bytes]] = []
        # Four at a time: when the sixth begins, at least two are there.
        to_server.before(*[b"PUT /"] * 6, act=lambda: ran[0].send_signal(ending))
        here = Path(s3.__file__).parent.parent
        command = children.command(RUN, here, site.folder, url, endpoint, site.credentials)
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            ran.append(process)
            _, said = process.communicate()
        assert to_server.happened.is_set()
        assert process.returncode == -ending, said.decode()
        assert marked(site.folder) is None
        done = site.upload(bucket)
        assert done.already_there >= 2
        assert done.sent >= 1
    assert site.is_all_there()


def test_an_object_that_was_changed_is_sent_again(site: Site) -> None:
    site.upload()
    file = site.folder / "a%2Fgroup 7.dat.gz"
    site.swift.write(site.name, f"trees/20260301/{file.name}", bytes(file.stat().st_size))
    (site.folder / MARKER).unlink()
    done = site.upload()
    assert (done.sent, done.already_there, done.sent_bytes) == (1, FILES - 1, 7000)
    assert site.is_all_there()


def test_a_full_store_leaves_no_mark_and_the_rest_is_sent_when_there_is_room(site: Site) -> None:
    site.name = site.swift.make_bucket(quota_bytes=9500)
    with pytest.raises(S3Failed, match="no room left in the store"):
        site.upload()
    assert marked(site.folder) is None
    with site.swift.client() as client:
        client.post_container(site.name, {"x-container-meta-quota-bytes": ""})
    assert site.upload().sent >= 1
    assert site.is_all_there()


def test_the_largest_goes_first(site: Site) -> None:
    sizes = list(_files(site.folder).values())
    assert sizes == [1000 * number for number in reversed(range(FILES))]


def test_a_mark_that_cannot_be_written_is_an_error(site: Site) -> None:
    part_of(site.folder / MARKER).mkdir()
    with pytest.raises(IsADirectoryError):
        site.upload()
    assert marked(site.folder) is None
