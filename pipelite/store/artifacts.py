"""The stored outputs of steps: immutable files below `artifacts/`, named by the digest of their bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipelite.errors import ArtifactError, SerializationError, UnhashableError
from pipelite.fingerprint.arrays import array_identity, npy_header
from pipelite.fingerprint.digests import digest
from pipelite.fingerprint.files import digest_file, digest_folder
from pipelite.fingerprint.modules import qualified_name
from pipelite.records import ArtifactRef
from pipelite.store import disk
from pipelite.store.containers import load_pickle, save_pickle
from pipelite.store.npy import load_array, save_array
from pipelite.store.parts import PARTS, load_parts
from pipelite.store.paths import CannotTake, describe, forbid_writing, iter_files, remove_tree, set_read_only, take
from pipelite.store.serializers import (
    Serializer,
    decode_plain,
    decode_scalar,
    encode_plain,
    encode_scalar,
    find_serializer,
    get_serializer,
    kind_of,
)
from pipelite.store.sink import HashingFile
from pipelite.store.stuck import Stuck, ended_when_stuck
from pipelite.store.unstorable import explain

Identify = Callable[[Any], str]

#: Pickled kinds share one format; the kind tells what is in it.
_PICKLED = ("pickle", "dataframe", "estimator")

#: A folder with more files than this is not measured on every use; its digest is looked at by `verify`.
_MEASURED_FILES = 1000


class ArtifactStore:
    """Puts values into a workspace and gives them back. Any number of processes may do so at once.

    What is below `artifacts/` is complete from the moment it is there, and never changes: it is written under a
    temporary name first.
    """

    def __init__(self, root: Path, *, prefix: Callable[[], str] = str) -> None:
        """Use the artifacts of a workspace; `prefix` gives what names of those on their way to theirs begin with."""
        self._artifacts = Path(root) / "artifacts"
        self._temporary = Path(root) / "tmp"
        self._prefix = prefix

    def put(
        self, value: Any, *, output: str, step: str, identify: Identify, scratch: Path | None = None
    ) -> ArtifactRef:
        """Store a value.

        Parameters
        ----------
        output, step : str
            For error messages.
        identify : function
            Gives the identity of a value, or raises UnhashableError; then that of the stored bytes is taken.
        scratch : Path, optional
            Folder of the step: a path below it is moved into the store, any other copied.

        Raises
        ------
        SerializationError
            If the value cannot be stored; nothing is left behind.
        StorageError
            If the disk cannot take it; nothing is left behind.
        """
        try:
            return self._put(value, output=output, step=step, identify=identify, scratch=scratch)
        except OSError as exc:
            disk.tell(exc)

    def _put(self, value: Any, *, output: str, step: str, identify: Identify, scratch: Path | None) -> ArtifactRef:
        with contextlib.suppress(UnhashableError):
            for kind, encode in (("json", encode_plain), ("scalar", encode_scalar)):
                text = encode(value)
                if text is not None:
                    return _inline_ref(value, kind, text, identify(value))
        serializer = find_serializer(value)
        if serializer is not None:
            return self._put_registered(value, serializer, output=output, step=step, identify=identify)
        kind = kind_of(value)
        if kind == "path":
            return self._put_path(value, output=output, step=step, scratch=scratch)
        if kind == "npy":
            header = npy_header(value)
            if header is not None:
                return self._put_array(value, header)
            kind = "pickle"
        return self._put_pickled(value, kind, output=output, step=step, identify=identify)

    def load(self, ref: ArtifactRef) -> Any:
        """The stored value; a file or folder as its read-only path.

        Raises
        ------
        ArtifactError
            If it is missing or damaged, or its classes are not there any more.
        """
        if ref.kind == PARTS and ref.inline is not None:
            return load_parts(ref.inline, self.load)
        if ref.inline is not None:
            return decode_scalar(ref.inline) if ref.kind == "scalar" else decode_plain(ref.inline)
        path = self.path(ref)
        try:
            if ref.kind == "npy":
                return load_array(path)
            if ref.kind in _PICKLED:
                return load_pickle(path)
            if ref.kind in ("file", "folder"):
                path.stat()
                return path
            return self._serializer(ref).load(path)
        except ArtifactError:
            raise
        except FileNotFoundError as exc:
            raise ArtifactError(f"{_describe(ref)} is missing; the next run computes it again") from exc
        except Exception as exc:  # A damaged pickle may raise anything.
            raise ArtifactError(
                f"{_describe(ref)} cannot be loaded ({type(exc).__name__}: {exc}); either it is damaged, which "
                "`pipelite doctor` tells, or a class or package that it needs is not there any more"
            ) from exc

    def path(self, ref: ArtifactRef) -> Path:
        """Where the file or folder is.

        Raises
        ------
        ArtifactError
            If it has none, because it is kept in its row.
        """
        if ref.path is None:
            raise ArtifactError(f"{_describe(ref)} has no file: it is small and kept in the database")
        return self._artifacts / ref.path

    def is_intact(self, ref: ArtifactRef) -> bool:
        """Whether it is there with the size and time it was stored with; quick, for every use."""
        if ref.inline is not None:
            return True
        path = self.path(ref)
        try:
            if ref.kind == "folder":
                return _has_size(path, ref.size_bytes)
            status = os.stat(path)
        except OSError:
            return False
        return (status.st_size, status.st_mtime_ns) == (ref.size_bytes, ref.mtime_ns)

    def verify(self, ref: ArtifactRef) -> bool:
        """Whether its bytes are those that were stored; reads all of them, and unpickles nothing."""
        if ref.inline is not None:
            return True
        path = self.path(ref)
        try:
            found = digest_folder(path) if ref.kind == "folder" else digest_file(path)
        except (OSError, UnhashableError):
            return False
        return found == ref.file_digest

    def remove(self, ref: ArtifactRef) -> None:
        """Remove its file or folder; nothing happens if it is gone."""
        if ref.path is not None:
            path = self._artifacts / ref.path
            remove_tree(path.parent if ref.kind in ("file", "folder") else path)

    def _put_array(self, value: Any, header: bytes) -> ArtifactRef:
        with self.temporary_path() as path:
            with HashingFile(path) as file:
                save_array(value, header, file)
                content = file.hexdigest()
            return self._install(path, value, "npy", content, identity=array_identity(content), suffix=".npy")

    def _put_pickled(self, value: Any, kind: str, *, output: str, step: str, identify: Identify) -> ArtifactRef:
        with self.temporary_path() as path:
            with HashingFile(path) as file:
                try:
                    with ended_when_stuck(lambda: file.written_bytes):
                        save_pickle(value, file)
                        identity = _identity(value, identify)
                except (Exception, Stuck) as exc:
                    if exc is file.error:
                        raise
                    raise explain(value, exc, step=step, output=output) from exc
                content = file.hexdigest()
            return self._install(path, value, kind, content, identity=identity or f"pickle#{content}", suffix=".pickle")

    def _put_registered(
        self, value: Any, serializer: Serializer, *, output: str, step: str, identify: Identify
    ) -> ArtifactRef:
        with self.temporary_path() as path:
            try:
                with ended_when_stuck(lambda: path.stat().st_size if path.exists() else 0):
                    serializer.save(value, path)
                    identity = _identity(value, identify)
                content = digest_file(path)
            except (Exception, Stuck) as exc:
                if isinstance(exc, OSError) and exc.errno in disk.REASONS:
                    raise
                raise explain(value, exc, step=step, output=output) from exc
            set_read_only(path)
            return self._install(
                path, value, serializer.name, content, identity=identity or f"{serializer.name}#{content}"
            )

    def _put_path(self, value: Path, *, output: str, step: str, scratch: Path | None) -> ArtifactRef:
        source = Path(os.path.abspath(value))
        known = self._stored_path(source)
        if known is not None:
            return known
        move = scratch is not None and Path(scratch).resolve() in source.resolve().parents
        with self.temporary_path() as folder:
            folder.mkdir()
            try:
                taken = take(source, folder / source.name, move=move)
            except CannotTake as exc:
                raise SerializationError(
                    f"step {step!r}, output {output!r}: a value of type {qualified_name(type(value))!r} cannot be "
                    f"stored: {exc}",
                    step=step,
                    output=output,
                    type_name=qualified_name(type(value)),
                ) from exc
            name = digest("path", taken.identity.encode())
            target = self._artifacts / name[:2] / name
            if target.exists() and not self._holds(target / source.name, taken.kind, taken.digest):
                with self.temporary_path() as damaged:
                    os.chmod(target, 0o700)
                    os.rename(target, damaged)
            if not target.exists():
                _rename_into_place(folder, target)
                forbid_writing(target)
            return self._path_ref(target / source.name, taken.kind)

    def _stored_path(self, source: Path) -> ArtifactRef | None:
        """The artifact that a path is already: a step may return what it was given."""
        if not source.is_relative_to(self._artifacts.absolute()):
            return None
        parts = source.relative_to(self._artifacts.absolute()).parts
        if len(parts) != 3 or not source.exists():
            return None
        ref = self._path_ref(source, "folder" if source.is_dir() else "file")
        return ref if parts[1] == digest("path", ref.digest.encode()) else None

    def _path_ref(self, path: Path, kind: str) -> ArtifactRef:
        taken = describe(path, kind)
        return ArtifactRef(
            digest=taken.identity,
            kind=kind,
            path="/".join(path.parts[-3:]),
            size_bytes=taken.size_bytes,
            mtime_ns=0 if kind == "folder" else path.stat().st_mtime_ns,
            file_digest=taken.digest,
            type_name="pathlib.Path",
        )

    @staticmethod
    def _holds(path: Path, kind: str, content: str) -> bool:
        try:
            return (digest_folder(path) if kind == "folder" else digest_file(path)) == content
        except (OSError, UnhashableError):
            return False

    def _install(
        self, temporary: Path, value: Any, kind: str, content: str, *, identity: str, suffix: str = ""
    ) -> ArtifactRef:
        """Give a complete file its name, unless an intact one has it already: others may have it mapped."""
        name = f"{content[:2]}/{content}{suffix}"
        target = self._artifacts / name
        if not self._holds(target, "file", content):
            _rename_into_place(temporary, target)
        status = os.stat(target)
        return ArtifactRef(
            digest=identity,
            kind=kind,
            path=name,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            file_digest=content,
            type_name=_type_name(value),
        )

    @contextlib.contextmanager
    def temporary_path(self) -> Iterator[Path]:
        """A new name on the file system of the artifacts; what is there at the end of the block is removed."""
        disk.make_folder(self._temporary)
        path = self._temporary / f"{self._prefix()}{os.getpid()}-{os.urandom(8).hex()}"
        try:
            yield path
        finally:
            remove_tree(path)

    @staticmethod
    def _serializer(ref: ArtifactRef) -> Serializer:
        serializer = get_serializer(ref.kind)
        if serializer is None:
            raise ArtifactError(
                f"{_describe(ref)} was stored by the serializer {ref.kind!r}, which is not registered here; "
                "import the module that registers it"
            )
        return serializer


def _identity(value: Any, identify: Identify) -> str | None:
    try:
        return identify(value)
    except UnhashableError:
        return None


def _type_name(value: Any) -> str:
    kind = type(value)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return qualified_name(kind)


def _inline_ref(value: Any, kind: str, text: str, identity: str) -> ArtifactRef:
    return ArtifactRef(
        digest=identity, kind=kind, inline=text, size_bytes=len(text.encode()), type_name=_type_name(value)
    )


def _rename_into_place(temporary: Path, target: Path) -> None:
    try:
        try:
            disk.replace(temporary, target)
        except FileNotFoundError:
            disk.make_folder(target.parent)
            disk.replace(temporary, target)
    except OSError:
        # Another process put the same folder there just now.
        if not target.is_dir():
            raise


def _has_size(folder: Path, size_bytes: int) -> bool:
    total = 0
    for count, entry in enumerate(iter_files(folder)):
        if count == _MEASURED_FILES:
            return True
        total += entry.stat().st_size
    return total == size_bytes


def _describe(ref: ArtifactRef) -> str:
    return f"the artifact {ref.path or ref.digest} ({ref.kind}, {ref.type_name})"
