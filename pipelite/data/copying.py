"""Copies many files from one place to another: what is there is not sent again, and nothing is there by halves."""

from __future__ import annotations

import os
import posixpath
import queue
import stat
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from pipelite.clock import CLOCK
from pipelite.data.known import KnownDigests, remember
from pipelite.data.locations import Entry, LocalFolder, RemoteFolder, copy_atomically, md5_of_file
from pipelite.fingerprint import digest_file
from pipelite.store import Store, size_text

if TYPE_CHECKING:
    from pipelite.data.datastores import Datastore
    from pipelite.data.staging import Staging

#: Files that are on their way at once where a place is not on this machine.
PARALLEL = 8
#: Seconds between two lines of a progress that is not shown on a terminal.
LINES_EVERY_S = 10.0


@attrs.frozen(kw_only=True)
class Item:
    """A file that is to be copied."""

    #: On the target; a checked path.
    path: str
    size_bytes: int
    #: Where it is on this machine; None for one of another store.
    place: str | None = None
    #: What it is on another store.
    entry: Entry | None = None
    #: blake3 digest of its bytes, if that is known.
    digest: str | None = None


@attrs.frozen(kw_only=True)
class Copied:
    """A file that is there now."""

    item: Item
    #: Whether it was sent, or was there already.
    is_sent: bool
    #: blake3 digest of its bytes; None if it was left as it was without a look, or is not to be verified.
    digest: str | None = None
    #: What its store said of it before and after it was read, if that is the same; and what the target says of it.
    origin: Entry | None = None
    arrived: Entry | None = None


