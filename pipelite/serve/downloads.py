"""Sends what runs printed and returned: bytes as they are stored, and never a value that would have to be unpickled."""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from flask import Request, Response
from werkzeug.wsgi import wrap_file

from pipelite.errors import NotFoundError
from pipelite.records import ArtifactRef, RunRecord, StepRunRecord
from pipelite.serve.calls import Call, answer, forbidden
from pipelite.serve.frames import FORMATS, convert_frame
from pipelite.serve.refusals import Refusal, not_found
from pipelite.serve.runs import find_run, single_ref
from pipelite.store import PARTS, find_log_part, get_step_run, get_step_runs
from pipelite.store.parts import load_parts

BYTES = "application/octet-stream"
#: Of a log, the last lines are looked for in so many bytes.
TAIL_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 18

#: A browser neither guesses what it gets nor runs it.
_INERT = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}


def send_log(call: Call) -> Response:
    """What a step printed, or the part of it that is asked for."""
    store = call.service.store
    run = find_run(call)
    try:
        step = get_step_run(store, run.id, call.parts["name"])
    except NotFoundError as exc:
        raise not_found(str(exc)) from None
    part = find_log_part(store, step)
    path, start, end = part or (Path(os.devnull), 0, 0)
    file = Part(path, start, end)
    size = end - start
    if "tail" in call.query:
        file.seek(_start_of_tail(file, size, call.query["tail"]))
    elif "offset" in call.query:
        file.seek(min(call.query["offset"], size))
    begins = file.tell()
    response = _send(
        call.request,
        Part(path, start + begins, end),
        size - begins,
        "text/plain; charset=utf-8",
        is_whole="tail" not in call.query and "offset" not in call.query,
    )
    # Where the next request goes on.
    response.headers["Next-Offset"] = str(size)
    response.headers["Step-Status"] = step.status.value
    return response


def _start_of_tail(file: Part, size: int, lines: int) -> int:
    """Where the last lines begin."""
    if lines == 0:
        return size
    first = max(0, size - TAIL_BYTES)
    file.seek(first)
    text = file.read(size - first)
    at = len(text.rstrip(b"\n"))
    for _ in range(lines):
        at = text.rfind(b"\n", 0, at)
        if at < 0:
            return first
    return first + at + 1


