"""Credentials of datastores: kept elsewhere, named here, looked up where they are used, and shown nowhere."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelite.errors import DatastoreError

_SECRET = re.compile(
    r"(^|_)(key|secret|token|password|passwd|pwd|passphrase|credential|credentials|connection_string|sas)(_|$)|auth",
    re.IGNORECASE,
)

HIDDEN = "***"


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse a secret among the options, which are kept in the database.

    Raises
    ------
    DatastoreError
        Names the option and what to do instead.
    """
    for option, value in _flatten(options):
        last = option.rpartition(".")[2]
        if isinstance(value, str) and value and _SECRET.search(last) and not last.endswith(("_file", "_filename")):
            raise DatastoreError(
                f"datastore {name!r}: the option {option!r} looks like a secret, and options are kept in the database; "
                f"put it into an environment variable or a file with mode 0600, and give "
                f"credentials={{{option!r}: 'env:NAME'}} or 'file:PATH' instead",
                datastore=name,
            )


def check_url(name: str, url: str, *, what: str = "datastore") -> None:
    """Refuse a URL with a password in it; `what` has that name, for the message."""
    if re.match(r"[\w+.-]+://[^/@]*:[^/@]*@", url):
        raise DatastoreError(
            f"{what} {name!r}: the URL holds a password; leave it away, and give "
            "credentials={'password': 'env:NAME'} or 'file:PATH' instead",
            datastore=name,
        )


def check_references(name: str, credentials: Mapping[str, str], *, what: str = "datastore") -> None:
    """Refuse what is not `env:NAME` or `file:PATH`: it may be the secret itself, so it is not repeated."""
    for option, reference in credentials.items():
        kind, _, rest = str(reference).partition(":")
        if kind not in ("env", "file") or not rest:
            raise DatastoreError(
                f"{what} {name!r}: the credential {option!r} is to say where it is, 'env:NAME' for an environment "
                "variable or 'file:PATH' for a file with mode 0600, not what it is",
                datastore=name,
            )


def load_credentials(
    name: str, credentials: Mapping[str, str], folder: Path, *, what: str = "datastore"
) -> dict[str, Any]:
    """What the references stand for, as nested options; relative files lie in `folder`.

    Raises
    ------
    DatastoreError
        If one is not there, or others may read it.
    """
    found: dict[str, Any] = {}
    for option, reference in credentials.items():
        kind, _, rest = reference.partition(":")
        value = (
            _from_environment(name, option, rest, what)
            if kind == "env"
            else _from_file(name, option, folder / Path(rest).expanduser(), what)
        )
        *above, last = option.split(".")
        place = found
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    return found


def merge(options: Mapping[str, Any], secrets: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the secrets put in, also in nested ones."""
    merged = dict(options)
    for option, value in secrets.items():
        nested = merged.get(option)
        merged[option] = merge(nested or {}, value) if isinstance(value, dict) else value
    return merged


def hide(text: str, secrets: Mapping[str, Any]) -> str:
    """A text of somebody else's with every secret taken out, whatever form a URL gives it."""
    from urllib.parse import quote, quote_plus

    for _, value in _flatten(secrets):
        if isinstance(value, str) and value:
            for form in {value, quote(value), quote(value, safe=""), quote_plus(value), repr(value)[1:-1]}:
                text = text.replace(form, HIDDEN)
    return text


def _from_environment(name: str, option: str, variable: str, what: str) -> str:
    value = os.environ.get(variable)
    if value is None:
        raise DatastoreError(
            f"{what} {name!r}: its credential {option!r} is to be in the environment variable {variable}, which is "
            "not set; set it and try again",
            datastore=name,
        )
    return value


def _from_file(name: str, option: str, path: Path, what: str) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DatastoreError(f"{what} {name!r}: its credential file {path} is no file", datastore=name)
        if status.st_mode & 0o077:
            raise DatastoreError(
                f"{what} {name!r}: its credential file {path} may be read by others "
                f"(mode {stat.S_IMODE(status.st_mode):04o}); run: chmod 600 {path}",
                datastore=name,
            )
        return path.read_text(encoding="utf-8").strip("\r\n")
    except OSError as exc:
        raise DatastoreError(
            f"{what} {name!r}: its credential {option!r} is to be in the file {path}, which cannot be read "
            f"({exc.strerror})",
            datastore=name,
        ) from None


def _flatten(options: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for option, value in options.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{option}.")
        elif isinstance(value, list):
            yield from ((f"{prefix}{option}", part) for part in value)
        else:
            yield f"{prefix}{option}", value
