"""
Where names and quotas come from, as it is configured.

LDAP's library is imported by whoever is to ask a directory: few commands are.
"""

from collections.abc import Callable

from lurge_types.config import Config
from utils import config as config_file
from utils.config import ConfigWrong
from utils.lfs import LfsQuotas
from utils.members import FileMembers, Members, SystemMembers
from utils.names import FileNames, Names, NamesWrong, SystemNames
from utils.quotas import CsvQuotas, FirstThatKnows, Quotas, QuotasWrong


def sources(
    settings: Config, waiting: Callable[[str], None], odd: Callable[[str], None]
) -> tuple[Names, Quotas]:
    """
    Where names and quotas come from. An LDAP directory is read now; it tells why it waits for it,
    and what is odd there.

    Raises ConfigWrong with every problem of both, NamesMissing.
    """
    problems = []
    names: Names = SystemNames()
    quotas: Quotas = FirstThatKnows(())
    table = settings.names.ldap if settings.names.source == "ldap" else None
    password = None
    try:
        if settings.names.source == "files" and settings.names.group_file:
            names = FileNames(settings.names.group_file, settings.names.user_file)
        if table:
            password = config_file.ldap_password(table)
    except (NamesWrong, ConfigWrong) as error:
        problems.append(str(error))
    try:
        quotas = quota_sources(settings)
    except QuotasWrong as error:
        problems.append(str(error))
    if problems:
        raise ConfigWrong("\n".join(problems))
    if table:
        from utils.ldap_names import LdapNames  # noqa: PLC0415 - see the module

        names = LdapNames(table, password=password, waiting=waiting)
        for remark in names.remarks:
            odd(remark)
    return names, quotas


def members(settings: Config) -> Members:
    """
    Where it comes from who is a member of what: from where names do. A directory is not asked yet.

    Raises ConfigWrong.
    """
    table = settings.names
    try:
        if table.source == "files" and table.group_file:
            return FileMembers(table.group_file, table.user_file)
        if table.source == "ldap" and table.ldap:
            from utils.ldap_members import LdapMembers  # noqa: PLC0415 - see the module

            return LdapMembers(table.ldap, password=config_file.ldap_password(table.ldap))
    except NamesWrong as error:
        raise ConfigWrong(str(error)) from error
    return SystemMembers()


def quota_sources(settings: Config) -> Quotas:
    """
    Where quotas come from, in the order in which sources are asked.

    Raises QuotasWrong.
    """
    table = settings.quotas
    pseudo = {group.gid for group in settings.pseudo_groups.values()}
    chain: list[Quotas] = []
    for source in table.source:
        if source == "lfs":
            chain.append(LfsQuotas(table.lfs_timeout, table.limit, left_out=pseudo))
        elif table.csv_file:
            chain.append(CsvQuotas(table.csv_file, [volume.name for volume in settings.volume]))
    return FirstThatKnows(chain)
