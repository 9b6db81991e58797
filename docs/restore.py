"""
python3 restore.py MANIFEST OBJECTS DESTINATION: makes an archived unit again, without Lurge.

OBJECTS: where each object lies under its key, as in a posix target. DESTINATION: a new folder.
What is not there or has another digest is told, and the exit status is 1 then. Needs Python 3.9.
"""

import base64, contextlib, gzip, hashlib, json, os, stat, sys, zlib

TYPES = dict(zip("fFsbc", (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFCHR)))
len(sys.argv) == 4 or sys.exit(__doc__)
manifest, objects, destination = map(os.path.abspath, sys.argv[1:])


def raw(form):  # the bytes of a name from its text form, which has \\, \t, \n and \xNN
    return form.encode().decode("unicode_escape").encode("latin-1")


def entries():  # what is between the first line, which tells of the unit, and the last
    try:
        next(lines := gzip.open(manifest))
        for number, entry in enumerate(map(json.loads, lines)):
            if entry.get("entries") == number:
                return
            yield entry
    except (OSError, EOFError, StopIteration, ValueError, zlib.error) as error:
        sys.exit(f"{manifest} cannot be read, or is damaged: {error}")
    sys.exit(f"{manifest} is cut short")


def enter(path):  # go to the folder of a path, which is made if need be; its name there
    *way, name = raw(path).split(b"/")
    os.fchdir(root)
    for part in way:
        if part in (b"", b".", b"..") or os.path.islink(part):  # nobody else gets in to swap it
            raise ValueError("would leave its folder")
        os.makedirs(part, 0o700, exist_ok=True)
        os.chdir(part)
    return name or os.fsencode(destination)


def fill(name, entry):  # zeros are left out of a file with holes
    with open(os.path.join(objects, entry["key"]), "rb") as source, open(name, "r+b") as out:
        source.seek(entry.get("offset", 0))
        for size, sha256, _ in entry["segments"]:
            digest = hashlib.sha256()
            for left in range(size, 0, -4096):
                digest.update(chunk := source.read(min(left, 4096)))
                is_hole = "extents" in entry and not chunk.strip(b"\0")
                out.seek(len(chunk), os.SEEK_CUR) if is_hole else out.write(chunk)
            if digest.hexdigest() != sha256:
                raise ValueError(f"the SHA-256 of {entry['key']} is not {sha256}")
        out.truncate(entry["size"])


def dress(name, entry):  # owner, attributes, times, mode: each may change or forbid those after it
    mode, attributes = int(entry["mode"], 8), reversed(entry.get("attributes", []))
    acts = [(os.setxattr, raw(which), base64.b64decode(value)) for which, value in attributes]
    for act, *facts in [(os.chown, entry["uid"], entry["gid"]), *acts]:
        try:
            act(name, *facts, follow_symlinks=False)
        except OSError as error:
            told.append(f"{entry['path']}: {act.__name__} {facts[0]}: {error.strerror}")
            mode &= 0o1777  # nobody is to get rights of another owner
    os.utime(name, ns=(entry["atime_ns"], entry["mtime_ns"]), follow_symlinks=False)
    entry["kind"] == "l" or os.chmod(name, mode)


def make(entry):
    name, kind = enter(entry["path"]), entry["kind"]
    with contextlib.ExitStack() as undo:
        if "same_as" in entry:
            undo.callback(os.close, here := os.open(".", os.O_DIRECTORY))
            return os.link(enter(entry["same_as"]), name, dst_dir_fd=here, follow_symlinks=False)
        if kind == "d":
            return os.makedirs(name, 0o700, exist_ok=not entry["path"]) or folders.append(entry)
        if kind == "l":
            os.symlink(raw(entry["link"]), name)
        else:
            os.mknod(name, TYPES[kind] | 0o600, entry.get("rdev", 0))
        undo.callback(os.unlink, name)
        kind == "f" and entry["size"] and fill(name, entry)
        dress(name, entry)
        undo.pop_all()


any(False for _ in entries())  # nothing is made from one that is cut short
os.path.lexists(destination) and sys.exit(f"{destination} is there already: name a new folder")
os.makedirs(destination, 0o700)
told, folders, root = [], [], os.open(destination, os.O_DIRECTORY)
with contextlib.suppress(OSError):  # what it has from the folder above
    [os.removexattr(root, each) for each in os.listxattr(root) if "posix_acl" in each]
for entry in entries():
    try:
        make(entry)
    except (OSError, ValueError, KeyError) as error:
        told.append(f"{entry['path']}: {error}")
[dress(enter(entry["path"]), entry) for entry in reversed(folders)]
sys.exit(os.sync() or "\n".join(told) or 0)
