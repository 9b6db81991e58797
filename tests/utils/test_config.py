"""A configuration is right, or every problem of it is told at once with its file and key."""

import re
import tomllib
from collections.abc import Iterator
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_args

import children
import pytest
from pydantic import BaseModel
from sqlalchemy import make_url

from lurge.init import TEMPLATE, ConfigUnwritable, write_config
from lurge_types.config import (
    Config,
    DatabaseTable,
    KeepTable,
    LdapTable,
    PassTable,
    PseudoGroup,
    ServeTable,
    VolumeTable,
    WarningsTable,
)
from utils.config import (
    CONFIG_VARIABLE,
    LDAP_PASSWORD_VARIABLE,
    PASSWORD_VARIABLE,
    PROJECTS_URL_VARIABLE,
    ConfigWrong,
    find,
    ldap_password,
    password,
    projects_url,
    read,
)

SECRET = "correct-horse"


def config(folder: Path, text: str) -> Config:
    path = folder / "lurge.toml"
    path.write_text(text, "utf-8")
    return read(path)


def problems(folder: Path, text: str) -> list[str]:
    """What is told of a configuration, without the name of its file."""
    with pytest.raises(ConfigWrong) as caught:
        config(folder, text)
    told = str(caught.value).splitlines()
    assert all(line.startswith(f"{folder / 'lurge.toml'}: ") for line in told)
    return [line.removeprefix(f"{folder / 'lurge.toml'}: ") for line in told]


# What is right.


