"""What databases say is passed on, but not what they quote from rows and statements."""

import pytest
from sqlalchemy.exc import DBAPIError

from db import dialects

# As MariaDB 10.11 and MySQL 8 say it.
SAID = [
    ("Duplicate entry 'secret' for key 'pi_hash'", "Duplicate entry ... for key 'pi_hash'"),
    ("Duplicate entry 'secret' for key 'pi.pi_hash'", "Duplicate entry ... for key 'pi.pi_hash'"),
    ("Duplicate entry 'se' for key 'cret' for key 'a'", "Duplicate entry ... for key 'a'"),
    ("Duplicate entry 'se\\ncr'et' for key 'a'", "Duplicate entry ... for key 'a'"),
    (
        "Incorrect string value: '\\xE9secret' for column `l`.`pi`.`pi_name` at row 1",
        "Incorrect string value: ... for column `l`.`pi`.`pi_name` at row 1",
    ),
    ("Truncated incorrect DOUBLE value: 'secret'", "Truncated incorrect DOUBLE value: ..."),
    (
        "You have an error in your SQL syntax; check the manual for the right syntax to use near "
        "'secret' at line 1",
        "You have an error in your SQL syntax; check the manual for the right syntax to use near "
        "... at line 1",
    ),
]

KEPT = [
    "Can't connect to MySQL server on '127.0.0.1' ([Errno 111] Connection refused)",
    "Access denied for user 'lurge'@'127.0.0.1' (using password: YES)",
    "DROP command denied to user 'lurge'@'127.0.0.1' for table `lurge`.`pi`",
    "Data too long for column 'group_name' at row 1",
    "The table 'lustre_usage' is full",
    "Unknown database 'nowhere'",
]


def reason(said: str) -> str:
    return dialects.reason(DBAPIError("INSERT secret", ("secret",), Exception(1, said)))


@pytest.mark.parametrize(("said", "passed_on"), SAID)
def test_values_are_left_out(said: str, passed_on: str) -> None:
    assert reason(said) == passed_on


@pytest.mark.parametrize("said", KEPT)
def test_names_of_servers_users_and_tables_are_kept(said: str) -> None:
    assert reason(said) == said
