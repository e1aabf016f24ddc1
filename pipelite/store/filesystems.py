"""File systems on which a database that several processes share is not safe."""

from __future__ import annotations

import sys
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")

#: Their locks or shared memory maps do not hold between machines, or not at all.
NETWORK = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "prl_fs",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "fuse.blobfuse",
        "fuse.blobfuse2",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.mountpoint-s3",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "fuse.vmhgfs-fuse",
    }
)


def find_network_file_system(folder: Path, mounts: str | None = None) -> str | None:
    """Return the type of the network file system on which a folder lies; None for a local one, or one unknown.

    Parameters
    ----------
    mounts : str, optional
        The text of Linux's `/proc/self/mountinfo`; read from there by default, and nothing is known elsewhere.
    """
    if mounts is None:
        if sys.platform != "linux":
            return None
        try:
            mounts = _MOUNTS.read_text(errors="replace")
        except OSError:
            return None
    kind, options = _mount_of(str(folder), mounts)
    if kind in NETWORK:
        return kind
    # Windows drives in its Linux subsystem; other uses of 9p map memory as a local file system does.
    return "drvfs" if kind == "9p" and "drvfs" in options else None


def _mount_of(folder: str, mounts: str) -> tuple[str, str]:
    """Type and options of the mount with the longest path above the folder; the later one of two that are equal."""
    longest, found = -1, ("", "")
    for line in mounts.splitlines():
        place, _, source = line.partition(" - ")
        fields, described = place.split(" "), source.split(" ")
        if len(fields) < 5 or len(described) < 3:
            continue
        point = _unescape(fields[4])
        is_above = folder == point or folder.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= longest:
            longest, found = len(point), (described[0], described[2])
    return found


def _unescape(point: str) -> str:
    if "\\" not in point:
        return point
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point