def test_without_a_file_there_are_defaults_below_the_working_directory() -> None:
    found = read(None)
    assert found.wrstat_dir == Path("lurge-data/wrstat")
    assert found.report_dir == Path("lurge-data/reports")
    assert found.database == DatabaseTable(url="sqlite:///lurge-data/lurge.db")
    assert (found.max_days_ago, found.bad_lines_allowed, found.keep) == (10, 0.001, 400)
    assert (found.names.source, found.quotas.source) == ("system", ())
    assert (found.volume, found.pseudo_groups, found.symlinks) == ((), {}, {})


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """
        wrstat_dir = "/w"
        report_dir = "/r"
        max_days_ago = 0
        bad_lines_allowed = 1
        keep = 1
        [[volume]]
        name = "scratch123"
        mount = "/lustre/scratch123/"
        group_directories = ["/lustre/scratch123/projects"]
        [[volume]]
        name = "root"
        mount = "/"
        [database]
        url = "mysql+pymysql://user@host:3307/name"
        password_file = "/p"
        retry_seconds = 0.5
        [database.keep]
        daily = 7
        weekly = 30
        monthly = 0
        [names]
        source = "files"
        group_file = "/g"
        user_file = "/u"
        [quotas]
        source = ["lfs", "csv"]
        csv_file = "/q"
        lfs_timeout = 2.5
        limit = "soft"
        [warnings]
        suspect_fall = 1.0
        [splitter]
        memory_budget = "2 GiB"
        upload = "s3://bucket/prefix"
        [pass]
        block_lines = 1
        threads = 3
        [serve]
        listen = "[::]:0"
        auth = "proxy"
        user_header = "REMOTE-USER"
        proxies = ["10.0.0.1", "2001:db8::/32"]
        admin_groups = ["admins"]
        remember_seconds = 0.5
        threads = 64
        [archive]
        target = ["file:///copies/", "swift://lurge/archive"]
        copies = 2
        verify = "sample=5%"
        tombstone = true
        segment_size = "5 GiB"
        checkpoint_files = ["/c1", "/c2", "/c3"]
        log_time_zone = "Asia/Seoul"
        [archive.bin]
        scratch123 = "/lustre/scratch123/.removed/"
        [archive.guards]
        marker = ".lurge/mount"
        [archive.projects]
        months = 0
        upload.query = "SELECT 1"
        [pseudo_groups."/a/b/"]
        name = "b"
        gid = 4294967295
        [symlinks]
        '/a/caf\\xe9' = "/c"
        """
    assert config(tmp_path, text) == Config.model_validate(
        {
            "wrstat_dir": Path("/w"),
            "report_dir": Path("/r"),
            "max_days_ago": 0,
            "bad_lines_allowed": 1.0,
            "keep": 1,
            "volume": (
                VolumeTable(
                    name="scratch123",
                    mount="/lustre/scratch123",
                    group_directories=("/lustre/scratch123/projects",),
                ),
                VolumeTable(name="root", mount="/"),
            ),
            "database": DatabaseTable(
                url="mysql+pymysql://user@host:3307/name",
                password_file=Path("/p"),
                retry_seconds=0.5,
                keep=KeepTable(daily=7, weekly=30, monthly=0),
            ),
            "names": {"source": "files", "group_file": "/g", "user_file": "/u"},
            "quotas": {
                "source": ["lfs", "csv"],
                "csv_file": "/q",
                "lfs_timeout": 2.5,
                "limit": "soft",
            },
            "warnings": WarningsTable(suspect_fall=1),
            "splitter": {"memory_budget": 2 << 30, "upload": "s3://bucket/prefix"},
            "pass": PassTable(block_lines=1, threads=3),
            "serve": {
                "listen": "[::]:0",
                "auth": "proxy",
                "user_header": "REMOTE-USER",
                "proxies": (ip_network("10.0.0.1/32"), ip_network("2001:db8::/32")),
                "admin_groups": ("admins",),
                "remember_seconds": 0.5,
                "threads": 64,
            },
            "archive": {
                "target": ("file:///copies", "swift://lurge/archive"),
                "copies": 2,
                "verify": "sample=5%",
                "tombstone": True,
                "segment_size": 5 << 30,
                "checkpoint_files": (Path("/c1"), Path("/c2"), Path("/c3")),
                "log_time_zone": "Asia/Seoul",
                "bin": {"scratch123": "/lustre/scratch123/.removed"},
                "guards": {"marker": ".lurge/mount"},
                "projects": {"months": 0, "upload": {"query": "SELECT 1"}},
                "run_dir": tmp_path / "lurge-data/archive",
                "log_dir": tmp_path / "lurge-data/archive/log",
            },
            "pseudo_groups": {"/a/b": PseudoGroup(name="b", gid=4_294_967_295)},
            "symlinks": {"/a/caf\\xe9": "/c"},
        }
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        'wrstat_dir = "wrstat"\n[database]\nurl = "sqlite:///lurge.db"\npassword_file = "p"\n'
        '[names]\nsource = "files"\ngroup_file = "g"\nuser_file = "u"\n'
        '[quotas]\nsource = "csv"\ncsv_file = "q"',
        "[database]\nretry_seconds = 1",
    ],
)
@pytest.mark.parametrize("name", ["site", "an odd %41 name, #1"])
def test_relative_paths_start_from_the_files_folder(text: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    found = config(folder, text)
    database = Path(make_url(found.database.url).database or "")
    files = [found.wrstat_dir, found.report_dir, database, found.database.password_file]
    files += [found.names.group_file, found.names.user_file, found.quotas.csv_file]
    assert all(folder in file.parents for file in files if file is not None)


def test_a_home_is_known_by_its_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    found = config(tmp_path, 'wrstat_dir = "~/w"\n[database]\nurl = "sqlite:///~/d"')
    assert found.wrstat_dir == Path("/home/somebody/w")
    assert found.database.url == "sqlite:////home/somebody/d"


def succession(*chosen: str) -> str:
    """Volumes of one letter, each with its successor behind it, if it has any."""
    return "".join(
        f"[[volume]]\nname = '{each[0]}'\nmount = '/{each[0]}'\n"
        + (f"retired = 2026-01-01\nsuccessor = '{each[1]}'\n" if each[1:] else "")
        for each in chosen
    )


def test_a_volume_counts_as_retired_from_its_day_on(tmp_path: Path) -> None:
    path = tmp_path / "lurge.toml"
    path.write_text(succession("ab", "cb", "bd", "d"), "utf-8")
    config = read(path)
    assert [volume.successor for volume in config.volume] == ["b", "b", "d", None]
    assert config.retired(date(2025, 12, 31)) == set()
    assert config.retired(date(2026, 1, 1)) == {"a", "b", "c"}
    assert config.retired(date(2030, 1, 1)) == {"a", "b", "c"}


# What is wrong.


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = """
        kep = 3
        keep = 0
        max_days_ago = "ten"
        bad_lines_allowed = 2.0
        wrstat_dir = 5
        [[volume]]
        name = "fine"
        mount = "/fine"
        [[volume]]
        name = "a/b"
        mount = "relative"
        group_directories = ["/fine", "relative"]
        retired = "2026-01-01"
        [database]
        url = "postgresql://host/name"
        retry_seconds = -1
        [names]
        source = "files"
        [quotas]
        source = "ldap"
        [warnings]
        suspect_fall = 0
        [pass]
        threads = 0
        block_lines = 100_001
        [pseudo_groups.relative]
        name = ""
        gid = 4294967296
        [symlinks]
        "/real" = "shown"
        [archive]
        target = "ftp://host"
        [archive.bin]
        fine = "relative"
        [archived]
        """
    told = problems(tmp_path, text)
    keys = [line.split(": ")[0] for line in told]
    assert sorted(keys) == sorted(
        [
            *("kep", "keep", "max_days_ago", "bad_lines_allowed", "wrstat_dir", "archived"),
            *("volume.2.name", "volume.2.mount", "volume.2.group_directories.2"),
            *("volume.2.retired", "database.url", "database.retry_seconds", "names.group_file"),
            *("quotas.source", "warnings.suspect_fall", "pass.threads", "pass.block_lines"),
            *("pseudo_groups.relative.[key]", "pseudo_groups.relative.name"),
            *("pseudo_groups.relative.gid", "symlinks./real"),
            *("archive.target.1", "archive.bin.fine"),
        ]
    )
    assert all(reason for _, _, reason in (line.partition(": ") for line in told))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("daily = 6", "database.keep.daily: "),
        ("daily = 7\nweekly = 29", "database.keep.weekly: must be at least 30 where daily is 7: "),
        ("daily = 36\nweekly = 0", "database.keep.weekly: must be at least 1 where daily is 36: "),
        ("weekly = -1", "database.keep.weekly: "),
        ("monthly = -1", "database.keep.monthly: "),
        ('monthly = "ever"', "database.keep.monthly: "),
        ("yearly = 1", "database.keep.yearly: "),
    ],
)
def test_history_is_kept_for_days_that_make_sense(lines: str, problem: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, f"[database.keep]\n{lines}")
    assert line.startswith(problem)


