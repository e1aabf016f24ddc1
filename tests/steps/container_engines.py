"""A container engine that works here, with an image made of this machine's own Python: no registry is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import blake3

IMAGE, WITHOUT_PYTHON = "localhost/pipelite-tests", "localhost/pipelite-tests-bare"
_LEFT_OUT = shutil.ignore_patterns(
    "test", "tests", "__pycache__", "site-packages", "dist-packages", "config-*", "idlelib"
)
#: For podman without systemd, and in a container itself.
_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
{runtime}
"""
_STORAGE_CONF = """
[storage]
driver = "vfs"
graphroot = "{folder}/images"
runroot = "{folder}/running"
"""


def configure_podman(folder: Path) -> dict[str, str]:
    """Variables with which podman keeps everything in a folder."""
    runtime = 'runtime = "runc"' if shutil.which("runc") else ""
    (folder / "containers.conf").write_text(_CONTAINERS_CONF.format(runtime=runtime))
    (folder / "storage.conf").write_text(_STORAGE_CONF.format(folder=folder))
    return {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }


def make_images(engine: str, folder: Path) -> str | None:
    """Import the images, and run one; gives why that does not work, if it does not."""
    for name, programs in (
        (WITHOUT_PYTHON, ["/bin/sh", "/bin/sleep"]),
        (IMAGE, ["/bin/sh", "/bin/sleep", sys.executable]),
    ):
        archive = folder / "image.tar"
        _write_archive(archive, folder / name.partition("/")[2], programs)
        done = subprocess.run([engine, "import", archive, name], capture_output=True, text=True, timeout=120)
        if done.returncode:
            return done.stderr.strip()
    command = [engine, "run", "--rm", "--network", "none", IMAGE, "python3", "-c", "print('here')"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return None if done.stdout == "here\n" else done.stderr.strip()


def _write_archive(archive: Path, root: Path, programs: list[str]) -> None:
    files = [path for program in programs for path in (program, *_libraries_of(os.path.realpath(program)))]
    if sys.executable in programs:
        library = sysconfig.get_path("stdlib")
        shutil.copytree(library, f"{root}{library}", ignore=_LEFT_OUT, ignore_dangling_symlinks=True)
        # What is compiled needs the system's libraries, as every image with a Python has them.
        loaded = [*Path(library, "lib-dynload").glob("*.so"), *Path(blake3.__file__).parent.glob("*.so")]
        files += [path for each in loaded for path in _libraries_of(str(each))]
        real = os.path.realpath(sys.executable)
        files.append(real)
        (root / "usr/local/bin").mkdir(parents=True)
        (root / "usr/local/bin/python3").symlink_to(real)
    for path in dict.fromkeys(files):
        if path != sys.executable:
            target = Path(f"{root}{path}")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(os.path.realpath(path), target)
    for name in ("tmp", "etc"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    with tarfile.open(archive, "w") as tar:
        tar.add(root, arcname=".")


def _libraries_of(path: str) -> Iterator[str]:
    said = subprocess.run(["ldd", path], capture_output=True, text=True, timeout=30).stdout
    yield from re.findall(r"(/\S+) \(0x", said)