class Copier:
    """Copies files of a datastore, or of this machine, to a datastore.

    Parameters
    ----------
    source : Datastore or None
        Where items come from that have an entry.
    keeps : bool
        Leave a file as it is that is there under the name, whatever its content; else it is replaced unless it is the same.
    verify : bool
        Compare checksums, not only sizes.
    staging : Staging, optional
        Where the files are gathered first, for a target on this machine.
    """

    def __init__(
        self,
        source: Datastore | None,
        target: Datastore,
        *,
        store: Store,
        keeps: bool,
        verify: bool = True,
        staging: Staging | None = None,
    ) -> None:
        self._source = source
        self._target = target
        self._store = store
        self._keeps = keeps
        self._verify = verify
        self._staging = staging
        self._known: KnownDigests
        #: Folders of a local target of which is known that no link leads out.
        self._checked: set[str] = set()

    def run(self, items: Sequence[Item], progress: Progress) -> list[Copied]:
        """Copy all; gives what became of each, in the same order.

        To another store, files whose names begin with `_` are sent when all others are there: such are the marks by which
        readers tell that a folder is complete.

        Raises
        ------
        DatastoreError
            If a store refuses, goes away, or gives other bytes than it should; what was copied before stays.
        """
        items = self._with_digests(items)
        done: dict[str, Copied] = {}
        remote = not self._target.is_local
        self._known = KnownDigests(self._store, self._target, [item.path for item in items] if remote else ())
        for part in _in_order(items) if remote else (items,):
            for copied in self._copy_all(part):
                done[copied.item.path] = copied
                progress.add(copied.item.size_bytes, is_sent=copied.is_sent)
        progress.end()
        return [done[item.path] for item in items]

    def _with_digests(self, items: Sequence[Item]) -> list[Item]:
        """With the digests that are known without reading anything."""
        places = [item.place for item in items if item.place is not None and item.digest is None]
        files = self._store.file_cache.get_many(places) if places else {}
        entries = [item.entry.path for item in items if item.entry is not None]
        objects = KnownDigests(self._store, self._source, entries) if self._source is not None and entries else None
        return [attrs.evolve(item, digest=item.digest or _find_digest(item, files, objects)) for item in items]

    def _copy_all(self, items: Sequence[Item]) -> Iterator[Copied]:
        is_remote = not self._target.is_local or any(item.entry is not None for item in items)
        if not is_remote or len(items) < 2:
            for item in items:
                copied = self._copy(item)
                self._remember([copied])
                yield copied
            return
        for done in _Team(self, items).work():
            self._remember(done)
            yield from done

    def leave(self) -> None:
        """Close the connections that this thread had for itself."""
        for datastore in (self._source, self._target):
            location = None if datastore is None else datastore.location
            if isinstance(location, RemoteFolder) and not location.is_shared:
                location.reconnect()

    def _remember(self, copied: Iterable[Copied]) -> None:
        """Keep the digests at once: who goes on after a death need not read the files to know that they are there."""
        known = []
        for each in copied:
            if each.digest is not None and each.origin is not None and self._source is not None:
                known.append((self._source, each.origin, each.digest))
            if each.digest is not None and each.arrived is not None:
                known.append((self._target, each.arrived, each.digest))
        remember(self._store, known)

    def _copy(self, item: Item) -> Copied:
        if self._target.is_local:
            return self._target.ask(lambda: self._copy_here(item), f"write {item.path!r}")
        return self._copy_there(item)

    # To a folder of this machine.

    def _copy_here(self, item: Item) -> Copied:
        place = self._place(item.path)
        if self._keeps and os.path.exists(place):
            return Copied(item=item, is_sent=False)
        places = [place] if self._staging is None else [place, self._staging.place(item.path)]
        for each in places:
            digest = self._digest_if_same(item, each)
            if digest is not None:
                return Copied(item=item, is_sent=False, digest=digest)
        if item.place is not None:
            digest = copy_atomically(item.place, places[-1], verify=self._verify, digest=item.digest)
            return Copied(item=item, is_sent=True, digest=digest)
        assert self._source is not None
        assert item.entry is not None
        self._source.fetch(item.entry, places[-1])
        origin = self._look_again(item.entry)
        return Copied(item=_measured(item, places[-1]), is_sent=True, digest=digest_file(places[-1]), origin=origin)

    def _place(self, path: str) -> str:
        location = self._target.location
        assert isinstance(location, LocalFolder)
        folder, _, name = path.rpartition("/")
        # The last part is replaced, not followed.
        if folder not in self._checked:
            location.place(folder)
            self._checked.add(folder)
        return os.path.join(location.root, folder, name)

    def _digest_if_same(self, item: Item, place: str) -> str | None:
        """Digest of a file of this machine if it is what the item is."""
        try:
            status = os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(status.st_mode) or status.st_size != item.size_bytes:
            return None
        found = digest_file(place)
        if item.digest is not None:
            return found if found == item.digest else None
        if item.place is not None:
            return found if found == digest_file(item.place) else None
        md5 = item.entry and (item.entry.md5 or item.entry.likely_md5)
        return found if md5 and md5_of_file(place) == md5 else None

    # To another store.

    def _copy_there(self, item: Item) -> Copied:
        there = self._target.find(item.path)
        if there is not None and self._keeps:
            return Copied(item=item, is_sent=False)
        if there is not None and item.digest is not None and self._known.get(there) == item.digest:
            return Copied(item=item, is_sent=False, digest=item.digest)
        if item.place is not None:
            return self._send(item, there, item.place, None)
        assert self._source is not None
        assert item.entry is not None
        with self._temporary_folder() as folder:
            place = os.path.join(folder, "copy")
            self._source.fetch(item.entry, place)
            return self._send(_measured(item, place), there, place, self._look_again(item.entry))

    def _send(self, item: Item, there: Entry | None, place: str, origin: Entry | None) -> Copied:
        digest = item.digest
        if digest is None and (self._verify or there is not None):
            digest = digest_file(place)
        if there is not None and self._is_same(there, place, digest):
            return Copied(item=item, is_sent=False, digest=digest, origin=origin, arrived=there)
        arrived = self._target.put(place, item.path, verify=self._verify)
        if not self._verify:
            return Copied(item=item, is_sent=True)
        return Copied(item=item, is_sent=True, digest=digest, origin=origin, arrived=arrived)

    def _is_same(self, there: Entry, place: str, digest: str | None) -> bool:
        """Whether an object has the bytes of a file of this machine."""
        if there.size_bytes != os.path.getsize(place):
            return False
        known = self._known.get(there)
        if known is not None:
            return known == digest
        if there.md5 or there.likely_md5:
            md5 = md5_of_file(place)
            if md5 == there.likely_md5 or there.md5:
                return md5 in (there.likely_md5, there.md5)
        # Nobody says what is there, so it is looked at.
        with self._temporary_folder() as folder:
            copy = os.path.join(folder, "copy")
            self._target.fetch(there, copy)
            return digest_file(copy) == digest

    def _temporary_folder(self) -> tempfile.TemporaryDirectory[str]:
        # Not on the system's disk for small files, which may be memory.
        return tempfile.TemporaryDirectory(prefix="copy-", dir=self._store.path / "tmp")

    def _look_again(self, entry: Entry) -> Entry | None:
        """The entry, if it stands for the bytes that were read: it was the same before and after."""
        assert self._source is not None
        after = self._source.find(entry.path) if entry.validator is not None else None
        return entry if after is not None and after.validator == entry.validator else None