@pytest.mark.parametrize("lines", ["daily = 37\nweekly = 0", "daily = 7\nweekly = 30"])
def test_history_may_be_kept_as_shortly_as_it_can_be_judged(lines: str, tmp_path: Path) -> None:
    assert config(tmp_path, f"[database.keep]\n{lines}").database.keep.monthly is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kep = 3", "kep: unknown key"),
        ("pass_ = {}", "pass_: unknown key"),
        ("[database.kept]\ndaily = 3", "database.kept: unknown key"),
        ("[served]\n[archived]", "served: unknown key\narchived: unknown key"),
        ("[[volume]]\nmount = '/a'", "volume.1.name: Field required"),
        ("[[volume]]\nname = 'a'", "volume.1.mount: Field required"),
        (
            "[[volume]]\nname = 'a'\nmount = 'a'",
            "volume.1.mount: must be an absolute path",
        ),
        (
            "[[volume]]\nname = 'a'\nmount = '/a'\n[[volume]]\nname = 'a'\nmount = '/b'",
            "volume: two volumes of one name: a",
        ),
        (
            "[[volume]]\nname = 'a'\nmount = '/a'\n[[volume]]\nname = 'b'\nmount = '/a/'",
            "volume: two volumes of one mount: /a",
        ),
        *(
            (
                f"[[volume]]\nname = 'a'\nmount = '/a'\nretired = {day}",
                "volume.1.retired: must be a date without quotes, such as 2026-01-31",
            )
            for day in ("'2026-01-01'", "2026-01-01T00:00:00", "20260101", "true")
        ),
        (
            "[[volume]]\nname = 'a'\nmount = '/a'\nsuccessor = 'b'",
            "volume.1.successor: is of no use without retired, the day from which on it counts",
        ),
        (
            "[[volume]]\nname = 'a'\nmount = '/a'\nretired = 2026-01-01\nsuccessor = 'a'",
            "volume.1.successor: is the volume itself: name another [[volume]], or leave it out",
        ),
        (
            "[[volume]]\nname = 'a'\nmount = '/a'\nretired = 2026-01-01\nsuccessor = 'b'",
            "volume: b, the successor of a, has no [[volume]]: add one, or leave the successor out",
        ),
        (succession("xa", "ab", "bc", "ca"), "volume: successors go round in a circle: a, b, c"),
        ("[names]\nsource = 'files'", 'names.group_file: is needed with source = "files"'),
        ("[quotas]\nsource = 'csv'", 'quotas.csv_file: is needed with source = "csv"'),
        ("[quotas]\nsource = ['lfs', 'csv']", 'quotas.csv_file: is needed with source = "csv"'),
        *(
            (
                f"[quotas]\nsource = {source}",
                'quotas.source: must be "none", "lfs", "csv" or a list of the last two',
            )
            for source in ("'nfs'", "['none']", "[['lfs']]", "1")
        ),
        ("[quotas]\nsource = ['lfs', 'lfs']", "quotas.source: a source stands there twice"),
        (
            "wrstat_dir = '~nobody-of-this-name/w'",
            "wrstat_dir: begins with the home of a user whom nobody knows",
        ),
        (
            "[splitter]\nupload = 's3://ab/x'",
            "splitter.upload: must be s3://BUCKET or s3://BUCKET/PREFIX, "
            "the bucket of 3 to 255 letters, digits, dots, - and _",
        ),
        (
            "[splitter]\nendpoint_url = 'https://me:secret@host'",
            "splitter.endpoint_url: "
            "must be like https://host or https://host:port, without a password",
        ),
        (
            "[splitter]\nmemory_budget = '15 MiB'",
            "splitter.memory_budget: Input should be greater than or equal to 16777216",
        ),
        (
            "[splitter.build]\nbytes_per_node = [[4, 1], [2, 1], [100, 1]]",
            "splitter.build.bytes_per_node: "
            "must be [per cent, bytes] pairs, the per cent ascending to 100",
        ),
        ("keep = 365001", "keep: Input should be less than or equal to 365000"),
        ("max_days_ago = 365001", "max_days_ago: Input should be less than or equal to 365000"),
    ],
)
def test_each_problem_is_a_line_with_its_key(text: str, told: str, tmp_path: Path) -> None:
    assert problems(tmp_path, text) == told.splitlines()


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a/b", "/", ".", "..", ".hidden", "a\\tb", "a\\nb", "\\u007f"]
)
def test_a_volume_has_a_name_that_is_a_file_name_and_a_cell(name: str, tmp_path: Path) -> None:
    (told,) = problems(tmp_path, f'[[volume]]\nname = "{name}"\nmount = "/a"')
    assert told.startswith("volume.1.name: ")


@pytest.mark.parametrize(
    "text",
    [
        *("keep = true", "keep = '5'", "keep = 5.0", "max_days_ago = false"),
        *("bad_lines_allowed = '0.1'", "bad_lines_allowed = true", "bad_lines_allowed = nan"),
        *(
            "[database]\nretry_seconds = nan",
            "[pass]\nthreads = '3'",
            "[warnings]\nsuspect_fall=nan",
        ),
        "[pseudo_groups.'/a']\nname = 'a'\ngid = '5'",
    ],
)
def test_nothing_but_a_number_is_a_number(text: str, tmp_path: Path) -> None:
    assert len(problems(tmp_path, text)) == 1


@pytest.mark.parametrize("text", ["keep = ", "keep = 1\nkeep = 2", "[a", "x", "\ufeffkeep = 1"])
def test_what_is_no_toml_is_told(text: str, tmp_path: Path) -> None:
    (told,) = problems(tmp_path, text)
    assert told.startswith("no TOML: ")


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "lurge.toml"
    path.write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigWrong, match="no TOML"):
        read(path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "missing", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigWrong, match=f"^{path}: {why}"):
            read(path)


