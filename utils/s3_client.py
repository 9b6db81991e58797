"""
A client of S3 as Lurge wants it: where its key comes from, and its errors in words.

Only this file knows boto3, which is an extra. It tries once: whoever asks tries again.
"""

import configparser
import stat
from pathlib import Path
from typing import Any

CONNECT_SECONDS = 10
SILENT_SECONDS = 60

INSTALL = "boto3 is not there: pip install 'lurge[object-stores]'"
NO_KEY = (
    "no access key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a credentials_file"
)
WRONG_KEY = "wrong access key or secret"
NOT_ALLOWED = "access denied: the key needs {} there"
NOT_TOLD = "wrong access key or secret, or access denied: the key needs {} there"
NO_BUCKET = "no such bucket: make it"
NO_ROOM = "no room left in the store: ask for a larger quota, or remove what is old"
REGION = "the bucket is in another region: set AWS_DEFAULT_REGION to it"
TROUBLE = "the server has trouble of its own: ask those who run it"
REFUSED = "the server refuses it"
REASONS = {
    "InvalidAccessKeyId": WRONG_KEY,
    "SignatureDoesNotMatch": WRONG_KEY,
    "ExpiredToken": "the session token has expired: get another one",
    "AccessDenied": NOT_ALLOWED,
    "403": NOT_TOLD,  # the answer to HEAD has no body that would tell more
    "NoSuchBucket": NO_BUCKET,
    "EntityTooLarge": NO_ROOM,
    "QuotaExceeded": NO_ROOM,
    "XMinioStorageFull": NO_ROOM,
    "507": NO_ROOM,
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it",
    "AuthorizationHeaderMalformed": REGION,
    "PermanentRedirect": REGION,
    "301": REGION,
}
"""What is said instead of an error code."""

MAY_PASS = {
    "SlowDown",
    "RequestTimeout",
    "TooManyRequests",
    "BadDigest",
    "IncompleteBody",
    "OperationAborted",
    "ConditionalRequestConflict",
    "408",
    "429",
}
"""Codes of errors that another try may not meet, beside those of the server itself, 5xx."""

SERVER_ERROR = 500
NOT_IMPLEMENTED = 501
STORE_FULL = 507
STAYS = (NOT_IMPLEMENTED, STORE_FULL)


class S3Failed(Exception):
    """A file is not in the bucket, or the bucket cannot be used: which, why, and what to do."""


def credentials(file: Path) -> dict[str, str]:
    """
    The access key in a file as Amazon's tools have it, in its section `[default]`.

    Raises S3Failed, which repeats nothing of the file.
    """
    try:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise S3Failed(f"credentials_file: others can read {file}: run chmod 600 on it")
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise S3Failed(f"credentials_file: {file} is no UTF-8 text") from error
    except OSError as error:
        raise S3Failed(f"credentials_file: {file}: {error.strerror}") from error
    sections = configparser.RawConfigParser()
    try:
        sections.read_string(text)
        section = sections["default"]
        names = ["aws_access_key_id", "aws_secret_access_key"]
        names += ["aws_session_token"] if "aws_session_token" in section else []
        return {name: section[name] for name in names}
    except (configparser.Error, KeyError):
        raise S3Failed(
            f"credentials_file: {file} has no section [default] with aws_access_key_id "
            "and aws_secret_access_key"
        ) from None  # the error of the parser shows lines of the file


class Client:
    """
    boto3's client, and what may come of it.

    raw: it; several threads may use it. errors: botocore's, `raised` those that it raises.
    url: for errors. endpoint_url: of a server that is not Amazon's. rights: what the key needs.
    settings: more of botocore's configuration.

    Raises S3Failed.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint_url: str | None,
        credentials_file: Path | None,
        rights: str,
        **settings: Any,
    ) -> None:
        self._endpoint_url = endpoint_url
        self._rights = rights
        key = credentials(credentials_file) if credentials_file else {}
        try:
            # An extra, wanted only where there is an upload.
            import boto3.session  # noqa: PLC0415
            from botocore import config, exceptions  # noqa: PLC0415
        except ImportError as error:
            raise S3Failed(f"{url}: {INSTALL}") from error
        self.errors = exceptions
        self.raised = (exceptions.BotoCoreError, exceptions.ClientError)
        # Others seldom have a host name for each bucket.
        style = {"addressing_style": "path" if endpoint_url else "auto"}
        try:
            self.raw = boto3.session.Session().client(
                "s3",
                endpoint_url=endpoint_url,
                config=config.Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=SILENT_SECONDS,
                    retries={"total_max_attempts": 1},  # those who ask count
                    # Servers that are not Amazon's need not know newer checksums than MD5.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3=style | settings.pop("s3", {}),
                    **settings,
                ),
                **key,
            )
        except exceptions.BotoCoreError as error:  # as of a profile that is not there
            raise S3Failed(f"{url}: {self.reason(error)}") from error

    def may_pass(self, error: Exception) -> bool:
        """Whether another try may not meet it."""
        if isinstance(error, self.errors.ClientError):
            trouble = status(error) >= SERVER_ERROR and status(error) not in STAYS
            return bool({code(error), str(status(error))} & MAY_PASS) or trouble
        lost = (
            self.errors.HTTPClientError,
            self.errors.ConnectionError,
            self.errors.IncompleteReadError,
        )
        return isinstance(error, lost) and not isinstance(error, self.errors.SSLError)

    def is_full(self, error: Exception) -> bool:
        """Whether there is no room left."""
        if not isinstance(error, self.errors.ClientError):
            return False
        return NO_ROOM in (REASONS.get(code(error)), REASONS.get(str(status(error))))

    def reason(self, error: Exception) -> str:
        """An error in words, and what to do."""
        server = self._endpoint_url or "Amazon's S3"
        match error:
            case self.errors.ClientError():
                said = error.response.get("Error", {}).get("Message") or "nothing more"
                other = TROUBLE if status(error) >= SERVER_ERROR else REFUSED
                words = REASONS.get(code(error)) or REASONS.get(str(status(error)), other)
                words = words.replace("{}", self._rights)
                return f"{words} (the server says {code(error)}: {said})"
            case self.errors.NoCredentialsError() | self.errors.PartialCredentialsError():
                return NO_KEY
            case self.errors.SSLError():
                return f"{server} has no certificate that is trusted here: see AWS_CA_BUNDLE"
            case self.errors.HTTPClientError() | self.errors.ConnectionError():
                return f"server not reachable at {server}, or it does not answer"
        return str(error)


def status(error: Any) -> int:
    """The HTTP status of a ClientError, 0 without one."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code(error: Any) -> str:
    """What the server calls a ClientError, empty without a name."""
    return str(error.response.get("Error", {}).get("Code", ""))