class _Team:
    """Threads that copy the files of a list, so many at a time."""

    def __init__(self, copier: Copier, items: Sequence[Item]) -> None:
        self._copier = copier
        self._items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Copied | BaseException | None] = queue.SimpleQueue()
        self._is_stopped = False
        for item in items:
            self._items.put(item)
        count = min(PARALLEL, len(items))
        for _ in range(count):
            self._items.put(None)
        # Daemons: Ctrl-C does not wait for files that are on their way.
        self._threads = [
            threading.Thread(target=self._copy, name=f"pipelite-copy-{number}", daemon=True) for number in range(count)
        ]

    def work(self) -> Iterator[list[Copied]]:
        """What is done, as it gets done. The first error ends it, when what is on its way has arrived."""
        for thread in self._threads:
            thread.start()
        working = len(self._threads)
        error: BaseException | None = None
        try:
            while working:
                done = []
                for result in self._take():
                    if result is None:
                        working -= 1
                    elif isinstance(result, Copied):
                        done.append(result)
                    else:
                        self._is_stopped = True
                        error = error or result
                if done:
                    yield done
        finally:
            self._is_stopped = True
        for thread in self._threads:
            thread.join()
        if error is not None:
            raise error

    def _take(self) -> list[Copied | BaseException | None]:
        """All that is there, one at least: it is remembered together."""
        found = [self._results.get()]
        while not self._results.empty():
            found.append(self._results.get())
        return found

    def _copy(self) -> None:
        try:
            while not self._is_stopped and (item := self._items.get()) is not None:
                self._results.put(self._copier._copy(item))
        except BaseException as exc:
            self._results.put(exc)
        finally:
            self._copier.leave()
            self._results.put(None)


class Progress:
    """How far a transfer is, on standard error: one line that changes on a terminal, else one now and then and at the end."""

    def __init__(self, verb: str, n_files: int, *, is_shown: bool) -> None:
        self._verb = verb
        self._total = n_files
        self._is_shown = is_shown
        self._last = CLOCK.monotonic()
        #: How many files were sent, and their size; and how many were there already.
        self.files_sent = self.bytes_sent = self.files_skipped = self.bytes_skipped = 0

    def add(self, size_bytes: int, *, is_sent: bool = True) -> None:
        """One more file is done."""
        if is_sent:
            self.files_sent += 1
            self.bytes_sent += size_bytes
        else:
            self.files_skipped += 1
            self.bytes_skipped += size_bytes
        if self._is_shown and sys.stderr.isatty():
            sys.stderr.write(f"\r{self._text()}")
            sys.stderr.flush()
        elif self._is_shown and CLOCK.monotonic() - self._last >= LINES_EVERY_S:
            self._last = CLOCK.monotonic()
            sys.stderr.write(f"{self._text()}\n")

    def end(self) -> None:
        """All are done."""
        if self._is_shown:
            sys.stderr.write(f"\r{self._text()}\n" if sys.stderr.isatty() else f"{self._text()}\n")

    def _text(self) -> str:
        done, size = self.files_sent + self.files_skipped, self.bytes_sent + self.bytes_skipped
        skipped = f", {self.files_skipped} of them were there already" if self.files_skipped else ""
        return f"{self._verb} {done} of {self._total} files, {size_text(size)}{skipped}"


def list_local(source: Path, *, whose: str) -> list[Item]:
    """A file, or those of a folder by name; `path` is the name relative to the folder.

    Raises
    ------
    DatastoreError
        If a link leads out of the folder.
    FileNotFoundError
        If nothing is there.
    """
    root = os.path.abspath(source)
    if os.path.isfile(root):
        return [Item(path=os.path.basename(root), size_bytes=os.path.getsize(root), place=root)]
    if not os.path.isdir(root):
        raise FileNotFoundError(root)
    entries = LocalFolder(root, name=whose).iter_files("")
    found = [
        Item(path=entry.path, size_bytes=entry.size_bytes, place=os.path.join(root, entry.path)) for entry in entries
    ]
    return sorted(found, key=lambda item: item.path)


def is_path_of_file(target: str, name: str) -> bool:
    """Whether a target is the path that a file is to have, and not a folder to put it in: it ends as the file's name does."""
    last = posixpath.basename(target)
    ending = posixpath.splitext(name)[1]
    return bool(last) and (last == name or (ending != "" and posixpath.splitext(last)[1] == ending))


def _in_order(items: Sequence[Item]) -> Iterator[list[Item]]:
    marks = [item for item in items if posixpath.basename(item.path).startswith("_")]
    yield [item for item in items if not posixpath.basename(item.path).startswith("_")]
    # One after the other, in the order of their names.
    yield from ([item] for item in marks)


def _measured(item: Item, copy: str) -> Item:
    """With the size that it really has: a web server need not say it."""
    return attrs.evolve(item, size_bytes=os.path.getsize(copy))


def _find_digest(item: Item, files: dict[str, tuple[int, int, int, str]], objects: KnownDigests | None) -> str | None:
    if item.entry is not None:
        return None if objects is None else objects.get(item.entry)
    row = files.get(item.place or "")
    if row is None:
        return None
    status = os.stat(item.place or "")
    return row[3] if row[:3] == (status.st_size, status.st_mtime_ns, status.st_ino) else None