# The database's address.


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "must be like"),
        ("lurge.db", "must be like"),
        ("postgresql://user@host/name", "must be sqlite:///FILE or mysql+pymysql"),
        ("mysql://user@host/name", "must be sqlite:///FILE or mysql+pymysql"),
        ("mysql+pymysql://user@host", "must be sqlite:///FILE or mysql+pymysql"),
        ("mysql+pymysql://user@host/", "must be sqlite:///FILE or mysql+pymysql"),
        ("sqlite://", "must be sqlite:///FILE or mysql+pymysql"),
        ("sqlite:///", "must be sqlite:///FILE or mysql+pymysql"),
        ("mysql+pymysql://user@host:port/name", "must be like"),
        (f"mysql+pymysql://user:{SECRET}@host/name", "must hold no password"),
        (f"mysql+pymysql://:{SECRET}@host/name", "must hold no password"),
        (f"mysql+pymysql://user:{SECRET}@@/{SECRET}@host/name", "must hold no password"),
        (f"mysql+pymysql://user@host/name?password={SECRET}", "must hold no password"),
        (f"mysql+pymysql://user@host/name?passwd={SECRET}&charset=utf8", "must hold no password"),
        (f"mysql+pymysql://host:{SECRET}/name", "must be like"),
        (f"postgresql://user:{SECRET}@host/name", "must hold no password"),
        (f"user:{SECRET}@host/name", "must be like"),
    ],
)
def test_other_addresses_are_refused_and_no_password_is_echoed(
    url: str, told: str, tmp_path: Path
) -> None:
    (line,) = problems(tmp_path, f"[database]\nurl = '{url}'")
    assert line.startswith(f"database.url: {told}")
    assert SECRET not in line


# The password.


def password_file(folder: Path, mode: int = 0o600, text: bytes = SECRET.encode()) -> DatabaseTable:
    path = folder / "password"
    path.write_bytes(text)
    path.chmod(mode)
    return DatabaseTable(password_file=path)


@pytest.fixture
def _no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


@pytest.mark.usefixtures("_no_password")
@pytest.mark.parametrize("text", [SECRET, f"{SECRET}\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_password_comes_from_a_file_of_its_owner(mode: int, text: str, tmp_path: Path) -> None:
    assert password(password_file(tmp_path, mode, text.encode())) == SECRET


@pytest.mark.usefixtures("_no_password")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777])
def test_a_password_file_that_others_can_use_is_refused(mode: int, tmp_path: Path) -> None:
    table = password_file(tmp_path, mode)
    with pytest.raises(ConfigWrong) as caught:
        password(table)
    assert str(caught.value) == (
        f"database.password_file: others can read {table.password_file}: run chmod 600 on it"
    )


@pytest.mark.usefixtures("_no_password")
def test_a_password_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    missing = DatabaseTable(password_file=tmp_path / "missing")
    with pytest.raises(ConfigWrong, match=r"^database\.password_file: .*missing: No such file"):
        password(missing)
    with pytest.raises(ConfigWrong, match=r"^database\.password_file: .* is no UTF-8 text"):
        password(password_file(tmp_path, text=b"caf\xe9"))


@pytest.mark.usefixtures("_no_password")
def test_there_may_be_no_password() -> None:
    assert password(DatabaseTable()) is None


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_environments_password_goes_before_a_file(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "other")
    assert password(password_file(tmp_path, mode)) == "other"
    assert password(DatabaseTable(password_file=tmp_path / "missing")) == "other"


def test_an_empty_password_in_the_environment_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "")
    assert password(password_file(tmp_path)) == SECRET


# The LDAP directory.

LDAP = """
[names]
source = "ldap"
[names.ldap]
url = "ldaps://ldap.site.example"
group_base = "ou=group,dc=site"
people_base = "ou=people,dc=site"
"""


def ldap_with(lines: str) -> str:
    """A right table with some lines instead of those with the same keys."""
    keys = [line.partition(" =")[0] for line in lines.splitlines()]
    kept = [line for line in LDAP.splitlines() if line.partition(" =")[0] not in keys]
    return "\n".join([*kept, lines])


@pytest.mark.parametrize(
    "lines",
    [
        "",
        'url = "ldap://[::1]:389/"\nbind_dn = "cn=a"\npassword_file = "p"',
        'url = "ldap://127.0.0.9"\nbind_dn = "cn=a"',
        'url = "ldap://localhost"\nbind_dn = "cn=a"',
        'url = "ldap://host"\nstart_tls = true\nca_file = "c"\nbind_dn = "cn=a"',
        'url = "ldaps://host"\nca_file = "c"\nbind_dn = "cn=a"',
        'url = "ldap://host"',
    ],
)
def test_a_directory_is_right(lines: str, tmp_path: Path) -> None:
    table = config(tmp_path, ldap_with(lines)).names.ldap
    assert table is not None
    assert all(tmp_path in file.parents for file in (table.ca_file, table.password_file) if file)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('url = "http://host"', "url: must be like"),
        ('url = "ldap://"', "url: must be like"),
        ('url = "ldap://host:port"', "url: must be like"),
        ('url = "ldap://host:0"', "url: must be like"),
        ('url = "ldap://host:99999"', "url: must be like"),
        ('url = "ldap://host/dc=site"', "url: must be like"),
        (f'url = "ldap://me:{SECRET}@host"', "url: must be like"),
        ("start_tls = true", "start_tls: is for ldap:// alone"),
        ('url = "ldap://host"\nca_file = "c"', "ca_file: is of no use without"),
        ('url = "ldap://host"\nbind_dn = "cn=a"', "bind_dn: its password would cross"),
        ('url = "ldap://127.evil.example"\nbind_dn = "cn=a"', "bind_dn: its password would cross"),
        ('password_file = "p"', "password_file: is of no use without bind_dn"),
        ('bind_dn = "a"', "bind_dn: no distinguished name"),
        ('group_base = ""', "group_base: no distinguished name"),
        ('people_base = "ou=people,"', "people_base: no distinguished name"),
        ('group_filter = "objectClass=*"', "group_filter: no filter"),
        ('people_filter = "(&(uid=*)"', "people_filter: no filter"),
        ('group_pi_attribute = "a b"', "group_pi_attribute: no name of an attribute"),
        ('people_surname_attribute = "sn)(x=*"', "people_surname_attribute: no name of an"),
        ("page_size = 0", "page_size: "),
        ("timeout_seconds = 0.5", "timeout_seconds: "),
        ("retry_seconds = -1", "retry_seconds: "),
        ("filter = 1", "filter: unknown key"),
    ],
)
def test_each_problem_of_a_directory_is_told(lines: str, told: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, ldap_with(lines))
    assert line.startswith(f"names.ldap.{told}")
    assert SECRET not in line


