"""The identity of a value is the same in every process, however the code that makes it was loaded."""

import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SAMPLE = Path(__file__).parent / "thirty_values.py"

AS_SCRIPT = [str(SAMPLE), "print"]

IMPORTED = ["-c", "import thirty_values; thirty_values.print_identities()"]

SPAWNED = [
    "-c",
    """
import multiprocessing, thirty_values
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=thirty_values.print_identities)
    child.start()
    child.join()
""",
]

# What a kernel does with a cell: compiled under a name of its own, its source kept for tracebacks.
IN_A_NOTEBOOK = [
    "-c",
    f"""
import linecache
source = open({str(SAMPLE)!r}).read()
name = "<ipython-input-1-0123456789ab>"
linecache.cache[name] = (len(source), None, source.splitlines(True), name)
exec(compile(source, name, "exec"))
print_identities()
""",
]

INTERPRETERS = [AS_SCRIPT] * 6 + [IMPORTED] * 5 + [SPAWNED] * 4 + [IN_A_NOTEBOOK] * 5


def identities_in_a_fresh_interpreter(arguments, sample_folder, seed):
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(seed),
        "PYTHONPATH": os.pathsep.join([str(SAMPLE.parent), *sys.path]),
        "SAMPLE_FOLDER": str(sample_folder),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_thirty_types_have_one_identity_in_twenty_interpreters_with_random_hash_seeds(tmp_path):
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "a.csv").write_text("1,2\n")
    (folder / "b.csv").write_text("3,4\n")
    seeds = random.sample(range(2**32), len(INTERPRETERS))

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(identities_in_a_fresh_interpreter, INTERPRETERS, [folder] * len(INTERPRETERS), seeds))

    assert len(found) == 20
    assert len(found[0]) >= 30
    assert len(set(found[0].values())) == len(found[0])
    for seed, identities in zip(seeds, found, strict=True):
        differing = [name for name in identities if identities[name] != found[0][name]]
        assert identities.keys() == found[0].keys()
        assert not differing, f"with hash seed {seed}"
