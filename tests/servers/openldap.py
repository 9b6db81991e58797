"""
A private OpenLDAP: a folder and ports of its own, certificates of its own, and nothing left.

Runs as root (the server then as `openldap`) and as an ordinary user. What is stopped may be started
again on the same ports, with what it has stored. A watcher ends it however this process ends: see
`servers/mariadb.py`.
"""

import ipaddress
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from servers.mariadb import SYSTEM_FOLDERS, WATCH, free_port

SITE = "dc=site,dc=example"
ADMIN, READER, LIMITED = (f"cn={name},{SITE}" for name in ("admin", "reader", "limited"))
PASSWORD = "correct horse"
HIDDEN = f"ou=hidden,{SITE}"
"""A branch that nobody sees without a bind."""

SIZE_LIMIT = 500
LIMITED_TO = 30
STARTS_SECONDS = 30

# Numbers below 1.3.6.1.4.1.99999 are nobody's.
SCHEMA = """\
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME 'projectPI'
    EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.3.6.1.4.1.99999.1.2 NAME 'contact'
    EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.1.3 NAME 'looseNumber'
    EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.1.4 NAME 'looseName'
    EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'projectGroup'
    SUP top AUXILIARY MAY ( projectPI $ contact ) )
objectclass ( 1.3.6.1.4.1.99999.2.2 NAME 'loose'
    SUP top STRUCTURAL MAY ( cn $ uid $ sn $ looseNumber $ looseName $ projectPI $ contact ) )
"""

CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
include {root}/site.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {root}/ca.pem
TLSCertificateFile {root}/server.pem
TLSCertificateKeyFile {root}/server.key
TLSVerifyClient never
sizelimit size.soft={limit} size.hard={limit} size.prtotal=unlimited
database mdb
maxsize 268435456
suffix "{site}"
rootdn "{admin}"
rootpw "{password}"
directory {root}/data
dbnosync
index objectClass,uid,cn,gidNumber,uidNumber eq
limits dn.exact="{limited}" size.prtotal={limited_to}
access to attrs=userPassword by * auth
access to dn.subtree="{hidden}" by users read by * none
access to * by * read
"""

START = f"""\
dn: {SITE}
objectClass: dcObject
objectClass: organization
o: site

dn: {HIDDEN}
objectClass: organizationalUnit

dn: {READER}
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: {PASSWORD}

dn: {LIMITED}
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: {PASSWORD}