def test_a_directory_is_needed_where_names_come_from_there(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, '[names]\nsource = "ldap"')
    assert line == 'names.ldap: [names.ldap] is needed with source = "ldap"'
    told = problems(tmp_path, '[names]\nsource = "ldap"\n[names.ldap]')
    assert [line.partition(":")[0] for line in told] == [
        *("names.ldap.url", "names.ldap.group_base", "names.ldap.people_base"),
    ]


def directory(folder: Path, mode: int = 0o600, **facts: Any) -> LdapTable:
    """A directory whose password is in a file."""
    path = folder / "ldap-password"
    path.write_text(f"{SECRET}\n")
    path.chmod(mode)
    given = {"url": "ldaps://h", "bind_dn": "cn=a", "password_file": path}
    bases = {"group_base": "ou=g", "people_base": "ou=p"}
    return LdapTable.model_validate(given | bases | facts)


def test_a_directorys_password_comes_from_where_the_databases_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LDAP_PASSWORD_VARIABLE, raising=False)
    assert ldap_password(directory(tmp_path)) == SECRET
    with pytest.raises(ConfigWrong, match=r"^names\.ldap\.password_file: others can read"):
        ldap_password(directory(tmp_path, 0o644))
    monkeypatch.setenv(LDAP_PASSWORD_VARIABLE, "other")
    assert ldap_password(directory(tmp_path, 0o644)) == "other"
    assert ldap_password(directory(tmp_path, bind_dn=None, password_file=None)) is None


def test_a_directory_is_not_asked_as_somebody_without_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LDAP_PASSWORD_VARIABLE, raising=False)
    for table in (directory(tmp_path, password_file=None), directory(tmp_path)):
        (tmp_path / "ldap-password").write_text("\n")
        with pytest.raises(ConfigWrong, match=r"^names\.ldap\.bind_dn: has no password: name"):
            ldap_password(table)


# Web pages.


def served(listen: str, *proxies: str) -> ServeTable:
    return ServeTable.model_validate({"listen": listen, "auth": "proxy", "proxies": proxies})


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("[::1]:0", "::1", 0),
        ("[2001:db8::10]:65535", "2001:db8::10", 65535),
        ("lurge.site.example:443", "lurge.site.example", 443),
        ("localhost:8080", "localhost", 8080),
    ],
)
def test_an_address_to_listen_at_has_a_host_and_a_port(listen: str, host: str, port: int) -> None:
    table = served(listen, "10.0.0.1")
    assert (table.host, table.port) == (host, port)


@pytest.mark.parametrize(
    "listen",
    [
        *("", "8080", ":8080", "localhost", "localhost:", "*:8080", "::1:8080", "[::1]", "[]:1"),
        *("localhost:http", "localhost:65536", "localhost:-1", "localhost: 1", "localhost:\u0661"),
        *("[127.0.0.1]:1", "[localhost]:1", "[::1%lo]:1", "256.0.0.1:1", "127.1:1", "a..b:1"),
        *("http://localhost:1", "me@host:1", "host:1/", " host:1", "a b:1", "[::1]:1:1"),
    ],
)
def test_what_is_no_address_to_listen_at_is_told(listen: str, tmp_path: Path) -> None:
    (told,) = problems(tmp_path, f"[serve]\nlisten = '{listen}'")
    assert told == "serve.listen: must be like 127.0.0.1:8080, [::1]:8080 or name:8080"


@pytest.mark.parametrize(
    "listen", ["localhost:1", "LOCALHOST:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[0::01]:1"]
)
def test_only_this_machine_may_see_everything_unasked(listen: str, tmp_path: Path) -> None:
    lines = "user_header = 'X-User'\nproxies = ['10.0.0.1']\nadmin_groups = ['a']"
    found = config(tmp_path, f"[serve]\nlisten = '{listen}'\n{lines}")
    assert found.serve.auth == "none"


@pytest.mark.parametrize(
    "listen",
    [
        *("0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1", "localhost.evil.example:1"),
        *("site.example:1", "128.0.0.1:1", "[::2]:1"),
    ],
)
@pytest.mark.parametrize("auth", ["", "auth = 'none'"])
def test_others_do_not_see_everything_unasked(listen: str, auth: str, tmp_path: Path) -> None:
    (told,) = problems(tmp_path, f"[serve]\nlisten = '{listen}'\n{auth}")
    assert told == (
        'serve.auth: "none" shows everything to whoever gets there: listen at localhost, '
        '127.0.0.1 or [::1], or set auth = "proxy"'
    )


