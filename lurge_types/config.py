"""The configuration: its keys, their defaults, and what they may be."""

import ipaddress
import os
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from lurge_types.buckets import endpoint, parse
from lurge_types.ldap_text import ATTRIBUTE, check_filter, normal_dn
from lurge_types.reports import AGE_CLASSES, DIRECTORY_COLUMNS, OTHER

MAX_ID = 2**32 - 1
LONGEST_VOLUME_NAME = 100
"""Bytes; names of files are made of it, with some 80 bytes more, and may have 255."""

MAX_DAYS = 365_000
"""A thousand years: counted back from today, the calendar does not reach much further."""

LEAST_DAILY = 7
"""Days of history after which a day's week is over."""

LEAST_BEFORE_MONTHS = 37
"""Days of history after which a day's month is over, and the week at the month's end."""

MOST_SECONDS = 86_400
"""A day, longer than anybody would wait for one answer."""

MAX_HISTORY_DAYS = 366
"""From how far back a rate may be found, and how far ahead a warning may look."""

MAX_DEPTH = 2048
"""Components that a path can have: 4,096 bytes, a slash and a byte each."""

MOST_FILE_TYPES = 200

HIGHEST_PRICE = 10**6
"""With it, 8 EiB cost what the database can hold."""

LEAST_BUDGET = 16 << 20
"""Bytes with which a thread still splits lines off into members of a useful size."""

MAX_PORT = 65_535
LONGEST_REMEMBERED_SECONDS = 3600
"""Seconds after which whoever has left a group at last sees nothing of it any more."""

LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:]+)):([0-9]{1,5})", re.ASCII).fullmatch
HOST = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*").fullmatch
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]*").fullmatch

SAMPLE = re.compile(r"sample=(?:100|[1-9][0-9]?)%", re.ASCII).fullmatch
WORD = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}").fullmatch
MOST_MONTHS = 1200
LEAST_CHECKPOINTS = 2
LEAST_SEGMENT, MOST_SEGMENT = 5 << 20, 5 << 30
"""Bytes of a part that every S3 server takes; Swift takes no segment that is larger either."""

FILE_TYPES = {
    "SAM": (".sam", ".sam.gz"),
    "BAM": (".bam",),
    "CRAM": (".cram",),
    "FASTQ": (".fastq", ".fq"),
    "FASTQ (gzip)": (".fastq.gz", ".fq.gz"),
    "VCF": (".vcf", ".bcf", ".gvcf"),
    "VCF (gzip)": (".vcf.gz", ".bcf.gz", ".gvcf.gz"),
    "PEDBED": (".ped", ".bed", ".ped.gz", ".bed.gz"),
}


def _in_folder(path: Path, info: ValidationInfo) -> Path:
    """A relative path starts from the folder of the configuration file."""
    folder = info.context["folder"] if info.context else Path()
    try:
        return Path(folder / path.expanduser())
    except RuntimeError as error:
        raise ValueError("begins with the home of a user whom nobody knows") from error


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must be an absolute path")
    return path.rstrip("/") or "/"


def volume_name(name: str) -> str:
    """A volume's name, of which file names are made. Raises ValueError."""
    if not 0 < len(name.encode("utf-8", "surrogateescape")) <= LONGEST_VOLUME_NAME:
        raise ValueError(f"must have 1 to {LONGEST_VOLUME_NAME} bytes")
    if name != name.strip() or "/" in name or name.startswith("."):
        raise ValueError("must have no slash, no dot in front and no space around it")
    if any(character < " " or character == "\x7f" for character in name):
        raise ValueError("must have no tab, newline or other control character")
    return name


File = Annotated[Path, AfterValidator(_in_folder)]
Mount = Annotated[str, AfterValidator(_absolute)]


