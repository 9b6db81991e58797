from flask import Flask

from lurge.web.site import Site


def add(app: Flask, site: Site) -> None:
    app.add_url_rule("/group/<volume>/<int(signed=True):gid>", "group", lambda volume, gid: "")
