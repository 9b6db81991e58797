"""Processes of their own: to be refused what root is not, to have a full disk, to be killed."""

import os
import subprocess
import sys
from collections.abc import Sequence
from textwrap import dedent

ROOT = os.geteuid() == 0

# Root may read and write everything, unless it gives that up.
REFUSABLE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if ROOT else ()
OWN_MOUNTS = ("unshare", "--mount") if ROOT else ("unshare", "--map-root-user", "--mount")
OWN_HOST = ("unshare", "--uts") if ROOT else ("unshare", "--map-root-user", "--uts")

OLD = ("tagMap", "typeMap")
"""Names by which ldap3's last release, of 2021, imports what is called otherwise now."""


def command(code: str, *arguments: object, within: Sequence[str] = ()) -> list[str]:
    """What runs Python code with arguments; warnings are errors there too, but for ldap3's own."""
    filters = ("-Werror", *(f"-Wignore:{old} is deprecated:DeprecationWarning" for old in OLD))
    return [*within, sys.executable, *filters, "-c", dedent(code), *map(str, arguments)]


def run(code: str, *arguments: object, within: Sequence[str] = (), stdin: bytes = b"") -> str:
    """What the code prints; it must not fail."""
    done = subprocess.run(
        command(code, *arguments, within=within), input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
