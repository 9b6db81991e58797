from flask import Flask

from lurge.web.site import Site


def add(app: Flask, site: Site) -> None:
    app.add_url_rule("/user", "find_user", lambda: "")
    app.add_url_rule("/user/<int(signed=True):uid>", "user", lambda uid: "")
