"""Setting up: a commented configuration where there is none, and the database's tables."""

from contextlib import suppress
from pathlib import Path

from utils.paths import text

TEMPLATE = """\
# Lurge's configuration. What is commented out shows the default, or an example where there is none.
# Relative paths start from this file's folder. Paths with odd bytes are written as Lurge shows
# them, in single quotes: '\\\\' for a backslash, '\\t' a tab, '\\n' a newline, and '\\xNN' for any
# other byte below 20, 7f, and a byte that is not UTF-8.

# Where the scanner writes its files, and where the TSV files go.
# wrstat_dir = "lurge-data/wrstat"
# report_dir = "lurge-data/reports"

# The newest scan of a volume counts if it is not older than this, in days.
# max_days_ago = 10

# More than 10 bad lines that are also more than this share of all lines fail a volume.
# bad_lines_allowed = 0.001

# Days for which TSV files are kept.
# keep = 400

# The volumes. Without any, every mount that has scans is taken.
# [[volume]]
# name = "scratch123"
# mount = "/lustre/scratch123"
# # Directories in which each group has one of its own name; a file .imirrored in a group's
# # directory marks the group as archived.
# group_directories = ["/lustre/scratch123/hgi/projects"]
# # From this day on no scan of it is expected, and what is stored of it stays. successor: the
# # volume that took its place.
# retired = 2026-01-31
# successor = "scratch124"
# [[volume]]
# name = "scratch124"
# mount = "/lustre/scratch124"

[database]
# SQLite, or mysql+pymysql://user@host/name for MySQL and MariaDB. The password is taken from the
# environment (LURGE_DATABASE_PASSWORD) or from a file that only its owner can read.
# url = "sqlite:///lurge-data/lurge.db"
# password_file = "/etc/lurge/password"
# For how long a database that is away is waited for, in seconds.
# retry_seconds = 300

# For how many days history keeps every day, and for how many more one a week; then it keeps one a
# month, for ever unless monthly says for how many days.
# [database.keep]
# daily = 400
# weekly = 1095
# monthly = 3650

[names]
# "system": the names that this machine knows. "files": a file as `getent group` prints it, and one
# as `getent passwd` does; without that one, users go by their numbers. "ldap": see below.
# source = "system"
# group_file = "group"
# user_file = "passwd"

# An LDAP directory, for source = "ldap". Its groups are those that group_filter finds.
# [names.ldap]
# url = "ldaps://ldap.example.org"
# start_tls = false
# Who signed the server's certificate; default: whom the system trusts.
# ca_file = "/etc/lurge/ca.pem"
# Without a bind_dn it is read anonymously. The password is taken from the environment
# (LURGE_LDAP_PASSWORD) or from a file that only its owner can read.
# bind_dn = "cn=lurge,dc=example,dc=org"
# password_file = "/etc/lurge/ldap-password"
# group_base = "ou=group,dc=example,dc=org"
# group_filter = "(objectClass=posixGroup)"
# group_name_attribute = "cn"
# group_gid_attribute = "gidNumber"
# The attribute of a group that has the logins of its members, for web pages.
# group_member_attribute = "memberUid"
# The attribute of a group that has its PI's DN; without it groups have no PI.
# group_pi_attribute = "owner"
# people_base = "ou=people,dc=example,dc=org"
# people_filter = "(objectClass=posixAccount)"
# people_login_attribute = "uid"
# people_uid_attribute = "uidNumber"
# people_gid_attribute = "gidNumber"
# people_surname_attribute = "sn"
# Entries of a page; for how long the server may be silent, and be waited for, in seconds.
# page_size = 500
# timeout_seconds = 30
# retry_seconds = 60

[quotas]
# "none"; "csv": a file with the header group,volume,limit_bytes,limit_inodes; "lfs": what Lustre
# says, by its program `lfs`; or a list such as ["lfs", "csv"], tried in this order for each group.
# source = "none"
# csv_file = "quotas.csv"
# For how long `lfs` may take for one group, in seconds, and which of its two limits counts.
# lfs_timeout = 10
# limit = "hard"

[warnings]
# A use above this share of the quota in so many days, or before, is of a level: 2 is Kinda OK, 3
# is Not OK. The worst level that applies counts.
# levels = [
#     { days = 3, share = 0.95, level = 3 },
#     { days = 7, share = 0.95, level = 3 },
#     { days = 3, share = 0.85, level = 3 },
#     { days = 7, share = 0.85, level = 2 },
#     { days = 3, share = 0.8, level = 2 },
# ]
# The rate at which a use grows is found from the records of so many days: "robust" by what has
# foretold the group best, "two-point" by the last records alone.
# history_days = 30
# rate = "robust"
# A group whose use fell by more than this share since the last record is marked as suspect.
# suspect_fall = 0.2

[inspector]
# Base directories, that is project directories: what lies under a prefix has its base directory at
# `depth` components of its path. The longest prefix wins, a * stands for anything within one
# component. Default: the first level below each volume's mount.
# base_directories = [{ prefix = "/lustre/scratch123/hgi/projects", depth = 5 }]
# Each directory of a base directory has a row; of these it has one for each directory in them.
# deeper = ["users", "projects"]
# The most rows that a group may have in a base directory; the smallest are folded into one.
# rows_per_base = 10000

# Types of files by the endings of their names, in any case; the longest ending wins.
# [inspector.file_types]
# SAM = [".sam", ".sam.gz"]
# BAM = [".bam"]
# CRAM = [".cram"]
# FASTQ = [".fastq", ".fq"]
# "FASTQ (gzip)" = [".fastq.gz", ".fq.gz"]
# VCF = [".vcf", ".bcf", ".gvcf"]
# "VCF (gzip)" = [".vcf.gz", ".bcf.gz", ".gvcf.gz"]
# PEDBED = [".ped", ".bed", ".ped.gz", ".bed.gz"]

[candidates]
# What could be archived: directories that hold at least so much, of which at least this share was
# not used for so many days (30, 90, 180, 365, 730, 1095, 1825 or 2555).
# min_size = "1 GiB"
# cold_share = 0.95
# cold_after = 180
# What a TiB costs in a month, in any currency.
# cost_per_tib_month = 8.5

[splitter]
# Memory for lines that are not written yet: of each process, or of each rank.
# memory_budget = "1 GiB"
# Days for which the folders of group files are kept.
# keep = 14
# Where the files are sent, and by which server if that is not Amazon's; keys are taken from the
# environment, or from a file in AWS's form that only its owner can read.
# upload = "s3://bucket/prefix"
# endpoint_url = "https://s3.example.org"
# credentials_file = "/etc/lurge/s3"

# What index.tsv says that a tree server needs: seconds_base + lines / lines_per_second, and
# (nodes_base + directories x nodes_per_directory) x bytes_per_node, which depends on how many of
# the lines are directories: [per cent at most, bytes].
# [splitter.build]
# seconds_base = 100
# lines_per_second = 11000
# nodes_base = 50
# nodes_per_directory = 2
# bytes_per_node = [[0.8, 12000], [1.5, 10000], [2, 9000], [4, 8500], [100, 8000]]

[pass]
# Lines of a block, the unit in which a scan is handed out; blocks that a rank is sent at a time;
# threads that read where there are no ranks (default: one for each core).
# block_lines = 250
# blocks_per_message = 16
# threads = 8

[serve]
# Where web pages are served; an IPv6 address stands in brackets, port 0 is any that is free.
# listen = "127.0.0.1:8080"
# "none": whoever gets there, from this machine alone, sees everything. "proxy": whom a proxy that
# is trusted (an address or network of proxies) names in a header sees his groups, and whoever is in
# one of admin_groups sees everything.
# auth = "none"
# user_header = "X-Remote-User"
# proxies = ["192.0.2.1", "2001:db8::/64"]
# admin_groups = ["storage-admins"]
# For how long a person's groups are remembered, in seconds; threads that answer.
# remember_seconds = 300
# threads = 8

[archive]
# Where copies go: file:///DIRECTORY, swift://CONTAINER/PREFIX or s3://BUCKET/PREFIX; one, or a list
# of them, and at how many of these each unit has a copy, 1 or 2. Secrets: for Swift OS_AUTH_URL,
# OS_USERNAME, OS_PASSWORD and the like from the environment; for S3 as for the splitter's upload.
# target = "swift://lurge/archive"
# copies = 1
# endpoint_url = "https://s3.example.org"
# credentials_file = "/etc/lurge/s3"
# Run files, manifests and journals.
# run_dir = "lurge-data/archive"
# For how many days what is removed stays in the bin before it is deleted; 0 deletes at once.
# keep_in_bin = 30
# How copies are verified: "read-back", "digest", or "sample=5%" to read that share of the files.
# verify = "read-back"
# "required": somebody else than its planner has to approve a run. tombstone: a small file in the
# place of what was removed tells where it went. layout: "tree" makes an object of each file,
# "packs" puts small ones together.
# approval = "none"
# tombstone = false
# layout = "tree"
# A run that was not applied for so many days is refused; what its file's name begins with.
# expires_after = 7
# system = "lurge"
# name = "archive"
# Files that are copied at a time; those above segment_size go up in segments of that size or more.
# workers = 4
# segment_size = "1 GiB"
# Two files or more, written in turn: for the night on which the database is lost.
# checkpoint_files = [
#     "lurge-data/archive/checkpoint.1.json",
#     "lurge-data/archive/checkpoint.2.json",
# ]
# For how long the claim on a unit holds when nothing is heard of who has it, in seconds.
# lease_seconds = 300
# Logs tell each time in UTC and in this time zone.
# log_dir = "lurge-data/archive/log"
# log_time_zone = "UTC"

# The folder for what is removed, on the filesystem of its volume; default: .lurge-bin below the
# volume's mount.
# [archive.bin]
# scratch123 = "/lustre/scratch123/.lurge-bin"

# What stops a run before it acts: more than this share of the bytes of a volume or a group, more
# than so many times the bytes of the last run, so many failures in a row, less room than this at
# the target or beside the bin, a mount without the marker, a file below it.
# [archive.guards]
# max_share = 0.5
# max_growth = 10.0
# max_failures = 10
# min_free = "1 GiB"
# marker = ".lurge-mount"

# Projects that ended so many calendar months ago, by the site's own database, whose URL is taken
# from the environment (LURGE_PROJECTS_URL). A query gives an id, an absolute path and the day on
# which the project ended, NULL while it has not: upload for projects, result for tasks.
# [archive.projects]
# months = 6
# [archive.projects.upload]
# query = "SELECT id, upload_path, ended FROM project"
# [archive.projects.result]
# query = "SELECT id, result_path, ended FROM task"

# What lies under a path counts to a group of its own, in the reporter and the inspector.
# [pseudo_groups."/lustre/scratch123/hgi/teams/common"]
# name = "common"
# pi = "Doe"
# gid = 4000000001

# Real path = the path that people use; a * stands for anything within one component.
# [symlinks]
# "/lustre/scratch123/hgi/mdt*/projects" = "/lustre/scratch123/hgi/projects"
"""


class ConfigUnwritable(Exception):
    """The configuration file cannot be written."""


def write_config(path: Path) -> bool:
    """
    Write the commented configuration; False where a file is there, which is left as it is.

    Raises ConfigUnwritable.
    """
    if path.exists():
        return False
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except OSError as error:
        if not isinstance(error, FileExistsError):
            with suppress(OSError):
                path.unlink()
        raise ConfigUnwritable(
            f"{text(bytes(path))} cannot be written: {error.strerror}: give another --config"
        ) from error
    return True
