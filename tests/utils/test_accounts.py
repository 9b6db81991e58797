"""Who answers for what is done."""

import os
import pwd
import socket

import pytest

from utils.accounts import accountable

DAEMON = pwd.getpwnam("daemon").pw_uid
HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("uid", "environ", "who"),
    [
        (0, {}, "root"),
        (0, {"SUDO_UID": str(DAEMON), "SUDO_USER": "root"}, "daemon"),
        (0, {"SUDO_UID": "x"}, "root"),
        (DAEMON, {}, "daemon"),
        (DAEMON, {"SUDO_UID": "0", "SUDO_USER": "root"}, "daemon"),
        (4_000_000_000, {}, "uid:4000000000"),
    ],
)
def test_it_is_who_became_root_and_nobody_else_is_believed(
    uid: int, environ: dict[str, str], who: str
) -> None:
    assert accountable(environ, uid) == f"{who}@{HOST}"


def test_it_is_the_user_of_this_process() -> None:
    assert accountable({}) == f"{pwd.getpwuid(os.getuid()).pw_name}@{HOST}"
