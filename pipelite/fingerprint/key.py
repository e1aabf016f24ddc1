"""The address of a step's outputs: what would be computed, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipelite.fingerprint.digests import digest

#: Raised when the rule below, or the form of an identity, changes. Then no older result is found any more.
SCHEMA = 1

#: What of the environment every step depends on; the packages that its code reaches are part of the code's digest.
ENVIRONMENT = f"python {sys.version_info.major}.{sys.version_info.minor}"


def compute_key(
    code: str, names: Sequence[str], identities: Sequence[str], outputs: Sequence[str], environment: str
) -> str:
    """Cache key of one step call.

    Parameters
    ----------
    code : digest of the step's code fingerprint
    names, identities : the inputs in the order of the signature, defaults filled in
    outputs : the names of the step's outputs
    environment : see `ENVIRONMENT`
    """
    # One string, joined once: this runs for every node of every run.
    lengths = ",".join([f"{name}={len(identity)}" for name, identity in zip(names, identities, strict=True)])
    text = "\n".join((str(SCHEMA), code, environment, ",".join(outputs), lengths, *identities))
    return digest("key", text.encode("utf-8", "surrogatepass"))
