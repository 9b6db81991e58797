"""URLs of buckets and servers."""

import pytest

from lurge_types import buckets


def test_a_url_names_a_bucket_and_a_prefix() -> None:
    assert buckets.parse("s3://abc").key("x") == "x"
    assert buckets.parse("s3://abc/").key("x") == "x"
    assert buckets.parse("s3://a.b-c_D/of/us/").key("x%2Fy") == "of/us/x%2Fy"


@pytest.mark.parametrize(
    "url", ["", "abc", "s3:abc", "s3://", "s3://ab", "s3:///p", "http://abc/p", "s3://id:key@abc"]
)
def test_what_names_no_bucket_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"^must be s3://BUCKET or s3://BUCKET/PREFIX, the [a-z0-9 ,_-]*$"
    ):
        buckets.parse(url)


@pytest.mark.parametrize("url", ["s3://abc/a//b", "s3://abc/../b", "s3://abc/.", "s3://abc/a\n"])
def test_a_prefix_that_servers_understand_in_different_ways_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"component and no control character$"):
        buckets.parse(url)


def test_a_server_has_a_url_without_a_password() -> None:
    assert buckets.endpoint("https://ceph.example.org:8080") == "https://ceph.example.org:8080"
    for url in (
        "ceph.example.org",
        "ftp://ceph",
        "https://",
        "https://id:key@ceph",
        "https://ceph:x",
    ):
        with pytest.raises(ValueError, match="must be like https://host"):
            buckets.endpoint(url)
