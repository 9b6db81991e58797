"""Where files are in S3: URLs of buckets and servers, as the configuration has them."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}").fullmatch


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which bucket: a prefix without slashes around it, empty for all of the bucket."""

    bucket: str
    prefix: str

    def key(self, name: str) -> str:
        """The key of an object below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name


def parse(url: str) -> Place:
    """
    The place that a URL names.

    >>> parse("s3://trees/of/humgen/")
    Place(bucket='trees', prefix='of/humgen')

    Raises ValueError, which does not repeat the URL: somebody may have put a secret into it.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not BUCKET(bucket):
        raise ValueError(
            "must be s3://BUCKET or s3://BUCKET/PREFIX, "
            "the bucket of 3 to 255 letters, digits, dots, - and _"
        )
    prefix = prefix.strip("/")
    if prefix and ({"", ".", ".."} & set(prefix.split("/")) or not prefix.isprintable()):
        raise ValueError("must have no empty, . or .. component and no control character")
    return Place(bucket, prefix)


def endpoint(url: str) -> str:
    """
    The URL of a server that is not Amazon's, as it is given.

    Raises ValueError, which does not repeat it either.
    """
    problem = "must be like https://host or https://host:port, without a password"
    try:
        parts = urlsplit(url)
        named = parts.hostname and parts.port != 0
    except ValueError:  # of a port or of brackets; it quotes the URL
        raise ValueError(problem) from None
    if (
        parts.scheme not in {"http", "https"}
        or not named
        or set("@ ") & set(url)
        or not url.isprintable()
    ):
        raise ValueError(problem)
    return url
