"""Who is a member of what comes from where names do."""

from pathlib import Path
from typing import Any

import pytest

from lurge.sources import members
from lurge_types.config import Config
from lurge_types.names import Member
from utils.config import LDAP_PASSWORD_VARIABLE, ConfigWrong
from utils.ldap_members import LdapMembers
from utils.members import SystemMembers

LDAP = {"url": "ldaps://127.0.0.1:1", "group_base": "ou=g", "people_base": "ou=p"}


def names(**table: Any) -> Config:
    return Config.model_validate({"names": table})


def test_the_system_is_asked_where_nothing_else_is_said() -> None:
    assert isinstance(members(Config()), SystemMembers)


def test_files_are_read(tmp_path: Path) -> None:
    group_file, user_file = tmp_path / "group", tmp_path / "passwd"
    group_file.write_text("team:x:7:ann\n")
    user_file.write_text("ann:x:1:8\n")
    settings = names(source="files", group_file=group_file, user_file=user_file)
    assert members(settings).member("ann") == Member(1, "ann", {7: "team", 8: "gid:8"})
    assert members(names(source="files", group_file=group_file)).member("ann") is None
    group_file.write_text("team\n")
    with pytest.raises(ConfigWrong, match=r"^names\.group_file: .*, line 1: not name:x:gid"):
        members(settings)


def test_a_directory_is_not_asked_before_somebody_comes() -> None:
    assert isinstance(members(names(source="ldap", ldap=LDAP)), LdapMembers)


def test_what_is_wrong_with_a_directory_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(LDAP_PASSWORD_VARIABLE, raising=False)
    with pytest.raises(ConfigWrong, match=r"^names\.ldap\.bind_dn: has no password"):
        members(names(source="ldap", ldap=LDAP | {"bind_dn": "cn=a"}))
    with pytest.raises(ConfigWrong, match=r"^names\.ldap\.ca_file: .*: No such file"):
        members(names(source="ldap", ldap=LDAP | {"ca_file": tmp_path / "ca.pem"}))
