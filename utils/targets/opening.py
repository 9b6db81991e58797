"""Which kind of target a URL means."""

import os
from collections.abc import Mapping

from lurge_types.config import ArchiveTable
from lurge_types.targets import Target
from utils.targets.posix import Posix
from utils.targets.s3 import S3
from utils.targets.swift import Swift


def open_target(url: str, table: ArchiveTable, environ: Mapping[str, str] = os.environ) -> Target:
    """
    The target at a URL: file:///DIRECTORY, swift://CONTAINER/PREFIX or s3://BUCKET/PREFIX.

    table: how S3 is reached. environ: where Swift's or Keystone's variables are.

    Raises TargetFailed, TargetTrouble where a Swift is not there; ValueError for another URL.
    """
    match url.partition("://")[0]:
        case "file":
            return Posix(url)
        case "swift":
            return Swift(url, environ)
        case "s3":
            file = table.credentials_file
            return S3(url, endpoint_url=table.endpoint_url, credentials_file=file)
    raise ValueError("a target must be file:///DIRECTORY, swift://CONTAINER or s3://BUCKET")