NO_NETWORK = "must be like 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("auth = 'proxy'", 'proxies: must name at least one with auth = "proxy"'),
        ("auth = 'proxy'\nproxies = []", 'proxies: must name at least one with auth = "proxy"'),
        ("auth = 'basic'", "auth: "),
        *(
            (f"user_header = {name}", "user_header: no name of a header, which has letters,")
            for name in ("''", "'X_User'", "'X-User '", "'X-User:'", "'-'", "'X\u00dc'", '"X\\n"')
        ),
        ("proxies = '10.0.0.1'", "proxies: must be a list: [...]"),
        ("proxies = ['10.0.0.1', 'host']", "proxies.2: no address or network: 'host' does not"),
        ("proxies = ['10.0.0.1/8']", "proxies.1: no address or network: 10.0.0.1/8 has host bits"),
        ("proxies = ['']", "proxies.1: no address or network: '' does not"),
        ("proxies = [1]", f"proxies.1: {NO_NETWORK}"),
        ("proxies = ['fe80::1%eth0']", f"proxies.1: {NO_NETWORK}"),
        ("proxies = ['::ffff:10.0.0.1']", "proxies.1: stands for addresses of IPv4"),
        ("proxies = ['::ffff:10.0.0.0/104']", "proxies.1: stands for addresses of IPv4"),
        ("admin_groups = ['']", "admin_groups.1: "),
        ("admin_groups = [0]", "admin_groups.1: "),
        *(
            (f"remember_seconds = {it}", "remember_seconds: ")
            for it in ("-1", "3601", "nan", "'1'")
        ),
        *((f"threads = {it}", "threads: ") for it in ("0", "65", "1.0", "true")),
        ("port = 8080", "port: unknown key"),
    ],
)
def test_each_problem_of_web_pages_is_told(lines: str, told: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, f"[serve]\n{lines}")
    assert line.startswith(f"serve.{told}")


