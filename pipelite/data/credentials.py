"""Credentials: kept elsewhere, named here, looked up where they are used, and shown nowhere."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelite.errors import DatastoreError, PipeliteError

_SECRET = re.compile(
    r"(^|_)(key|secret|token|password|passwd|pwd|passphrase|credential|credentials|connection_string|sas)(_|$)|auth",
    re.IGNORECASE,
)

#: Ways to sign in that gcsfs takes by their word in place of a token: where it looks for one, and that it needs none.
_WAYS_TO_SIGN_IN = frozenset({"anon", "browser", "cache", "cloud", "google_default"})

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
        if last == "token" and value in _WAYS_TO_SIGN_IN:
            continue
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
        if not is_reference(str(reference)):
            raise DatastoreError(
                f"{what} {name!r}: the credential {option!r} is to say where it is, 'env:NAME' for an environment "
                "variable or 'file:PATH' for a file with mode 0600, not what it is",
                datastore=name,
            )


def is_reference(text: str) -> bool:
    """Whether a text says where a secret is: `env:NAME` or `file:PATH`."""
    kind, _, rest = text.partition(":")
    return kind in ("env", "file") and bool(rest)


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

    def refuse(message: str) -> DatastoreError:
        return DatastoreError(f"{what} {name!r}: {message}", datastore=name)

    for option, reference in credentials.items():
        value = load_secret(reference, folder, what=f"credential {option!r}", refuse=refuse)
        *above, last = option.split(".")
        place = found
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    return found


def load_secret(reference: str, folder: Path, *, what: str, refuse: Callable[[str], PipeliteError]) -> str:
    """What a reference stands for; a relative file lies in `folder`.

    Parameters
    ----------
    what : what it is, for people
    refuse : makes the error that is raised if it is not there, or others may read it
    """
    kind, _, rest = reference.partition(":")
    if kind == "env":
        value = os.environ.get(rest)
        if value is None:
            raise refuse(
                f"its {what} is to be in the environment variable {rest}, which is not set; set it and try again"
            )
        return value
    path = folder / Path(rest).expanduser()
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise refuse(f"its {what} is to be in {path}, which is no file")
        if status.st_mode & 0o077:
            raise refuse(
                f"the file {path} of its {what} may be read by others (mode {stat.S_IMODE(status.st_mode):04o}); "
                f"run: chmod 600 {path}"
            )
        return path.read_text(encoding="utf-8").strip("\r\n")
    except OSError as exc:
        raise refuse(f"its {what} is to be in the file {path}, which cannot be read ({exc.strerror})") from None
    except UnicodeDecodeError:
        raise refuse(f"its {what} is to be in the file {path}, which is not text") from None


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


def _flatten(options: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for option, value in options.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{option}.")
        elif isinstance(value, list):
            yield from ((f"{prefix}{option}", part) for part in value)
        else:
            yield f"{prefix}{option}", value
