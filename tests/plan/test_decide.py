"""One decision at a time: what is taken, what is not, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipelite.plan import decide
from pipelite.records import ArtifactRef, Claim, FileRead, StoredResult
from pipelite.store import encode_outputs

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def stored(
    *, inline: str | None = "1", reads: tuple[FileRead, ...] = (), age: timedelta = timedelta(hours=1), id: int = 1
):
    ref = ArtifactRef(digest="int:1", kind="json", inline=inline, path=None if inline else "ab/x.npy")
    return StoredResult(
        key="k",
        step_run_id=id,
        outputs=encode_outputs({"result": ref}),
        needs_look=True,
        form="value",
        reads=reads,
        created_at=(NOON - age).isoformat(),
    )


def choose(
    *results, cache=None, regenerate=False, is_intact=lambda ref: True, changed_read=lambda reads: None, claim=None
):
    return decide(
        results,
        cache=cache,
        regenerate=regenerate,
        now=NOON,
        is_intact=is_intact,
        changed_read=changed_read,
        claim=claim,
    )


def test_without_a_stored_result_a_step_is_computed():
    assert choose().result is None
    assert choose().reason is None


def test_the_newest_stored_result_is_taken():
    assert choose(stored(id=2), stored(id=1)).result.step_run_id == 2


def test_regenerate_and_cache_false_take_nothing():
    assert choose(stored(), regenerate=True).reason == "regenerate_outputs is set"
    assert choose(stored(), cache=False).reason == "cache=False"


def test_work_that_another_run_is_at_is_waited_for():
    claim = Claim(key="k", run_id="r", owner="o", step="fit")

    assert choose(claim=claim).waits_for == claim
    assert choose(stored(), claim=claim).result is not None
    assert choose(stored(inline="null", id=7), claim=claim).known == (7,)
    assert choose(stored(inline="null"), claim=claim).waits_for == claim
    assert choose(claim=claim, cache=False).waits_for is None
    assert choose(claim=claim, regenerate=True).waits_for is None


def test_an_age_limit_is_kept():
    assert choose(stored(), cache=timedelta(hours=2)).result is not None
    assert choose(stored(), cache=timedelta(minutes=30)).reason == "the stored result is older than 0:30:00"


def test_a_result_of_only_none_is_taken_only_if_that_is_asked_for():
    assert choose(stored(inline="null")).result is None
    assert choose(stored(inline="null"), cache=True).result is not None


def test_a_damaged_output_is_no_result():
    decision = choose(stored(inline=None), is_intact=lambda ref: False)

    assert decision.result is None
    assert decision.reason == "its stored output 'result' is missing or damaged"


def test_among_results_with_different_reads_the_one_that_still_holds_is_taken():
    one = stored(reads=(FileRead(path="a", digest="1"),), id=1)
    two = stored(reads=(FileRead(path="a", digest="2"),), id=2)

    decision = choose(two, one, changed_read=lambda reads: None if reads[0].digest == "1" else "a has changed")

    assert decision.result.step_run_id == 1


def test_the_reason_is_that_of_the_newest_result():
    decision = choose(
        stored(reads=(FileRead(path="b", digest="2"),)),
        stored(reads=(FileRead(path="a", digest="1"),)),
        changed_read=lambda reads: f"{reads[0].path} has changed",
    )

    assert decision.reason == "b has changed"