def test_whom_a_proxy_names_must_be_known_from_somewhere(tmp_path: Path) -> None:
    files = "[names]\nsource = 'files'\ngroup_file = 'g'\n"
    serve = "[serve]\nauth = 'proxy'\nproxies = ['10.0.0.1']"
    assert problems(tmp_path, files + serve) == [
        'serve: auth = "proxy" needs names.user_file, which says who people are'
    ]
    assert config(tmp_path, f"{files}user_file = 'u'\n{serve}").serve.auth == "proxy"
    assert config(tmp_path, files).serve.auth == "none"


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        *(("10.0.0.1", True), ("10.255.0.1", True), ("11.0.0.1", False), ("192.0.2.1", True)),
        *(("192.0.2.2", False), ("::ffff:10.0.0.1", True), ("::FFFF:0a00:0001", True)),
        *(("::ffff:192.0.2.2", False), ("::10.0.0.1", False), ("64:ff9b::10.0.0.1", False)),
        *(("2001:db8::1", True), ("2001:db9::1", False), ("fe80::1%eth0", True), ("::1", False)),
        *(("", False), ("10.0.0.1:80", False), ("10.0.0.1 ", False), ("10.1", False)),
        *(("[2001:db8::1]", False), ("010.0.0.1", False), ("10.0.0.0/8", False), ("host", False)),
        *(("10.0.0.1, 11.0.0.1", False), ("unix", False), ("\x00", False)),
    ],
)
def test_a_proxy_is_trusted_by_its_address(address: str, trusted: bool) -> None:
    table = served("[::]:1", "10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "fe80::/10")
    assert table.trusts(address) is trusted


def test_all_of_ipv6_is_nothing_of_ipv4() -> None:
    assert served("[::]:1", "::/0").trusts("::1")
    assert not served("[::]:1", "::/0").trusts("::ffff:10.0.0.1")
    assert not served("[::]:1", "0.0.0.0/0").trusts("::1")


def test_without_proxies_nobody_is_trusted() -> None:
    assert not ServeTable().trusts("127.0.0.1")


# The archiver.

NO_TARGET = "must be file:///DIRECTORY, swift://CONTAINER or s3://BUCKET"
NO_BUCKET = "must be {0}://BUCKET or {0}://BUCKET/PREFIX, the bucket of 3 to 255 letters, digits,"
NOT_STRAIGHT = "must have no empty, . or .. component and no control character"
VOLUMES = "".join(f"[[volume]]\nname = '{name}'\nmount = '/m/{name}'\n" for name in "ab")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        *(
            (f"target = '{url}'", f"target.1: {NO_TARGET}")
            for url in (
                *("", "/copies", "file://copies", "file:///", "file:////", "file:", "ftp://h/d"),
                *(f"https://me:{SECRET}@host/c", "S3://bucket", " s3://bucket"),
            )
        ),
        ("target = 's3://'", f"target.1: {NO_BUCKET.format('s3')}"),
        ("target = 'swift://ab/x'", f"target.1: {NO_BUCKET.format('swift')}"),
        (f"target = 's3://me:{SECRET}@bucket'", f"target.1: {NO_BUCKET.format('s3')}"),
        (f"target = 'swift://me:{SECRET}@bucket'", f"target.1: {NO_BUCKET.format('swift')}"),
        ("target = 's3://bucket/a/../b'", f"target.1: {NOT_STRAIGHT}"),
        ("target = ['s3://bucket', 'file:///a//b']", f"target.2: {NOT_STRAIGHT}"),
        ("target = 'file:///a/./b'", f"target.1: {NOT_STRAIGHT}"),
        ("target = 'file:///a/..'", f"target.1: {NOT_STRAIGHT}"),
        ('target = "file:///a\\u0007"', f"target.1: {NOT_STRAIGHT}"),
        ("target = 5", "target: must be a list: [...]"),
        ("target = ['s3://bucket', 's3://bucket/']", "target: a target stands there twice"),
        ("target = ['s3://bucket', 's3://bucket/a']", "target: one target lies in another"),
        ("target = ['file:///a/b/c', 'file:///a/b/']", "target: one target lies in another"),
        ("copies = 2", "copies: needs 2 targets, and there are 0"),
        ("target = 's3://bucket'\ncopies = 2", "copies: needs 2 targets, and there are 1"),
        *((f"copies = {it}", "copies: ") for it in ("0", "3", "true", "'1'")),
        ("endpoint_url = 'host'", "endpoint_url: must be like https://host"),
        *((f"keep_in_bin = {it}", "keep_in_bin: ") for it in ("-1", "1.5", "365001")),
        *(
            (
                f"verify = '{how}'",
                "verify: must be read-back, digest, or sample=N% with N from 1 to 100",
            )
            for how in (
                *("", "none", "sample", "sample=5", "sample=0%", "sample=101%", "sample=05%"),
                *("sample=-5%", "sample=5.5%", "sample=\u0665%", "sample=5% ", "Digest"),
            )
        ),
        ("approval = 'yes'", "approval: "),
        ("tombstone = 'yes'", "tombstone: "),
        ("tombstone = 1", "tombstone: "),
        ("layout = 'zip'", "layout: "),
        *((f"expires_after = {it}", "expires_after: ") for it in ("0", "'7'", "365001")),
        *(
            (f"{key} = {name}", f"{key}: must have 1 to 64 letters, digits, dots, - and _")
            for key in ("system", "name")
            for name in ("''", "'a/b'", "'.a'", "'a b'", "'café'", f"'{'a' * 65}'", "'..'")
        ),
        *((f"workers = {it}", "workers: ") for it in ("0", "65", "1.0", "true")),
        ("segment_size = '4 MiB'", "segment_size: Input should be greater than or equal to"),
        ("segment_size = '6 GiB'", "segment_size: Input should be less than or equal to"),
        ("segment_size = 'large'", "segment_size: "),
        *(
            (f"checkpoint_files = {files}", "checkpoint_files: must be two files or more, each")
            for files in ("[]", "['a']", "['a', 'a']", "['a', 'b', './a']", "['a', 'b/../a']")
        ),
        ("checkpoint_files = 'a'", "checkpoint_files: must be a list: [...]"),
        *((f"lease_seconds = {it}", "lease_seconds: ") for it in ("0", "-1", "nan", "'1'")),
        *(
            (
                f"log_time_zone = '{zone}'",
                "log_time_zone: no time zone: must be like Asia/Seoul or UTC",
            )
            for zone in ("", "Seoul", "Asia", "asia seoul", "../UTC", "/etc/localtime", "GMT+9")
        ),
        *((f"guards.max_share = {it}", "guards.max_share: ") for it in ("0", "1.1", "nan")),
        *((f"guards.max_growth = {it}", "guards.max_growth: ") for it in ("0.9", "nan", "'2'")),
        ("guards.max_failures = 0", "guards.max_failures: "),
        ("guards.min_free = '-1'", "guards.min_free: "),
        ("guards.marker = '/mnt/marker'", "guards.marker: must be a path below each mount"),
        *(
            (f"guards.marker = '{path}'", f"guards.marker: {NOT_STRAIGHT}")
            for path in ("", "..", "../a", "a/../b", "a//b", "a/")
        ),
        *((f"projects.months = {it}", "projects.months: ") for it in ("-1", "6.0", "1201")),
        ("projects.upload = {}", "projects.upload.query: Field required"),
        ("projects.upload = 'SELECT 1'", "projects.upload: must be a table: { ... }"),
        ("projects.result.query = ''", "projects.result.query: is empty"),
        ("projects.result.query = ' '", "projects.result.query: is empty"),
        ("projects.upload.sql = 'SELECT 1'\nprojects.upload.query = 'a'", "projects.upload.sql: "),
        ("projects.url = 'sqlite:///a'", "projects.url: unknown key"),
        ("bin = '/b'", "bin: must be a table: { ... }"),
        ("bin.a = 'b'", "bin.a: must be an absolute path"),
        *((f"bin.a = '{path}'", f"bin.a: {NOT_STRAIGHT}") for path in ("/", "/m//b", "/m/a/../b")),
        (
            "target = 'file:///m/a/b'\nbin.a = '/m/a/b'",
            "bin: that of a is a target, or one lies in the other",
        ),
        (
            "target = 'file:///m/a/b/c'\nbin.a = '/m/a/b'",
            "bin: that of a is a target, or one lies in the other",
        ),
        (
            "target = ['s3://bucket', 'file:///m/']\nbin.b = '/m/b/bin'",
            "bin: that of b is a target, or one lies in the other",
        ),
        (
            "bin.a = '/m/a/b'\nbin.b = '/m/a/b'",
            "bin: that of a is, or lies in, that of another volume",
        ),
        (
            "bin.a = '/m/a/b'\nbin.b = '/m/a/b/c'",
            "bin: that of b is, or lies in, that of another volume",
        ),
    ],
)
def test_each_problem_of_the_archiver_is_told(lines: str, told: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, f"{VOLUMES}[archive]\n{lines}")
    assert line.startswith(f"archive.{told}")
    assert SECRET not in line


