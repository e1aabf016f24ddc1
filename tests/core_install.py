"""What the core of pipelite installs: how many distributions, how many bytes.

Run with the Python of an environment in which pipelite is installed; extras that are installed beside it do not count.
"""

from __future__ import annotations

import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

MAX_DISTRIBUTIONS = 15
MAX_BYTES = 15_000_000
#: sqlite-utils requires pip, and every environment has it.
NOT_COUNTED = {"pip", "setuptools", "pipelite"}


def core_distributions() -> dict[str, metadata.Distribution]:
    """Everything that pipelite requires without extras, directly or not."""
    found: dict[str, metadata.Distribution] = {}
    seen = set()
    todo = [Requirement("pipelite")]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        distribution = metadata.distribution(name)
        if name not in NOT_COUNTED:
            found[name] = distribution
        todo += [
            required
            for required in map(Requirement, distribution.requires or ())
            if required.marker is None
            or any(required.marker.evaluate({"extra": extra}) for extra in {"", *wanted.extras})
        ]
    return found


def installed_bytes(distribution: metadata.Distribution) -> int:
    """Bytes on disk, the byte-compiled files included where there are any."""
    paths = {distribution.locate_file(file) for file in distribution.files or ()}
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> int:
    sizes = {name: installed_bytes(distribution) for name, distribution in sorted(core_distributions().items())}
    for name, size in sizes.items():
        print(f"{size / 1e6:6.2f} MB  {name}")
    total = sum(sizes.values())
    print(f"{total / 1e6:6.2f} MB  in {len(sizes)} distributions")
    return int(len(sizes) > MAX_DISTRIBUTIONS or total > MAX_BYTES)


if __name__ == "__main__":
    sys.exit(main())
