"""
All servers of one Swift in one process, which Debian's Python runs: it alone knows Swift.

Arguments: the folder in which all is, and the ports of the proxy, memcached, and the account,
container and object servers. `<folder>/device` holds what is stored. What the three servers need
of each other is found by rings, which are made here: one device, one copy.
"""

import os
import sys
from pathlib import Path

import eventlet
import eventlet.wsgi
from swift.common import utils, wsgi
from swift.common.ring import RingBuilder

KINDS = ("account", "container", "object")

COMMON = """
[DEFAULT]
swift_dir = {root}
devices = {root}
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_address = {root}/nowhere
# A machine may be busy.
conn_timeout = 30
node_timeout = 60
container_update_timeout = 30
"""

BACKEND = """
[pipeline:main]
pipeline = server
[app:server]
use = egg:swift#{kind}
"""

PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing s3api tempauth container-quotas slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# After an error, ask the server again at once.
error_suppression_interval = 0
[filter:tempauth]
use = egg:swift#tempauth
user_test_writer = hush-hush .admin
user_test_reader = hush-hush
[filter:s3api]
use = egg:swift#s3api
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
connect_timeout = 10
io_timeout = 10
[filter:slo]
use = egg:swift#slo
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing]
use = egg:swift#listing_formats
[filter:container-quotas]
use = egg:swift#container_quotas
"""


def not_synced(fd: object) -> None:
    """Tests need no power cut: a server that is killed loses nothing."""


def make_ring(root: Path, kind: str, port: int) -> None:
    builder = RingBuilder(part_power=2, replicas=1, min_part_hours=0)
    here = {"ip": "127.0.0.1", "port": port, "device": "device"}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1, **here})
    builder.rebalance()
    builder.get_ring().save(str(root / f"{kind}.ring.gz"))


def serve(root: Path, name: str, text: str, port: int) -> eventlet.greenthread.GreenThread:
    file = root / f"{name}.conf"
    file.write_text(text)
    return eventlet.spawn(
        eventlet.wsgi.server,
        eventlet.listen(("127.0.0.1", port)),
        wsgi.loadapp(str(file), {"log_name": name}),
        log_output=False,
        protocol=wsgi.SwiftHttpProtocol,
        capitalize_response_headers=False,  # S3 clients want `ETag`
    )


def main(folder: str, proxy: int, memcached: int, *ports: int) -> None:
    root = Path(folder)
    (root / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = t\n")
    utils.set_swift_dir(str(root))  # Debian's servers look into /etc/swift
    utils.eventlet_monkey_patch()
    os.fsync = os.fdatasync = not_synced
    common = COMMON.format(root=root)
    for kind, port in zip(KINDS, ports, strict=True):
        make_ring(root, kind, port)
        serve(root, kind, common + BACKEND.format(kind=kind), port)
    serve(root, "proxy", common + PROXY.format(memcached=memcached), proxy).wait()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
