"""Which person answers for what a process does."""

import os
import pwd
import socket
from collections.abc import Mapping

ROOT = 0


def accountable(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> str:
    """
    user@host: the user whom this process belongs to; of root, who became it by sudo.

    sudo's variables are believed of root alone: anybody else could set them to be somebody else.
    So whoever acts as an account that several share is that account, and not two persons.
    """
    uid = os.getuid() if uid is None else uid
    before = environ.get("SUDO_UID", "")
    if uid == ROOT and before.isdecimal() and before.isascii():
        uid = int(before)
    return f"{_name(uid)}@{socket.gethostname()}"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid:{uid}"
