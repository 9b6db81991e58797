#!/usr/bin/env python3
"""
How long the names of a site take to be read from a real OpenLDAP, beside its own client's reading.

    bench_names.py [GROUPS [PEOPLE]]
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from servers.openldap import SITE, Openldap, people_and_groups, private_openldap

from lurge_types.config import LdapTable
from utils.ldap_names import LdapNames

ROUNDS = 5


def read_all(server: Openldap) -> None:
    """The same entries by OpenLDAP's own client, in two searches."""
    for branch in ("groups", "people"):
        command = ["ldapsearch", "-x", "-LLL", "-H", server.url, "-E", "pr=500/noprompt"]
        command += ["-b", f"ou={branch},{SITE}", "cn", "uid", "sn", "uidNumber", "gidNumber"]
        subprocess.run([*command, "projectPI"], stdout=subprocess.DEVNULL, check=True)


def best(act: Callable[[], object]) -> float:
    """Seconds of the fastest of some rounds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main(groups: int, people: int) -> None:
    with private_openldap(people_and_groups(groups, people)) as server:
        table = {
            "group_base": f"ou=groups,{SITE}",
            "people_base": f"ou=people,{SITE}",
            "group_pi_attribute": "projectPI",
        }
        plain = LdapTable.model_validate({"url": server.url, **table})
        tls = {"url": server.tls_url, "ca_file": server.ca_file}
        encrypted = LdapTable.model_validate(tls | table)
        alone = best(lambda: read_all(server))
        print(f"{groups} groups, {people} people: best of {ROUNDS} rounds")
        print(f"ldapsearch      {alone:6.2f} s")
        for name, chosen in (("Lurge", plain), ("Lurge, ldaps://", encrypted)):
            since = server.log_size()
            seconds = best(lambda chosen=chosen: LdapNames(chosen))  # type: ignore[misc]
            searches = {words.split(" deref=")[1] for words in server.searches(since)}
            ratio = seconds / alone
            print(f"{name:15} {seconds:6.2f} s, {ratio:.1f} times that, {len(searches)} searches")


if __name__ == "__main__":
    main(*[int(given) for given in sys.argv[1:]] or [5000, 20_000])