"""


class OpenldapMissing(Exception):
    """OpenLDAP is not installed."""


class OpenldapFailed(Exception):
    """OpenLDAP does not start or take an entry: what it says."""


class Openldap:
    """
    A server in a folder.

    url, tls_url: where it is, in the clear (with StartTLS for who wants it) and encrypted.
    stranger: the same as tls_url, by an address that its certificate does not name.
    ca_file: who signed that.
    """

    def __init__(
        self, root: Path, watcher: "subprocess.Popen[str]", entries: Iterable[str]
    ) -> None:
        self.port, tls_port = free_port(), free_port()
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.tls_url = f"ldaps://127.0.0.1:{tls_port}"
        self.stranger = f"ldaps://127.0.0.2:{tls_port}"
        self.ca_file = root / "ca.pem"
        self._root = root
        self._watcher = watcher
        self._log = root / "log"
        self._config = root / "slapd.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self._install(entries)

    def start(self) -> None:
        """Start unless it runs, and wait until it answers. Raises OpenldapFailed."""
        if self._process is not None and self._process.poll() is None:
            return
        urls = f"{self.url} {self.tls_url} {self.stranger}"
        command = [program("slapd"), "-d", "stats", "-f", str(self._config), "-h", urls]
        if os.geteuid() == 0:
            command += ["-u", "openldap", "-g", "openldap"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        assert self._watcher.stdin
        self._watcher.stdin.write(f"{self._process.pid}\n")
        self._watcher.stdin.flush()
        deadline = time.monotonic() + STARTS_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise OpenldapFailed(self._log.read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """End it where it stands."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let it keep its connections and answer nobody."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def branch(self, entries: str = "", above: str = SITE) -> str:
        """A new branch with entries, which say BRANCH for its DN; that."""
        name = f"ou={secrets.token_hex(6)},{above}"
        self.add(
            f"dn: {name}\nobjectClass: organizationalUnit\n\n{entries}".replace("BRANCH", name)
        )
        return name

    def add(self, entries: str) -> None:
        """Add what LDIF says."""
        command = ["ldapadd", "-x", "-H", self.url, "-D", ADMIN, "-w", PASSWORD]
        done = subprocess.run(command, input=entries.encode(), capture_output=True, check=False)
        if done.returncode:
            raise OpenldapFailed(done.stderr.decode())

    def log_size(self) -> int:
        """Bytes of the log so far."""
        return self._log.stat().st_size

    def log_since(self, since: int) -> str:
        """The log behind so many bytes."""
        return self._log.read_bytes()[since:].decode(errors="replace")

    def searches(self, since: int) -> list[str]:
        """What it was asked to search, page by page, since its log had so many bytes."""
        lines = self.log_since(since).splitlines()
        return [line.partition(" SRCH base=")[2] for line in lines if " SRCH base=" in line]

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _signal(self, number: int) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def _install(self, entries: Iterable[str]) -> None:
        (self._root / "data").mkdir()
        (self._root / "site.schema").write_text(SCHEMA)
        self._config.write_text(
            CONFIG.format(
                root=self._root,
                site=SITE,
                admin=ADMIN,
                password=PASSWORD,
                limit=SIZE_LIMIT,
                limited=LIMITED,
                limited_to=LIMITED_TO,
                hidden=HIDDEN,
            )
        )
        certify(self._root)
        start = self._root / "start.ldif"
        with start.open("w", encoding="utf-8") as file:
            file.write(START)
            file.writelines(entries)
        command = [program("slapadd"), "-q", "-f", str(self._config), "-l", str(start)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise OpenldapFailed(done.stderr.decode())
        if os.geteuid() == 0:
            for path in (self._root, *self._root.rglob("*")):
                shutil.chown(path, "openldap", "openldap")


def certify(folder: Path) -> None:
    """Put a certificate for localhost and 127.0.0.1 there, and that of whoever signed it."""
    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    signer, subject = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("signer", "server")
    )
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    extensions: dict[str, x509.ExtensionType] = {
        "ca": x509.BasicConstraints(ca=True, path_length=None),
        "server": x509.SubjectAlternativeName(names),
    }
    for name, whose, key in (("ca", signer, authority), ("server", subject, server)):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(whose)
            .issuer_name(signer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(extensions[name], critical=name == "ca")
            .sign(authority, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (folder / f"{name}.pem").write_bytes(pem)
    (folder / "server.key").write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@contextmanager
def private_openldap(entries: Iterable[str] = ()) -> Iterator[Openldap]:
    """
    A server that runs, with entries in LDIF below SITE.

    Raises OpenldapMissing, OpenldapFailed.
    """
    program("slapd")
    root = Path(tempfile.mkdtemp(prefix="lurge-", dir="/tmp"))
    watcher = subprocess.Popen(
        ["sh", "-c", WATCH, str(root)], stdin=subprocess.PIPE, start_new_session=True, text=True
    )
    with watcher:  # its end closes the pipe and waits until the folder has gone
        server = Openldap(root, watcher, entries)
        try:
            server.start()
            yield server
        finally:
            server.kill()


def program(name: str) -> str:
    """
    The path of one of OpenLDAP's programs, which are where only root looks.

    Raises OpenldapMissing.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS))
    found = shutil.which(name, path=path)
    if found is None:
        raise OpenldapMissing(f"{name} is not there: apt-get install slapd ldap-utils")
    return found


def people_and_groups(groups: int, people: int) -> Iterator[str]:
    """Entries in LDIF below SITE: some groups have no PI, some PIs no account."""
    for name in ("groups", "people"):
        yield f"dn: ou={name},{SITE}\nobjectClass: organizationalUnit\n\n"
    for number in range(people):
        account = f"objectClass: posixAccount\nuidNumber: {20_000 + number}\ngidNumber: 100\n"
        account += f"homeDirectory: /home/u{number}\n"
        yield (
            f"dn: uid=u{number},ou=people,{SITE}\nobjectClass: inetOrgPerson\n"
            f"{account if number % 50 else ''}uid: u{number}\n"
            f"cn: User {number}\nsn: Surname{number}\n\n"
        )
    for number in range(groups):
        pi = f"projectPI: uid=u{number % 500},ou=people,{SITE}\n" if number % 7 else ""
        yield (
            f"dn: cn=team{number},ou=groups,{SITE}\nobjectClass: posixGroup\n"
            f"objectClass: projectGroup\ncn: team{number}\ngidNumber: {10_000 + number}\n{pi}\n"
        )
