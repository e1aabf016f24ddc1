"""The code of steps, values and files come in. Out go identities that are the same wherever and whenever they are made."""

from __future__ import annotations

from pipelite.fingerprint.code import Fingerprinter
from pipelite.fingerprint.digests import Identified, combine, digest, identify
from pipelite.fingerprint.files import FileCache, digest_file
from pipelite.fingerprint.key import ENVIRONMENT, compute_key, describe_call
from pipelite.fingerprint.modules import is_own, is_own_path, main_name, module_name, module_path, qualified_name
from pipelite.fingerprint.values import dict_identity, list_identity, tuple_identity

__all__ = [
    "ENVIRONMENT",
    "FileCache",
    "Fingerprinter",
    "Identified",
    "combine",
    "compute_key",
    "describe_call",
    "dict_identity",
    "digest",
    "digest_file",
    "identify",
    "is_own",
    "is_own_path",
    "list_identity",
    "main_name",
    "module_name",
    "module_path",
    "qualified_name",
    "tuple_identity",
]
