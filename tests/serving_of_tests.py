"""The server of the pages as it is run, on a free port, and somebody who asks it."""

import http.client
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from site_of_tests import Site

ANYWHERE = '[serve]\nlisten = "127.0.0.1:0"\n'


class Serving:
    """A server that runs, and who asks it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        assert process.stderr
        self.process = process
        self._log: list[str] = []
        self._reader = threading.Thread(target=self._log.extend, args=(process.stderr,))
        self._reader.start()
        self.host = urlsplit(process.stdout.readline().strip()).netloc
        assert self.host, self.stop()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The status and the text of a page."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit status and its log."""
        self.process.send_signal(number)
        status = self.process.wait(60)
        self._reader.join()
        return status, "".join(self._log)


@contextmanager
def serving(site: Site) -> Iterator[Serving]:
    """Start the server and end it, however the test ends."""
    with site.start("serve") as process:
        try:
            yield Serving(process)
        finally:
            process.kill()
