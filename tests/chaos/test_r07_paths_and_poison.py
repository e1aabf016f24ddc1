"""R7: texts that want to lead out of where they belong, and stored values that were exchanged for others."""

from __future__ import annotations

import http.client
import json
import pickle
import random
import sqlite3
from contextlib import closing
from io import BytesIO
from urllib.parse import quote, urlsplit

import pytest
from opened import Watch

from serve.hostility import Poison, count_runs, traversals

#: How many of the texts, each in how many of the places, and how many as a parameter.
N_TEXTS = {"small": 60, "full": None}
N_PLACES = {"small": 2, "full": None}


@pytest.fixture
def outside(own_site, tmp_path):
    """A file and a folder that no request has any business with."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("CANARY")
    return folder


def texts_for(own_site, outside, draw, n):
    """Texts that lead outside, from each of the roots that a path may lie below, and from none."""
    secret = str(outside / "secret.txt")
    allowed = own_site.folder / "allowed"
    plain = [*dict.fromkeys(traversals(secret)), secret, f"{allowed}-not/secret.txt", "x" * 5000, "local"]
    found = plain + [f"local/{text}" for text in plain] + [f"{allowed}/{text}" for text in plain if ".." in text]
    found += [f"local/raw/out/{name}" for name in ("secret.txt", ".", "../outside/secret.txt")]
    found += [f"{allowed}/out/secret.txt", f"{allowed}/./out/secret.txt", f"{allowed}//out/secret.txt"]
    return draw.sample(found, n) if n is not None else found


def test_no_text_leads_to_a_file_outside(own_site, outside, size, seed, figures):
    draw = random.Random(seed)
    allowed = own_site.folder / "allowed"
    raw = own_site.workspace / "data" / "raw"
    for folder in (allowed, raw):
        folder.mkdir(parents=True)
        (folder / "out").symlink_to(outside)
    own_site.start("--allow-path", str(allowed))
    run = own_site.call("Train", n=3)["Id"]
    places = [
        *("/runs/{}", "/runs/{}/steps/load/logs", "/runs/{}/outputs/total", "/pipelines/{}", "/endpoints/{}", "/{}"),
        *(
            f"/runs/{run}/steps/{{}}/logs",
            f"/runs/{run}/outputs/{{}}",
            "/pipelines/Train?version={}",
            "/runs?cursor={}",
        ),
        *("/runs?pipeline={}", "/runs?experiment={}"),
    ]
    texts = texts_for(own_site, outside, draw, N_TEXTS[size])
    before = count_runs(own_site)
    headers = {"Authorization": f"Bearer {own_site.token}", "Content-Type": "application/json"}
    parts = urlsplit(own_site.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    asked = 0

    def ask(method, target, body=None):
        nonlocal asked
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        asked += 1
        assert answer.status < 500, (target, body, answer.status)
        assert b"CANARY" not in content, (target, body)
        assert b"root:" not in content, (target, body)
        return answer.status

    with Watch(outside, outside / "secret.txt", own_site.workspace / "token") as watch:
        for text in texts:
            for place in draw.sample(places, N_PLACES[size] or len(places)):
                # As it is, and with all that may be encoded.
                ask("GET", place.format(quote(text, safe=draw.choice(("/.%;\\~:", "")))))
            for given in ({"data": text}, {"data": "local/raw", "more": [text]}):
                status = ask("POST", "/pipelines/Reading", json.dumps({"ParameterAssignments": given}))
                assert status == 400, given
        events = watch.events()
        assert events == 0
        (outside / "secret.txt").read_text()
        assert watch.events() > 0, "it would have been seen"
    connection.close()

    assert count_runs(own_site) == before
    assert "Traceback" not in own_site.errors
    figures.update({"texts": len(texts), "requests": asked, "files outside that were opened": 0, "runs started": 0})


def stored_files(own_site, run: str) -> dict[str, tuple[str, dict]]:
    """What the steps of a run have stored in files: name of the step to where it is, below the artifacts."""
    with closing(sqlite3.connect(own_site.workspace / "pipelite.db")) as connection:
        rows = connection.execute(
            "SELECT name, coalesce((SELECT outputs FROM step_runs AS origin WHERE origin.id = step_runs.computed_by), outputs) "
            "FROM step_runs WHERE run_id = ?",
            (run,),
        ).fetchall()
    described = {name: json.loads(outputs)["result"] for name, outputs in rows}
    return {name: each for name, each in described.items() if each.get("path")}


def test_a_stored_value_that_was_exchanged_is_computed_again_and_never_loaded(own_site, outside, size, figures):
    import joblib
    import numpy as np

    own_site.start()
    run = own_site.call("Kinds")["Id"]
    canary = own_site.folder / "canary"
    poison = Poison(str(canary))
    array, dumped = BytesIO(), BytesIO()
    np.save(array, np.array([poison], dtype=object), allow_pickle=True)
    joblib.dump(poison, dumped)
    poisons = (pickle.dumps(poison), array.getvalue(), dumped.getvalue())
    exchanged = 0
    for number, content in enumerate(poisons if size == "full" else poisons[:1]):
        found = stored_files(own_site, run)
        for each in found.values():
            file = own_site.workspace / "artifacts" / each["path"]
            if file.is_file():
                file.chmod(0o600)
                file.write_bytes(content)
            else:
                (file / "leads out").symlink_to(outside / "secret.txt")
            exchanged += 1
        assert b"CANARY" not in own_site.get(f"/runs/{run}/outputs/folder").content
        for output in ("array", "frame", "thing", "file"):
            assert own_site.get(f"/runs/{run}/outputs/{output}").status_code == 410, output

        again = own_site.call("Kinds")

        assert again["Status"] == "completed", number
        assert {again["Steps"][name]["Reused"] for name in ("array", "frame", "thing")} == {False}
        assert not canary.exists()
        run = again["Id"]
    pickle.loads(pickle.dumps(poison)).close()
    assert canary.exists(), "it would have done"
    figures.update({"values exchanged": exchanged, "loaded": 0})