class Table(BaseModel):
    """
    A table of the configuration: unknown keys are errors, values stay as read.

    A table that the file leaves out is validated like one that is there, so that its relative paths
    start from the same folder.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, revalidate_instances="always"
    )


class VolumeTable(Table):
    """
    A volume that is reported on.

    retired: from this day on no scan of it is expected. successor: the volume that took its place.
    """

    name: Annotated[str, AfterValidator(volume_name)]
    mount: Mount
    group_directories: tuple[Mount, ...] = ()
    retired: Annotated[date, Field(strict=True)] | None = None
    successor: str | None = None

    @field_validator("successor")
    @classmethod
    def _another(cls, successor: str | None, info: ValidationInfo) -> str | None:
        if successor is None:
            return None
        if info.data.get("retired", "wrong itself") is None:
            raise ValueError("is of no use without retired, the day from which on it counts")
        if successor == info.data.get("name"):
            raise ValueError("is the volume itself: name another [[volume]], or leave it out")
        return successor


class KeepTable(Table):
    """
    For how many days history keeps every day, for how many more one a week, then one a month.

    monthly: None for ever. The bounds see to it that a day is judged when its week is over, or when
    the last week of its month is: so it does not matter how often history is thinned.
    """

    daily: Annotated[int, Field(strict=True, ge=LEAST_DAILY, le=MAX_DAYS)] = 400
    weekly: Annotated[int, Field(strict=True, ge=0, le=MAX_DAYS)] = 1095
    monthly: Annotated[int, Field(strict=True, ge=0, le=MAX_DAYS)] | None = None

    @field_validator("weekly")
    @classmethod
    def _sees_months(cls, weekly: int, info: ValidationInfo) -> int:
        daily = info.data.get("daily", LEAST_BEFORE_MONTHS)
        if daily + weekly < LEAST_BEFORE_MONTHS:
            raise ValueError(
                f"must be at least {LEAST_BEFORE_MONTHS - daily} where daily is {daily}: the two "
                "together have to reach over a month and the week at its end"
            )
        return weekly


class DatabaseTable(Table):
    """Where the tables are, and what they keep."""

    url: str = "sqlite:///lurge-data/lurge.db"
    password_file: File | None = None
    retry_seconds: Annotated[float, Field(strict=True, ge=0)] = 300
    keep: KeepTable = KeepTable()

    @field_validator("url")
    @classmethod
    def _known(cls, url: str, info: ValidationInfo) -> str:
        try:
            parts = make_url(url)
        except (ArgumentError, ValueError) as error:  # a port that is no number is a ValueError
            raise ValueError("must be like mysql+pymysql://user@host/name") from error
        if parts.password or parts.query.keys() & {"password", "passwd"}:
            raise ValueError("must hold no password: use password_file")
        if parts.drivername == "sqlite" and parts.database:
            return _url(parts.set(database=str(_in_folder(Path(parts.database), info))))
        if parts.drivername == "mysql+pymysql" and parts.database:
            return _url(parts)
        raise ValueError("must be sqlite:///FILE or mysql+pymysql://user@host/name")


def _url(parts: URL) -> str:
    return parts.render_as_string(hide_password=False)


def _directory(url: str) -> str:
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in {"ldap", "ldaps"} or not parts.hostname or parts.port == 0
    except ValueError:  # a port that is no number
        wrong = True
    if wrong or "@" in url or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be like ldap://host, ldaps://host or ldaps://host:port")
    return url


def _dn(dn: str) -> str:
    normal_dn(dn)
    return dn


def _filter(text: str) -> str:
    check_filter(text)
    return text.strip()


def _attribute(name: str) -> str:
    if not ATTRIBUTE(name):
        raise ValueError("no name of an attribute, which has letters, digits and -")
    return name


DirectoryUrl = Annotated[str, AfterValidator(_directory)]
DistinguishedName = Annotated[str, AfterValidator(_dn)]
Filter = Annotated[str, AfterValidator(_filter)]
Attribute = Annotated[str, AfterValidator(_attribute)]


class LdapTable(Table):
    """
    An LDAP directory, and what is looked for there.

    timeout_seconds: whole ones, as the operating system is told them by ldap3.
    """

    url: DirectoryUrl
    start_tls: Annotated[bool, Field(strict=True)] = False
    ca_file: File | None = None
    bind_dn: DistinguishedName | None = None
    password_file: File | None = None
    group_base: DistinguishedName
    group_filter: Filter = "(objectClass=posixGroup)"
    group_name_attribute: Attribute = "cn"
    group_gid_attribute: Attribute = "gidNumber"
    group_member_attribute: Attribute = "memberUid"
    group_pi_attribute: Attribute | None = None
    people_base: DistinguishedName
    people_filter: Filter = "(objectClass=posixAccount)"
    people_login_attribute: Attribute = "uid"
    people_uid_attribute: Attribute = "uidNumber"
    people_gid_attribute: Attribute = "gidNumber"
    people_surname_attribute: Attribute = "sn"
    page_size: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 500
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 30
    retry_seconds: Annotated[float, Field(strict=True, ge=0)] = 60

    @property
    def address(self) -> SplitResult:
        """The url in its parts."""
        return urlsplit(self.url)

    @property
    def encrypted(self) -> bool:
        """Whether what goes over the wire is."""
        return self.start_tls or self.address.scheme == "ldaps"

    @field_validator("start_tls")
    @classmethod
    def _once(cls, start_tls: bool, info: ValidationInfo) -> bool:
        if start_tls and info.data.get("url", "").startswith("ldaps:"):
            raise ValueError("is for ldap:// alone: ldaps:// is encrypted from the start")
        return start_tls

    @field_validator("ca_file")
    @classmethod
    def _used(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and _in_the_clear(info):
            raise ValueError("is of no use without ldaps:// or start_tls = true")
        return file

    @field_validator("bind_dn")
    @classmethod
    def _hidden(cls, dn: str | None, info: ValidationInfo) -> str | None:
        host = urlsplit(info.data.get("url", "")).hostname or ""
        if dn is not None and _in_the_clear(info) and not is_loopback(host):
            raise ValueError(
                "its password would cross the network in the clear: use ldaps:// or "
                "start_tls = true"
            )
        return dn

    @field_validator("password_file")
    @classmethod
    def _needed(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("bind_dn", "wrong itself") is None:
            raise ValueError("is of no use without bind_dn")
        return file


def _in_the_clear(info: ValidationInfo) -> bool:
    """Whether a directory's url and start_tls, which are right so far, make no use of TLS."""
    return info.data.get("url", "").startswith("ldap:") and info.data.get("start_tls") is False


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is one by which only this machine is reached."""
    """Whether a name or address is that of this host itself, whom no network lies before."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class NamesTable(Table):
    """Where names of groups and users come from."""

    source: Literal["system", "files", "ldap"] = "system"
    group_file: File | None = None
    user_file: File | None = None
    ldap: LdapTable | None = None

    @field_validator("group_file")
    @classmethod
    def _given(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is None and info.data.get("source") == "files":
            raise ValueError('is needed with source = "files"')
        return file

    @field_validator("ldap")
    @classmethod
    def _told(cls, table: LdapTable | None, info: ValidationInfo) -> LdapTable | None:
        if table is None and info.data.get("source") == "ldap":
            raise ValueError('[names.ldap] is needed with source = "ldap"')
        return table


QuotaSource = Literal["lfs", "csv"]


class QuotasTable(Table):
    """
    Where quotas come from.

    source: tried in this order for each group; one name stands for a list of it, "none" for none.
    lfs_timeout: seconds. limit: which of Lustre's two counts.
    """

    source: tuple[QuotaSource, ...] = ()
    csv_file: File | None = None
    lfs_timeout: Annotated[float, Field(strict=True, gt=0, le=MOST_SECONDS)] = 10
    limit: Literal["hard", "soft"] = "hard"

    @field_validator("source", mode="before")
    @classmethod
    def _listed(cls, source: object) -> object:
        if source == "none":
            return ()
        names = [source] if isinstance(source, str) else source
        if not isinstance(names, list | tuple) or not {*map(str, names)} <= {"lfs", "csv"}:
            raise ValueError('must be "none", "lfs", "csv" or a list of the last two')
        if len(set(names)) < len(names):
            raise ValueError("a source stands there twice")
        return names

    @field_validator("csv_file")
    @classmethod
    def _given(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is None and "csv" in info.data.get("source", ()):
            raise ValueError('is needed with source = "csv"')
        return file


class LevelRule(Table):
    """A use above `share` of the quota in `days` days, or before, is of a level."""

    days: Annotated[int, Field(strict=True, ge=0, le=MAX_HISTORY_DAYS)]
    share: Annotated[Decimal, Field(gt=0)]
    level: Literal[2, 3]


LEVELS = (
    LevelRule(days=3, share=Decimal("0.95"), level=3),
    LevelRule(days=7, share=Decimal("0.95"), level=3),
    LevelRule(days=3, share=Decimal("0.85"), level=3),
    LevelRule(days=7, share=Decimal("0.85"), level=2),
    LevelRule(days=3, share=Decimal("0.8"), level=2),
)


class WarningsTable(Table):
    """When a figure deserves a second look, and how it is foretold."""

    levels: tuple[LevelRule, ...] = LEVELS
    history_days: Annotated[int, Field(strict=True, ge=2, le=MAX_HISTORY_DAYS)] = 30
    rate: Literal["robust", "two-point"] = "robust"
    suspect_fall: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.2


class BaseDirectoryRule(Table):
    """What lies under `prefix` has its base directory at `depth` components of its path."""

    prefix: Mount
    depth: Annotated[int, Field(strict=True, ge=1, le=MAX_DEPTH)]

    @field_validator("depth")
    @classmethod
    def _reaches(cls, depth: int, info: ValidationInfo) -> int:
        prefix = info.data.get("prefix", "/").rstrip("/")
        if depth < prefix.count("/"):
            raise ValueError(f"must be at least {prefix.count('/')}, the depth of its prefix")
        return depth


def _ending(ending: str) -> str:
    if not ending or "/" in ending or "*" in ending:
        raise ValueError("an ending must not be empty and have no slash and no *")
    return ending


def _type_name(name: str) -> str:
    if not name.strip() or any(character < " " or character == "\x7f" for character in name):
        raise ValueError("a file type needs a name without tabs or other control characters")
    if name in (*DIRECTORY_COLUMNS, OTHER):
        raise ValueError(f"{name} is the name of a column")
    return name


FileTypeName = Annotated[str, Field(max_length=64), AfterValidator(_type_name)]
Ending = Annotated[str, AfterValidator(_ending)]


class InspectorTable(Table):
    """What the project inspector takes for a project directory and for a type of files."""

    base_directories: tuple[BaseDirectoryRule, ...] = ()
    deeper: tuple[str, ...] = ("users", "projects")
    rows_per_base: Annotated[int, Field(strict=True, ge=2)] | None = None
    file_types: Annotated[
        dict[FileTypeName, tuple[Ending, ...]], Field(max_length=MOST_FILE_TYPES)
    ] = FILE_TYPES

    @field_validator("file_types")
    @classmethod
    def _one_type(cls, types: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        endings = [ending.lower() for of_type in types.values() for ending in of_type]
        if twice := sorted({ending for ending in endings if endings.count(ending) > 1}):
            raise ValueError(f"endings that stand there twice: {', '.join(twice)}")
        return types


class CandidatesTable(Table):
    """What is cold and large enough to be archived, and what it costs where it is."""

    min_size: Annotated[ByteSize, Field(ge=1)] = ByteSize(1 << 30)
    cold_share: Annotated[Decimal, Field(gt=0, le=1)] = Decimal("0.95")
    cold_after: Annotated[int, Field(strict=True)] = 180
    cost_per_tib_month: Annotated[Decimal, Field(ge=0, le=HIGHEST_PRICE)] | None = None

    @field_validator("cold_after")
    @classmethod
    def _is_an_edge(cls, days: int) -> int:
        if days not in AGE_CLASSES[1:]:
            edges = ", ".join(map(str, AGE_CLASSES[1:]))
            raise ValueError(f"must be where a class of age begins: one of {edges}")
        return days


NodeBytes = Annotated[int, Field(strict=True, ge=0)]


class BuildTable(Table):
    """
    What building a tree of a group's file takes, in seconds and bytes.

    bytes_per_node: (per cent of the lines that are directories at most, bytes), ascending to 100.
    """

    seconds_base: Annotated[int, Field(strict=True, ge=0)] = 100
    lines_per_second: Annotated[int, Field(strict=True, ge=1)] = 11_000
    nodes_base: Annotated[int, Field(strict=True, ge=0)] = 50
    nodes_per_directory: Annotated[int, Field(strict=True, ge=0)] = 2
    bytes_per_node: tuple[tuple[Decimal, NodeBytes], ...] = (
        (Decimal("0.8"), 12_000),
        (Decimal("1.5"), 10_000),
        (Decimal(2), 9_000),
        (Decimal(4), 8_500),
        (Decimal(100), 8_000),
    )

    @field_validator("bytes_per_node")
    @classmethod
    def _whole(cls, steps: tuple[tuple[Decimal, int], ...]) -> tuple[tuple[Decimal, int], ...]:
        shares = [share for share, _ in steps]
        if not shares or shares != sorted(set(shares)) or shares[-1] != 100:
            raise ValueError("must be [per cent, bytes] pairs, the per cent ascending to 100")
        return steps


def _part_of_name(word: str) -> str:
    """What names of files are made of, as it is. Raises ValueError."""
    if not WORD(word):
        raise ValueError("must have 1 to 64 letters, digits, dots, - and _, no dot in front")
    return word


def _bucket(url: str) -> str:
    parse(url)
    return url


class SplitterTable(Table):
    """How the lines of each group are split off, and where the files are sent."""

    memory_budget: Annotated[ByteSize, Field(ge=LEAST_BUDGET)] = ByteSize(1 << 30)
    keep: Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS)] = 14
    upload: Annotated[str, AfterValidator(_bucket)] | None = None
    endpoint_url: Annotated[str, AfterValidator(endpoint)] | None = None
    credentials_file: File | None = None
    build: BuildTable = BuildTable()


class PassTable(Table):
    """How scans are read."""

    block_lines: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 250
    blocks_per_message: Annotated[int, Field(strict=True, ge=1, le=1000)] = 16
    threads: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = None


def _listening(listen: str) -> str:
    """An address to listen at, as it is. Raises ValueError."""
    found = LISTEN(listen)
    if not found or not _host(found[1], found[2]) or int(found[3]) > MAX_PORT:
        raise ValueError("must be like 127.0.0.1:8080, [::1]:8080 or name:8080")
    return listen


def _host(bracketed: str | None, bare: str | None) -> bool:
    """Whether there is an IPv6 address in the brackets; or an IPv4 address or name without any."""
    try:
        if bare is None:
            ipaddress.IPv6Address(bracketed or "")
        elif bare.rpartition(".")[2].isdigit():  # no name ends so
            ipaddress.IPv4Address(bare)
        else:
            return HOST(bare) is not None
    except ValueError:
        return False
    return True


def _host_of(listen: str) -> str:
    return listen.rpartition(":")[0].strip("[]")


def _header(name: str) -> str:
    if not HEADER(name):
        raise ValueError("no name of a header, which has letters, digits and -")
    return name


IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(words: object) -> IpNetwork:
    """The addresses that an address or network stands for. Raises ValueError."""
    if isinstance(words, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return words
    try:
        network = ipaddress.ip_network(words) if isinstance(words, str) else None
    except ValueError as error:
        raise ValueError(f"no address or network: {error}") from error
    if network is None or "%" in str(network):
        raise ValueError("must be like 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32")
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped:
        raise ValueError("stands for addresses of IPv4: write it as one of these")
    return network


class ServeTable(Table):
    """
    Where web pages are served, and who is believed to say who looks at them.

    remember_seconds: for how long a person's groups are.
    """

    listen: Annotated[str, AfterValidator(_listening)] = "127.0.0.1:8080"
    auth: Literal["none", "proxy"] = "none"
    user_header: Annotated[str, AfterValidator(_header)] = "X-Remote-User"
    proxies: tuple[Annotated[IpNetwork, BeforeValidator(_network)], ...] = ()
    admin_groups: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    remember_seconds: Annotated[float, Field(strict=True, ge=0, le=LONGEST_REMEMBERED_SECONDS)] = (
        300
    )
    threads: Annotated[int, Field(strict=True, ge=1, le=64)] = 8

    @property
    def host(self) -> str:
        """The name or address to listen at, without brackets."""
        return _host_of(self.listen)

    @property
    def port(self) -> int:
        """The port to listen at; 0 for any that is free."""
        return int(self.listen.rpartition(":")[2])

    def trusts(self, address: str) -> bool:
        """
        Whether an address is that of a proxy that is believed.

        >>> served = ServeTable.model_validate({"auth": "proxy", "proxies": ["192.0.2.0/24"]})
        >>> served.trusts("192.0.2.7"), served.trusts("::ffff:192.0.2.7"), served.trusts("")
        (True, True, False)
        """
        try:
            who = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(who, ipaddress.IPv6Address) and who.ipv4_mapped:
            who = who.ipv4_mapped  # an IPv4 client of a socket for both
        return any(who in network for network in self.proxies)

    @field_validator("auth")
    @classmethod
    def _guarded(cls, auth: str, info: ValidationInfo) -> str:
        listen = info.data.get("listen")
        if auth == "none" and listen and not is_loopback(_host_of(listen)):
            raise ValueError(
                '"none" shows everything to whoever gets there: listen at localhost, 127.0.0.1 '
                'or [::1], or set auth = "proxy"'
            )
        return auth

    @field_validator("proxies")
    @classmethod
    def _named(cls, proxies: tuple[IpNetwork, ...], info: ValidationInfo) -> tuple[IpNetwork, ...]:
        if not proxies and info.data.get("auth") == "proxy":
            raise ValueError('must name at least one with auth = "proxy"')
        return proxies


def _target(url: str) -> str:
    """
    Where copies may go: file:///DIRECTORY, swift://CONTAINER/PREFIX or s3://BUCKET/PREFIX.

    It is returned without slashes at its end, so that one place has one name.

    Raises ValueError, which does not repeat it: somebody may have put a secret into it.
    """
    scheme, _, rest = url.partition("://")
    match scheme:
        case "file" if rest.startswith("/") and rest.strip("/"):
            _check_normal(rest.rstrip("/"))
        case "s3" | "swift":
            _check_place(scheme, rest)
        case _:
            raise ValueError("must be file:///DIRECTORY, swift://CONTAINER or s3://BUCKET")
    return url.rstrip("/")


def _check_place(scheme: str, rest: str) -> None:
    """See that behind a scheme there are a container and a prefix, if any. Raises ValueError."""
    try:
        parse(f"s3://{rest}")
    except ValueError as error:
        raise ValueError(str(error).replace("s3://", f"{scheme}://")) from None


def _check_normal(path: str) -> None:
    """See that a path leads straight to where it says. Raises ValueError."""
    if {"", ".", ".."} & set(path.removeprefix("/").split("/")) or not path.isprintable():
        raise ValueError("must have no empty, . or .. component and no control character")


def _bin(path: str) -> str:
    """A folder for what is removed, without a slash at its end. Raises ValueError."""
    path = _absolute(path)
    _check_normal(path)
    return path


def _marker(path: str) -> str:
    if path.startswith("/"):
        raise ValueError("must be a path below each mount, without a slash in front")
    _check_normal(path)
    return path


def lies_in(path: str, folder: str) -> bool:
    """
    Whether a path is a folder or lies below it; both are without a slash at their end.

    >>> lies_in("/a/b", "/a"), lies_in("/a", "/a"), lies_in("/ab", "/a"), lies_in("/a", "/")
    (True, True, False, True)
    """
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _verify(how: str) -> str:
    """How copies are verified, as it is. Raises ValueError."""
    if how not in ("read-back", "digest") and not SAMPLE(how):
        raise ValueError("must be read-back, digest, or sample=N% with N from 1 to 100")
    return how


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("no time zone: must be like Asia/Seoul or UTC") from error
    return name


def _query(query: str) -> str:
    if not query.strip():
        raise ValueError("is empty")
    return query


class ProjectsTable(Table):
    """
    A tree of directories of projects that end.

    query: gives an id, an absolute path and the day the project ended; NULL while it has not.
    """

    query: Annotated[str, AfterValidator(_query)]


class ProjectTreesTable(Table):
    """
    Which projects ended long enough ago, by the site's own database.

    months: calendar months after the end. upload, result: by project and by task.
    """

    months: Annotated[int, Field(strict=True, ge=0, le=MOST_MONTHS)] = 6
    upload: ProjectsTable | None = None
    result: ProjectsTable | None = None


class GuardsTable(Table):
    """
    What stops a run before it acts.

    max_share: of the bytes of a volume or a group. max_growth: times the bytes of the last run.
    max_failures: units in a row. min_free: left at the target.
    marker: a file below each mount that tells that it is the one that was meant.
    """

    max_share: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.5
    max_growth: Annotated[float, Field(strict=True, ge=1)] = 10
    max_failures: Annotated[int, Field(strict=True, ge=1)] = 10
    min_free: Annotated[ByteSize, Field(ge=0)] = ByteSize(1 << 30)
    marker: Annotated[str, AfterValidator(_marker)] | None = None


class ArchiveTable(Table):
    """
    Where copies go, and how files are acted on.

    target: one URL or several. copies: at how many of them each unit has one. endpoint_url,
    credentials_file: of S3. bin: folders for what is removed, by volume; else `.lurge-bin` below
    its mount. keep_in_bin: days. expires_after: days. system, name: of which names of run files are
    made. workers: files that a process copies at a time. checkpoint_files: written in turn.
    """

    target: tuple[Annotated[str, AfterValidator(_target)], ...] = ()
    copies: Annotated[int, Field(strict=True, ge=1, le=2)] = 1
    endpoint_url: Annotated[str, AfterValidator(endpoint)] | None = None
    credentials_file: File | None = None
    run_dir: File = Path("lurge-data/archive")
    bin: dict[str, Annotated[str, AfterValidator(_bin)]] = {}
    keep_in_bin: Annotated[int, Field(strict=True, ge=0, le=MAX_DAYS)] = 30
    verify: Annotated[str, AfterValidator(_verify)] = "read-back"
    approval: Literal["none", "required"] = "none"
    tombstone: Annotated[bool, Field(strict=True)] = False
    layout: Literal["tree", "packs"] = "tree"
    expires_after: Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS)] = 7
    system: Annotated[str, AfterValidator(_part_of_name)] = "lurge"
    name: Annotated[str, AfterValidator(_part_of_name)] = "archive"
    workers: Annotated[int, Field(strict=True, ge=1, le=64)] = 4
    segment_size: Annotated[ByteSize, Field(ge=LEAST_SEGMENT, le=MOST_SEGMENT)] = ByteSize(1 << 30)
    checkpoint_files: tuple[File, ...] = (
        Path("lurge-data/archive/checkpoint.1.json"),
        Path("lurge-data/archive/checkpoint.2.json"),
    )
    lease_seconds: Annotated[float, Field(strict=True, gt=0, le=MOST_SECONDS)] = 300
    log_dir: File = Path("lurge-data/archive/log")
    log_time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    guards: GuardsTable = GuardsTable()
    projects: ProjectTreesTable = ProjectTreesTable()

    @field_validator("target", mode="before")
    @classmethod
    def _listed(cls, target: object) -> object:
        return [target] if isinstance(target, str) else target

    @field_validator("target")
    @classmethod
    def _apart(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for place, target in enumerate(targets):
            for other in targets[:place]:
                if target == other:
                    raise ValueError("a target stands there twice")
                if lies_in(target, other) or lies_in(other, target):
                    raise ValueError("one target lies in another")
        return targets

    @field_validator("copies")
    @classmethod
    def _enough(cls, copies: int, info: ValidationInfo) -> int:
        targets = info.data.get("target")
        if targets is not None and copies > max(1, len(targets)):
            raise ValueError(f"needs {copies} targets, and there are {len(targets)}")
        return copies

    @field_validator("bin")
    @classmethod
    def _away(cls, bins: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        targets = info.data.get("target", ())
        folders = [url.removeprefix("file://") for url in targets if url.startswith("file://")]
        for volume, folder in bins.items():
            if any(lies_in(folder, other) or lies_in(other, folder) for other in folders):
                raise ValueError(f"that of {volume} is a target, or one lies in the other")
            others = (other for name, other in bins.items() if name != volume)
            if any(lies_in(folder, other) for other in others):
                raise ValueError(f"that of {volume} is, or lies in, that of another volume")
        return bins

    @field_validator("checkpoint_files")
    @classmethod
    def _in_turn(cls, files: tuple[Path, ...]) -> tuple[Path, ...]:
        if len(files) < LEAST_CHECKPOINTS or len({os.path.normpath(file) for file in files}) < len(
            files
        ):
            raise ValueError("must be two files or more, each another: they are written in turn")
        return files


class PseudoGroup(Table):
    """A group of its own for what lies under a path."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    pi: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    gid: Annotated[int, Field(strict=True, ge=0, le=MAX_ID)]


class Config(Table):
    """All of the configuration; without a file, its defaults."""

    wrstat_dir: File = Path("lurge-data/wrstat")
    report_dir: File = Path("lurge-data/reports")
    max_days_ago: Annotated[int, Field(strict=True, ge=0, le=MAX_DAYS)] = 10
    bad_lines_allowed: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.001
    keep: Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS)] = 400
    volume: tuple[VolumeTable, ...] = ()
    database: DatabaseTable = DatabaseTable()
    names: NamesTable = NamesTable()
    quotas: QuotasTable = QuotasTable()
    warnings: WarningsTable = WarningsTable()
    inspector: InspectorTable = InspectorTable()
    candidates: CandidatesTable = CandidatesTable()
    splitter: SplitterTable = SplitterTable()
    pass_: Annotated[PassTable, Field(alias="pass")] = PassTable()
    serve: ServeTable = ServeTable()
    archive: ArchiveTable = ArchiveTable()
    pseudo_groups: dict[Mount, PseudoGroup] = {}
    symlinks: dict[Mount, Mount] = {}

    @field_validator("serve")
    @classmethod
    def _people(cls, serve: ServeTable, info: ValidationInfo) -> ServeTable:
        names = info.data.get("names")
        if serve.auth == "proxy" and names and names.source == "files" and not names.user_file:
            raise ValueError('auth = "proxy" needs names.user_file, which says who people are')
        return serve

    @field_validator("pseudo_groups")
    @classmethod
    def _one_name(cls, groups: dict[str, PseudoGroup]) -> dict[str, PseudoGroup]:
        named: dict[int, PseudoGroup] = {}
        for group in groups.values():
            if named.setdefault(group.gid, group) != group:
                raise ValueError(f"two names or two PIs for gid {group.gid}")
        return groups

    @field_validator("volume")
    @classmethod
    def _distinct(cls, volumes: tuple[VolumeTable, ...]) -> tuple[VolumeTable, ...]:
        for key in ("name", "mount"):
            values = [getattr(volume, key) for volume in volumes]
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"two volumes of one {key}: {', '.join(twice)}")
        return volumes

    @field_validator("volume")
    @classmethod
    def _succeeded(cls, volumes: tuple[VolumeTable, ...]) -> tuple[VolumeTable, ...]:
        successors = {volume.name: volume.successor for volume in volumes}
        for name, successor in successors.items():
            if successor is not None and successor not in successors:
                raise ValueError(
                    f"{successor}, the successor of {name}, has no [[volume]]: add one, or leave "
                    "the successor out"
                )
        for name in successors:
            chain = [name]
            while (successor := successors[chain[-1]]) is not None:
                if successor in chain:
                    circle = ", ".join(chain[chain.index(successor) :])
                    raise ValueError(f"successors go round in a circle: {circle}")
                chain.append(successor)
        return volumes

    @field_validator("archive")
    @classmethod
    def _placed(cls, archive: ArchiveTable, info: ValidationInfo) -> ArchiveTable:
        if "volume" not in info.data:  # wrong itself
            return archive
        mounts = {volume.name: volume.mount for volume in info.data["volume"]}
        for name, folder in archive.bin.items():
            if name not in mounts:
                raise ValueError(f"bin.{name}: there is no [[volume]] of this name: add one")
            if any(lies_in(mount, folder) for mount in mounts.values()):
                raise ValueError(f"bin.{name}: must be a folder of its own, not a mount or above")
        return archive

    def retired(self, day: date) -> frozenset[str]:
        """The names of the volumes that have retired by a day."""
        return frozenset(
            volume.name
            for volume in self.volume
            if volume.retired is not None and volume.retired <= day
        )
