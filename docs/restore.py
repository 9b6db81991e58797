#!/usr/bin/env python3
"""
Makes an archived unit again from its manifest and its objects; needs Python 3.9, and no Lurge.

    python3 restore.py MANIFEST OBJECTS DESTINATION

OBJECTS: the folder below which each object lies under its key: that of a posix target, or where the
objects were downloaded to. DESTINATION: a folder that is not there yet. Every digest is compared.
What cannot be made again is told, and the exit status is 1 then.
"""

import base64, contextlib, gzip, hashlib, json, os, stat, sys

SPECIAL = {"F": stat.S_IFIFO, "s": stat.S_IFSOCK, "b": stat.S_IFBLK, "c": stat.S_IFCHR}
told = []


def raw(form):  # the bytes of a name from its text form, which has \\, \t, \n and \xNN
    return form.encode().decode("unicode_escape").encode("latin-1")


def names(path):  # the components of a path that leads nowhere but down
    parts = path.split(b"/") if path else []
    if any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
        sys.exit(f"{path!r} would leave its folder")
    return parts


def entries(manifest):
    with gzip.open(manifest, "rb") as lines:
        next(lines)
        for number, entry in enumerate(map(json.loads, lines)):
            if entry.get("whole"):
                return entry["entries"] == number or sys.exit(f"{manifest} is damaged")
            yield entry
    sys.exit(f"{manifest} is cut short")


@contextlib.contextmanager
def folder(root, parts):  # a handle of a folder, made if need be; links are not followed
    with contextlib.ExitStack() as opened:
        for part in parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=root)
            root = os.open(part, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
            opened.close()  # what is above it
            opened.callback(os.close, root)
        yield root


def fill(out, source, entry):
    step = 4096 if "extents" in entry else 1 << 20  # zeros are left out of a file with holes
    for size, sha256, _ in entry["segments"]:
        digest = hashlib.sha256()
        for at in range(0, size, step):
            chunk = source.read(min(step, size - at))
            digest.update(chunk)
            if "extents" in entry and not chunk.strip(b"\0"):
                out.seek(len(chunk), os.SEEK_CUR)
            else:
                out.write(chunk)
        if digest.hexdigest() != sha256:
            raise ValueError(f"the SHA-256 of {entry['key']} is not {sha256}")
    out.truncate(entry["size"])


def dress(handle, entry):  # owner, attributes, mode, times: each may change those after it
    place, mode = f"/proc/self/fd/{handle}", int(entry["mode"], 8)
    attributes = sorted(entry.get("attributes", ()), key=lambda each: "posix_acl" in each[0])
    values = [(os.setxattr, raw(name), base64.b64decode(value)) for name, value in attributes]
    for which in ("access", "default"):  # what the folder above has given
        with contextlib.suppress(OSError):
            os.removexattr(place, f"system.posix_acl_{which}")
    for act, *facts in [(os.chown, entry["uid"], entry["gid"]), *values]:
        try:
            act(place, *facts)
        except OSError as error:
            told.append(f"{entry['path']}: {act.__name__} {facts[0]}: {error.strerror}")
            mode &= 0o1777  # nobody is to get rights of another owner
    if entry["kind"] != "l":
        os.chmod(place, mode)
    os.utime(place, ns=(entry["atime_ns"], entry["mtime_ns"]))


def make(root, entry, objects):
    *parts, name = names(raw(entry["path"]))
    kind, flags = entry["kind"], os.O_PATH
    with folder(root, parts) as at:
        if "same_as" in entry:
            *parts, first = names(raw(entry["same_as"]))
            with folder(root, parts) as there:
                return os.link(first, name, src_dir_fd=there, dst_dir_fd=at, follow_symlinks=False)
        if kind == "l":
            os.symlink(raw(entry["link"]), name, dir_fd=at)
        elif kind == "f":
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        else:
            os.mknod(name, SPECIAL[kind] | 0o600, entry.get("rdev", 0), dir_fd=at)
        handle = os.open(name, flags | os.O_NOFOLLOW, 0o600, dir_fd=at)
        try:
            if kind == "f" and entry["size"]:
                key = os.path.join(objects.encode(), *names(entry["key"].encode()))
                with open(key, "rb") as source, open(handle, "wb", closefd=False) as out:
                    source.seek(entry.get("offset", 0))
                    fill(out, source, entry)
            dress(handle, entry)
        except (OSError, ValueError, KeyError):
            os.unlink(name, dir_fd=at)
            raise
        finally:
            os.close(handle)


def main(manifest, objects, destination):
    any(False for _ in entries(manifest))  # nothing is made from one that is cut short
    os.makedirs(destination, 0o700)
    root, folders = os.open(destination, os.O_DIRECTORY), []
    for entry in entries(manifest):
        try:
            if entry["kind"] == "d":
                with folder(root, names(raw(entry["path"]))):
                    folders.append(entry)
            else:
                make(root, entry, objects)
        except (OSError, ValueError, KeyError) as error:
            told.append(f"{entry['path']}: {error}")
    for entry in reversed(folders):
        with folder(root, names(raw(entry["path"]))) as handle:
            dress(handle, entry)
    os.sync()
    sys.exit("\n".join(told) or 0)


main(*sys.argv[1:])
