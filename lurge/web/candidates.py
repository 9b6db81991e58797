from flask import Flask

from lurge.web.site import Site


def add(app: Flask, site: Site) -> None:
    app.add_url_rule("/candidates", "candidates", lambda: "")
