"""Identities of files and folders."""

import os
import socket
import time
from pathlib import Path

import pytest
from blake3 import blake3

from pipelite.errors import FingerprintError, UnhashableError
from pipelite.fingerprint import files
from pipelite.fingerprint.files import digest_file, digest_folder, file_identity, identify_path

LONG_AGO = (1_700_000_000, 1_700_000_000)


class MemoryCache:
    def __init__(self):
        self.known = {}
        self.asked = 0

    def get(self, path, size, mtime_ns, inode):
        self.asked += 1
        return self.known.get((path, size, mtime_ns, inode))

    def put(self, path, size, mtime_ns, inode, digest):
        self.known[path, size, mtime_ns, inode] = digest


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data"
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "a.csv").write_text("1")
    (folder / "deep" / "b.csv").write_text("2")
    return folder


def copy_of(folder, place):
    place.mkdir()
    target = place / folder.name
    os.system(f"cp -r {folder} {target}")
    return target


def test_a_file_counts_by_content_and_name_and_not_by_place_or_time(tmp_path):
    (tmp_path / "here").mkdir()
    one, same, renamed = tmp_path / "a.csv", tmp_path / "here" / "a.csv", tmp_path / "b.csv"
    for file in (one, same, renamed):
        file.write_text("1")
    os.utime(same, LONG_AGO)

    assert identify_path(one) == identify_path(same)
    assert identify_path(one) != identify_path(renamed)
    assert identify_path(one) == file_identity("a.csv", blake3(b"1").hexdigest())
    same.write_text("2")
    assert identify_path(one) != identify_path(same)


def test_a_relative_path_is_the_same_file(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("1")
    monkeypatch.chdir(tmp_path)

    assert identify_path(Path("a.csv")) == identify_path(tmp_path / "a.csv")
    assert identify_path(Path()) == identify_path(tmp_path)


def test_a_folder_counts_by_the_names_and_contents_below_it(folder, tmp_path):
    copy = copy_of(folder, tmp_path / "elsewhere")

    assert identify_path(copy) == identify_path(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.csv").write_text("2"),
        lambda folder: (folder / "a.csv").rename(folder / "c.csv"),
        lambda folder: (folder / "a.csv").rename(folder / "deep" / "a.csv"),
        lambda folder: (folder / "new").touch(),
        lambda folder: (folder / "deep" / "empty").rmdir(),
        lambda folder: (folder / "deep" / "b.csv").unlink(),
    ],
)
def test_any_change_below_a_folder_counts(folder, change):
    before = identify_path(folder)

    change(folder)

    assert identify_path(folder) != before


def test_a_link_counts_as_what_it_leads_to(folder, tmp_path):
    (tmp_path / "outside").write_text("3")
    copy = copy_of(folder, tmp_path / "elsewhere")
    (folder / "c").write_text("3")
    (copy / "c").symlink_to(tmp_path / "outside")

    assert identify_path(copy) == identify_path(folder)


def test_links_in_a_circle_and_to_nowhere_end(folder):
    (folder / "deep" / "up").symlink_to("..")
    (folder / "nowhere").symlink_to("gone")
    (folder / "itself").symlink_to("itself")
    before = digest_folder(folder)

    (folder / "nowhere").unlink()

    assert digest_folder(folder) != before


def test_a_missing_path_is_an_error_that_names_it_and_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UnhashableError, match=f"'bikes.csv' does not exist.*{tmp_path}"):
        identify_path(Path("bikes.csv"))


def test_a_special_file_is_an_error_alone_and_in_a_folder(tmp_path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))

        for path in (tmp_path, tmp_path / "s"):
            with pytest.raises(UnhashableError, match="neither a file nor a folder"):
                identify_path(path)


def test_an_unchanged_file_is_read_once(tmp_path, monkeypatch):
    file, cache = tmp_path / "a", MemoryCache()
    file.write_text("1")
    os.utime(file, LONG_AGO)
    first = digest_file(file, cache)
    monkeypatch.setattr(files, "_digest_once", None)

    assert digest_file(file, cache) == first


def test_a_file_that_was_just_written_is_read_every_time(tmp_path):
    file, cache = tmp_path / "a", MemoryCache()
    file.write_text("1")
    os.utime(file, ns=(time.time_ns(), time.time_ns()))
    digest_file(file, cache)
    assert (cache.asked, cache.known) == (0, {})


def test_a_changed_file_is_read_again(tmp_path):
    file, cache = tmp_path / "a", MemoryCache()
    file.write_text("1")
    os.utime(file, LONG_AGO)
    before = digest_file(file, cache)

    file.write_text("2")

    assert digest_file(file, cache) != before


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_text("1")
    read_once, reads = files._digest_once, []

    def changed_during_the_first(path):
        found = read_once(path)
        reads.append(path)
        if len(reads) == 1:
            file.write_text("longer")
            return found[0], os.stat(path)
        return found

    monkeypatch.setattr(files, "_digest_once", changed_during_the_first)

    assert digest_file(file) == blake3(b"longer").hexdigest()


def test_a_file_that_never_stops_changing_is_an_error(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.touch()
    read_once = files._digest_once

    def growing(path):
        with open(path, "a") as writing:
            writing.write("x")
        return read_once(path)

    monkeypatch.setattr(files, "_digest_once", growing)

    with pytest.raises(FingerprintError, match="changed while it was read"):
        digest_file(file)


def test_a_file_name_that_is_no_text_has_an_identity(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    path.write_text("1")

    assert identify_path(path).encode()
    assert identify_path(tmp_path).encode()