class Part(io.RawIOBase):
    """A part of a file, read as if it were the whole."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._size, self._at = start, end - start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = min(self._size, max(0, base + offset))
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._size - self._at]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view) or 0
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def send_output(call: Call) -> Response:
    """One output of a run: JSON, a file, a folder as an archive."""
    store = call.service.store
    run = find_run(call)
    name = call.parts["name"]
    if name not in run.outputs:
        raise not_found(f"run {run.id} has no output {name!r}; it has {', '.join(run.outputs) or 'none'}")
    steps = {step.name: step for step in get_step_runs(store, run.id)}
    ref = single_ref(run.outputs[name], steps)
    if ref is None or ref.inline is not None:
        return _send_plain(run, name, run.outputs[name], steps)
    path = _file_of(call, ref, name)
    if ref.kind == "folder":
        return Response(_zip(path), content_type="application/zip", headers={**_INERT, **_as_file(f"{path.name}.zip")})
    if ref.kind == "file":
        return _send_file(call.request, path, path.name, ref)
    if ref.kind == "npy":
        return _send_file(call.request, path, f"{name}.npy", ref)
    if ref.kind == "dataframe" and call.query.get("format") != "pickle":
        return _send_frame(call, ref, name)
    if call.token is None or not call.token.may("admin"):
        raise forbidden(
            f"output {name!r} is kept as {ref.kind} of a {ref.type_name}, which only a token with the scope admin gets, as "
            "bytes; return a plain value, an array, a DataFrame or a Path from the step for others"
        )
    return _send_file(call.request, path, f"{name}{path.suffix}", ref)


def _file_of(call: Call, ref: ArtifactRef, name: str) -> Path:
    """Where the bytes of an output are, if they are there and as they were stored."""
    artifacts = call.service.store.artifacts
    path = artifacts.path(ref)
    root = os.path.realpath(call.service.store.path / "artifacts")
    if not os.path.realpath(path).startswith(root + os.sep) or not artifacts.is_intact(ref):
        raise Refusal(
            410, "Gone", f"output {name!r} is missing or damaged; a run with the same parameters computes it again"
        )
    return path


def _send_file(request: Request, path: Path, name: str, ref: ArtifactRef) -> Response:
    size = path.stat().st_size
    response = _send(request, path.open("rb"), size, BYTES, is_whole=True, etag=ref.file_digest)
    response.headers.update(_as_file(name))
    return response


def _send(
    request: Request, file: IO[bytes] | Part, size: int, content_type: str, *, is_whole: bool, etag: str | None = None
) -> Response:
    """An open file, or the range of it that is asked for."""
    response = Response(
        wrap_file(request.environ, file, _BLOCK_BYTES),  # type: ignore[arg-type]
        content_type=content_type,
        headers=_INERT,
        direct_passthrough=True,
    )
    response.content_length = size
    if etag is not None:
        response.set_etag(etag)
    return response.make_conditional(request.environ, accept_ranges=is_whole, complete_length=size)  # type: ignore[return-value]


def _as_file(name: str) -> dict[str, str]:
    plain = "".join(
        letter if letter.isascii() and letter.isprintable() and letter not in '"\\' else "_" for letter in name
    )
    return {"Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"}


def _send_frame(call: Call, ref: ArtifactRef, name: str) -> Response:
    kind = call.query.get("format", "parquet")
    path = convert_frame(call.service.store, ref, name, kind)
    with path.open("rb") as file:
        # It has no name any more; what is open stays until it is sent.
        opened = os.fdopen(os.dup(file.fileno()), "rb")
    size = path.stat().st_size
    path.unlink()
    response = _send(call.request, opened, size, FORMATS[kind], is_whole=False)
    response.headers.update(_as_file(f"{name}.{kind}"))
    return response


class _NotPlain(Exception):
    """A value for which something would have to be loaded."""


def _send_plain(run: RunRecord, name: str, place: Mapping[str, Any], steps: Mapping[str, StepRunRecord]) -> Response:
    try:
        return answer(_compose(place, steps))
    except (_NotPlain, LookupError, TypeError):
        raise Refusal(
            409,
            "Conflict",
            f"output {name!r} of run {run.id} is put together from values that are not plain; return them by names of "
            "their own to download them one by one",
        ) from None


def _compose(place: Mapping[str, Any], steps: Mapping[str, StepRunRecord]) -> Any:
    """What an output is, of plain values alone."""
    for form in ("list", "tuple"):
        if form in place:
            return [_compose(part, steps) for part in place[form]]
    if "dict" in place:
        return {key: _compose(part, steps) for key, part in place["dict"].items()}
    if "value" in place:
        return place["value"]
    step = steps.get(place["step"])
    if step is None or not step.outputs:
        return None
    if place["output"] is not None or step.form == "value":
        value = _load_plain(step.outputs[place["output"] or "result"])
    else:
        values = {output: _load_plain(ref) for output, ref in step.outputs.items()}
        value = values if step.form == "dict" else list(values.values())
    for part in place["path"]:
        value = value[part]
    return value


def _load_plain(ref: ArtifactRef) -> Any:
    if ref.inline is None:
        raise _NotPlain
    if ref.kind == PARTS:
        return load_parts(ref.inline, _load_plain)
    value = json.loads(ref.inline)
    return value["value"] if ref.kind == "scalar" else value


def _zip(folder: Path) -> Iterator[bytes]:
    """An archive of a folder, made while it is sent; links are left out."""
    target = _Pipe()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, _, names in os.walk(folder):
            for name in sorted(names):
                path = os.path.join(place, name)
                if not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                entry = zipfile.ZipInfo(os.path.relpath(path, folder).replace(os.sep, "/"))
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                with open(path, "rb") as source, archive.open(entry, "w", force_zip64=True) as made:
                    while block := source.read(_BLOCK_BYTES):
                        made.write(block)
                        yield target.take()
                yield target.take()
    yield target.take()


class _Pipe(io.RawIOBase):
    """Takes what is written, for somebody else to take away; cannot go back."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._blocks.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._blocks)
        self._blocks.clear()
        return taken