@pytest.mark.parametrize(
    ("bins", "told"),
    [
        ("c = '/m/c/bin'", "bin.c: there is no [[volume]] of this name: add one"),
        ("a = '/m/a/'", "bin.a: must be a folder of its own, not a mount or above"),
        ("a = '/m/b'", "bin.a: must be a folder of its own, not a mount or above"),
        ("a = '/m'", "bin.a: must be a folder of its own, not a mount or above"),
    ],
)
def test_a_bin_is_a_folder_of_a_volume_that_there_is(bins: str, told: str, tmp_path: Path) -> None:
    assert problems(tmp_path, f"{VOLUMES}[archive.bin]\n{bins}") == [f"archive: {told}"]


def test_problems_of_volumes_are_not_told_again_of_their_bins(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "[[volume]]\nname = 'a'\n[archive.bin]\na = '/m/bin'")
    assert line.startswith("volume.1.mount: ")


@pytest.mark.parametrize(
    "lines",
    [
        "target = 'file:///copies'\nbin.a = '/copies-of-a'",
        "target = ['s3://bucket/a', 's3://bucket/ab', 'swift://bucket/a']\ncopies = 2",
        "verify = 'sample=1%'",
        "verify = 'sample=100%'",
        "bin.a = '/m/a/.lurge-bin'\nbin.b = '/m/b/.lurge-bin'",
        "guards.max_growth = inf",
        "segment_size = '5 MiB'",
    ],
)
def test_an_archiver_is_right(lines: str, tmp_path: Path) -> None:
    assert config(tmp_path, f"{VOLUMES}[archive]\n{lines}").archive != Config().archive


def test_the_database_of_projects_is_told_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PROJECTS_URL_VARIABLE, "sqlite:////office.db")
    assert projects_url() == "sqlite:////office.db"
    for value in ("", None):
        monkeypatch.delenv(PROJECTS_URL_VARIABLE)
        if value is not None:
            monkeypatch.setenv(PROJECTS_URL_VARIABLE, value)
        with pytest.raises(ConfigWrong, match=r"^archive\.projects: set LURGE_PROJECTS_URL"):
            projects_url()


# Which file.


def test_the_given_file_goes_before_the_environments_and_that_before_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    assert find(None) is None
    assert find(Path("given")) == Path("given")
    Path("lurge.toml").touch()
    assert find(None) == Path("lurge.toml")
    monkeypatch.setenv(CONFIG_VARIABLE, "named")
    assert find(None) == Path("named")
    assert find(Path("given")) == Path("given")


# The commented configuration that `lurge init` writes.

COMMENTED = re.compile(r"^# (\[.*\]|[\w\"/*.-]+ = .*|    [{\"].*[}\"],|\])$", re.MULTILINE)


def leaves(table: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a TOML table; a list of tables is its first one."""
    for key, value in table.items():
        item = value[0] if isinstance(value, list) and isinstance(value[0], dict) else value
        if isinstance(item, dict):
            yield from leaves(item, f"{prefix}{key}.")
        else:
            yield prefix + key


def models(annotation: Any) -> list[type[BaseModel]]:
    """The tables that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models(part)]


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a model; what lies behind a key of the user's own has a * for it."""
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        by_path = ".*" if str(field.annotation).startswith("dict") else ""
        inner = [
            leaf for table in models(field.annotation) for leaf in keys(table, f"{key}{by_path}.")
        ]
        yield from inner or [key + by_path]


def uncommented() -> dict[str, Any]:
    return tomllib.loads(COMMENTED.sub(r"\1", TEMPLATE))


def test_the_template_is_all_defaults(tmp_path: Path) -> None:
    assert config(tmp_path, TEMPLATE) == config(tmp_path, "")


def test_the_template_with_every_line_of_it_is_right(tmp_path: Path) -> None:
    found = config(tmp_path, COMMENTED.sub(r"\1", TEMPLATE))
    assert (len(found.volume), len(found.pseudo_groups), len(found.symlinks)) == (2, 1, 1)


def test_the_template_holds_every_key_and_no_other() -> None:
    named = re.compile(r"((pseudo_groups|symlinks)\./|(inspector\.file_types|archive\.bin)\.)[^.]+")
    held = {
        named.sub(lambda found: f"{found[2] or found[3]}.*", leaf) for leaf in leaves(uncommented())
    }
    assert sorted(held) == sorted(keys(Config))


@pytest.mark.parametrize("key", [key for key in keys(Config) if "*" not in key])
def test_what_the_template_shows_is_the_default_where_there_is_one(
    key: str, tmp_path: Path
) -> None:
    shown: Any = config(tmp_path, COMMENTED.sub(r"\1", TEMPLATE))
    default: Any = config(tmp_path, "")
    for part in key.replace("pass.", "pass_.").split("."):
        shown, default = getattr(shown, part, None), getattr(default, part, None)
    assert default in (None, (), shown)


def test_the_template_is_written_where_there_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "lurge.toml"
    assert write_config(path)
    assert path.read_text("utf-8") == TEMPLATE
    path.write_text("keep = 3\n")
    assert not write_config(path)
    assert path.read_text() == "keep = 3\n"


def test_a_configuration_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "lurge.toml"
    with pytest.raises(ConfigUnwritable, match=f"^{path} cannot be written: No such file"):
        write_config(path)


@pytest.mark.parametrize("mode", [0, 0o200])
def test_a_file_without_permission_is_told(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "lurge.toml"
    path.touch(mode)
    printed = children.run(
        """
        import sys
        from pathlib import Path
        from utils.config import ConfigWrong, read

        try:
            read(Path(sys.argv[1]))
        except ConfigWrong as error:
            print(error, end="")
        """,
        path,
        within=children.REFUSABLE,
    )
    assert printed == f"{path}: Permission denied"
