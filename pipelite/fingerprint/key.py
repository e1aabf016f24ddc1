"""The address of a step's outputs: what would be computed, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from blake3 import blake3

#: Raised when the rule below, or the form of an identity, changes. Then no older result is found any more.
SCHEMA = 1

#: Length of a key: 160 bits of blake3. No two of them meet by chance, and a shorter key makes a smaller index.
KEY_BYTES = 20

#: What of the environment every step depends on; the packages that its code reaches are part of the code's digest.
ENVIRONMENT = f"python {sys.version_info.major}.{sys.version_info.minor}"


def describe_call(code: str, outputs: Sequence[str], environment: str) -> str:
    """What the keys of all calls of one step begin with.

    Parameters
    ----------
    code : digest of the step's code fingerprint
    outputs : the names of the step's outputs
    environment : see `ENVIRONMENT`
    """
    return f"pipelite key {SCHEMA}\n{code}\n{environment}\n{','.join(outputs)}\n"


def compute_key(call: str, inputs: Iterable[tuple[str, str]]) -> str:
    """Cache key of one step call.

    Parameters
    ----------
    call : see `describe_call`
    inputs : name and identity of each input in the order of the signature, defaults filled in
    """
    # This runs for every node of every run: one string, hashed once. A name has no "=", and the length before an
    # identity keeps apart where one ends and the next begins.
    text = call + "".join([f"{name}={len(identity)}:{identity}" for name, identity in inputs])
    return blake3(text.encode("utf-8", "surrogatepass")).hexdigest(KEY_BYTES)
