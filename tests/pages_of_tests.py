"""Web pages as visitors get them: the real application over a real database and files of names."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from servers.nights import DAY
from werkzeug.test import TestResponse

from db.database import Database
from lurge.sources import members
from lurge.web.app import make_app
from lurge.web.site import Site
from lurge.web.visitors import Visitors
from lurge_types.config import Config
from utils.log import open_log

ADMIN, STRANGER = "admin", "nobody_knows"
ADMINS = "storage-admins"


class SiteOfDay(Site):
    """A site for which it is the day of the tests' nights."""

    def today(self) -> date:
        return DAY


@dataclass(frozen=True)
class Pages:
    """The pages of a site; log: what was logged of requests."""

    client: FlaskClient
    log: StringIO

    def ask(self, path: str, user: str | None = ADMIN, **options: Any) -> TestResponse:
        """Ask as somebody; None: the proxy does not say as whom."""
        headers = {"X-Remote-User": user} if user else {}
        return self.client.get(path, headers=headers, buffered=True, **options)

    def page(self, path: str, user: str = ADMIN) -> str:
        """The text of a page that is there."""
        answer = self.ask(path, user)
        assert answer.status_code == 200, answer.text
        return answer.text

    def json(self, path: str, user: str = ADMIN) -> Any:
        """What a program gets."""
        answer = self.ask(f"/api{path}", user)
        assert answer.status_code == 200, answer.text
        return answer.json


def pages(
    database: Database,
    folder: Path,
    people: Mapping[str, tuple[int, tuple[int, ...]]],
    **serve: Any,
) -> Pages:
    """
    The pages of a site with one administrator, `ADMIN`, and some people.

    people: of each login the uid, and the gids of the groups `team<gid>` that they belong to.
    """
    groups = {gid: [] for _, gids in people.values() for gid in gids}  # type: dict[int, list[str]]
    for login, (_, gids) in people.items():
        for gid in gids:
            groups[gid].append(login)
    (folder / "group").write_text(
        f"{ADMINS}:x:999999:{ADMIN}\n"
        + "".join(f"team{gid}:x:{gid}:{','.join(logins)}\n" for gid, logins in groups.items())
    )
    (folder / "passwd").write_text(
        f"{ADMIN}:x:999999:999999\n"
        + "".join(f"{login}:x:{uid}:999998\n" for login, (uid, _) in people.items())
    )
    config = Config.model_validate(
        {
            "names": {
                "source": "files",
                "group_file": folder / "group",
                "user_file": folder / "passwd",
            },
            "serve": {"auth": "proxy", "proxies": ["127.0.0.1"], "admin_groups": [ADMINS]} | serve,
        }
    )
    log = StringIO()
    site = SiteOfDay(config, database, Visitors(config.serve, members(config)))
    return Pages(make_app(site, open_log(log, "tests")).test_client(), log)
