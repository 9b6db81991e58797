"""Reading `lurge.toml`, and the secrets that must not stand in it."""

import os
import stat
import tomllib
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from lurge_types.config import Config, DatabaseTable, LdapTable

CONFIG_VARIABLE = "LURGE_CONFIG"
WORDS = {
    "extra_forbidden": "unknown key",
    "date_type": "must be a date without quotes, such as 2026-01-31",
    "tuple_type": "must be a list: [...]",
    "model_type": "must be a table: { ... }",
    "dict_type": "must be a table: { ... }",
}
"""What is said instead of pydantic's words, which are Python's."""

CONFIG_NAME = Path("lurge.toml")
PASSWORD_VARIABLE = "LURGE_DATABASE_PASSWORD"  # noqa: S105 - the name of it
LDAP_PASSWORD_VARIABLE = "LURGE_LDAP_PASSWORD"  # noqa: S105 - the name of it
PROJECTS_URL_VARIABLE = "LURGE_PROJECTS_URL"
IMPORT_PASSWORD_VARIABLE = "LURGE_IMPORT_PASSWORD"  # noqa: S105 - the name of it


class ConfigWrong(Exception):
    """What is wrong with the configuration: every problem a line, with its file and key."""


def find(given: Path | None) -> Path | None:
    """The configuration file to use: the one given, else the environment's, else the folder's."""
    if given is not None:
        return given
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    return CONFIG_NAME if CONFIG_NAME.exists() else None


def read(path: Path | None) -> Config:
    """
    The configuration in a file, or the defaults without one.

    Raises ConfigWrong.
    """
    return read_with_digest(path)[0]


def read_with_digest(path: Path | None) -> tuple[Config, str]:
    """
    The same, and the SHA-256 of the file's bytes: whoever keeps its versions finds the one. Without
    a file that of no bytes.

    Raises ConfigWrong.
    """
    if path is None:
        return Config(), sha256().hexdigest()
    try:
        content = path.read_bytes()
        table = tomllib.loads(content.decode("utf-8"))
        config = Config.model_validate(table, context={"folder": path.parent})
        return config, sha256(content).hexdigest()
    except OSError as error:
        raise ConfigWrong(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigWrong(f"{path}: no TOML: {error}") from error
    except ValidationError as error:
        raise ConfigWrong("\n".join(_problems(path, error))) from error


def _problems(path: Path, error: ValidationError) -> list[str]:
    """One line for each problem; pydantic counts the volumes from 0, people from 1."""
    problems = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part + 1 if isinstance(part, int) else part) for part in problem["loc"])
        reason = problem["msg"].removeprefix("Value error, ")
        reason = WORDS.get(problem["type"], reason)
        problems.append(f"{path}: {key}: {reason}")
    return problems


def password(table: DatabaseTable) -> str | None:
    """
    The database's password, from the environment or from a file that only its owner can read.

    Raises ConfigWrong.
    """
    return _secret(PASSWORD_VARIABLE, "database.password_file", table.password_file)


def import_password() -> str | None:
    """The password of an older database that is imported, from the environment."""
    return os.environ.get(IMPORT_PASSWORD_VARIABLE)


def projects_url() -> str:
    """
    Where the site's own database of projects is, with its password, from the environment.

    Raises ConfigWrong.
    """
    if url := os.environ.get(PROJECTS_URL_VARIABLE):
        return url
    raise ConfigWrong(
        f"archive.projects: set {PROJECTS_URL_VARIABLE} to the URL of the database of projects"
    )


def ldap_password(table: LdapTable) -> str | None:
    """
    The password of the LDAP directory's `bind_dn`, from the same places; None without a `bind_dn`.

    Raises ConfigWrong, also where there is none: a directory may take that for somebody unknown.
    """
    if table.bind_dn is None:
        return None
    secret = _secret(LDAP_PASSWORD_VARIABLE, "names.ldap.password_file", table.password_file)
    if not secret:
        raise ConfigWrong(
            "names.ldap.bind_dn: has no password: name a password_file, "
            f"or set {LDAP_PASSWORD_VARIABLE}"
        )
    return secret


def _secret(variable: str, key: str, file: Path | None) -> str | None:
    """A secret in the environment, else in the file that the configuration has under `key`."""
    if secret := os.environ.get(variable):
        return secret
    if file is None:
        return None
    try:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigWrong(f"{key}: others can read {file}: run chmod 600 on it")
        return file.read_text(encoding="utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise ConfigWrong(f"{key}: {file} is no UTF-8 text") from error
    except OSError as error:
        raise ConfigWrong(f"{key}: {file}: {error.strerror}") from error
