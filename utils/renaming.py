"""
Renaming that never replaces anything: what is there stays there.

Linux can do that in one step, but not on every filesystem. Where it cannot, one of the two folders
must be nobody else's. If that is the one it goes to, it is seen that nothing has the name there,
and it is renamed as usual: a file that takes its old name meanwhile stays. If it is the one it
comes from, a file gets its new name as a second one before it loses the old. A directory is renamed
as usual, which replaces nothing but an empty directory.
"""

import ctypes
import errno
import os
import stat

NOREPLACE = 1
REFUSED = (errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP)

_libc = ctypes.CDLL(None, use_errno=True)


def rename_new(name: bytes, new: bytes, *, from_: int, to: int, into_ours: bool = False) -> None:
    """
    Rename what a folder holds, into a folder or the same, by their handles.

    into_ours: nobody else has a way to the folder that it goes to; else to what it comes from.

    Raises FileExistsError where something has the new name, OSError.
    """
    if renamed_at_once(name, new, from_=from_, to=to):
        return
    if into_ours or stat.S_ISDIR(os.stat(name, dir_fd=from_, follow_symlinks=False).st_mode):
        _see_free(new, to)
        os.rename(name, new, src_dir_fd=from_, dst_dir_fd=to)
        return
    os.link(name, new, src_dir_fd=from_, dst_dir_fd=to, follow_symlinks=False)
    os.unlink(name, dir_fd=from_)


def renamed_at_once(name: bytes, new: bytes, *, from_: int, to: int) -> bool:
    """
    Rename in the one step that replaces nothing, where the filesystem can; whether that is done.

    Raises FileExistsError where something has the new name, OSError.
    """
    if _libc.renameat2(from_, name, to, new, NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code not in REFUSED:
        raise OSError(code, os.strerror(code), name)
    return False


def _see_free(name: bytes, folder: int) -> None:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
