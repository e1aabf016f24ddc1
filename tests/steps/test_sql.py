"""A query runs in DuckDB over what its step is given, or in an SQLite database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipelite import pipeline, step
from pipelite.errors import DefinitionError, QueryError, StepFailed
from pipelite.steps import Input, Output, sql

pd = pytest.importorskip("pandas")
pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")


@step
def make_rides():
    return pd.DataFrame({"zone": ["a", "a", "b"], "count": [1, 2, 3]})


@pytest.fixture
def zones(write) -> Path:
    return write("zones.csv", "zone,name\na,harbour\nb,airport\n")


JOIN = """
    SELECT name, sum(count)::BIGINT AS total FROM rides JOIN zones USING (zone)
    WHERE count >= $least GROUP BY name ORDER BY name
"""


def run_join(least: int = 1, **options):
    totals = sql(
        JOIN,
        tables={"rides": Input("rides"), "zones": Path("zones.csv")},
        parameters={"least": Input("least")},
        name="totals",
        **options,
    )

    @pipeline
    def flow(least: int):
        return totals(make_rides(), least)

    return flow.run(least=least)


def test_a_query_joins_the_output_of_a_step_with_a_file(zones):
    run = run_join()

    assert run.outputs["result"].to_dict("list") == {"name": ["airport", "harbour"], "total": [3, 3]}
    assert run_join(least=2).outputs["result"].to_dict("list") == {"name": ["airport", "harbour"], "total": [3, 2]}


def test_a_query_is_reused_until_a_table_a_parameter_or_its_text_changes(zones):
    run_join()

    assert run_join().steps["totals"].reused
    assert not run_join(least=3).steps["totals"].reused
    zones.write_text(zones.read_text() + "c,station\n")
    assert not run_join().steps["totals"].reused


@pytest.mark.parametrize("result", ["dataframe", "arrow", "parquet"])
def test_a_result_is_a_frame_an_arrow_table_or_a_parquet_file(zones, result):
    import pyarrow as pa

    found = run_join(result=result).outputs["result"]

    assert isinstance(found, {"dataframe": pd.DataFrame, "arrow": pa.Table, "parquet": Path}[result])
    table = pd.read_parquet(found) if result == "parquet" else found
    assert list(table["total"] if result != "arrow" else table["total"].to_pylist()) == [3, 3]


def test_parquet_json_and_folders_of_files_are_tables(write, tmp_path):
    write("days.jsonl", '{"day": 1}\n{"day": 2}\n')
    (tmp_path / "parts").mkdir()
    for number in range(3):
        pd.DataFrame({"n": [number]}).to_parquet(tmp_path / "parts" / f"{number}.parquet")
    count = sql(
        "SELECT (SELECT sum(day) FROM days)::INT AS days, (SELECT sum(n) FROM parts)::INT AS parts",
        tables={"days": Path("days.jsonl"), "parts": Path("parts")},
    )

    @pipeline
    def flow():
        return count()

    assert flow.run().outputs["result"].to_dict("records") == [{"days": 3, "parts": 3}]


def test_a_query_may_stand_in_a_file_and_have_several_statements(write):
    path = write("queries/twice.sql", "CREATE TEMP TABLE t AS SELECT $x::INT AS x; SELECT x * 2 AS twice FROM t;")
    twice = sql(Path("queries/twice.sql"), parameters={"x": 4})

    @pipeline
    def flow():
        return twice()

    run = flow.run()

    assert run.outputs["result"]["twice"].tolist() == [8]
    assert "twice" in run.steps
    path.write_text(path.read_text().replace("* 2", "* 3"))
    assert flow.run().outputs["result"]["twice"].tolist() == [12]


def test_parameters_are_bound_and_not_pasted():
    evil = "x'; DROP TABLE rides; --"
    echo = sql(
        "SELECT $text AS text, count(*)::INT AS n FROM rides",
        tables={"rides": Input("rides")},
        parameters={"text": evil},
    )

    @pipeline
    def flow():
        return echo(make_rides())

    assert flow.run().outputs["result"].to_dict("records") == [{"text": evil, "n": 3}]


def test_outside_of_a_pipeline_a_query_just_runs():
    assert sql("SELECT sum(x)::INT AS x FROM t", tables={"t": Input("t")})(pd.DataFrame({"x": [1, 2]}))[
        "x"
    ].tolist() == [3]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE sales (item TEXT, n INT); INSERT INTO sales VALUES ('a', 1), ('b', 2);")
    connection.close()
    return path


@pytest.mark.parametrize("result", ["dataframe", "parquet"])
def test_a_query_in_an_sqlite_database(database, result):
    sales = sql(
        "SELECT item, n FROM sales WHERE n >= :least",
        database=Input("shop"),
        parameters={"least": 2},
        result=result,
    )

    @pipeline
    def flow(shop: Path):
        return sales(shop)

    found = flow.run(shop="shop.db").outputs["result"]

    frame = pd.read_parquet(found) if result == "parquet" else found
    assert frame.to_dict("list") == {"item": ["b"], "n": [2]}
    assert flow.run(shop="shop.db").steps["sql"].reused


def test_an_sqlite_database_is_only_read(database):
    bad = sql("DELETE FROM sales", database="shop.db")

    with pytest.raises(QueryError, match=r"the query on '.*/shop.db' failed: attempt to write a readonly database"):
        bad()


def test_a_query_in_a_duckdb_database(tmp_path):
    import duckdb

    with duckdb.connect(tmp_path / "shop.duckdb") as connection:
        connection.execute("CREATE TABLE sales AS SELECT * FROM (VALUES ('a', 1), ('b', 2)) v(item, n)")
    sales = sql("SELECT item FROM sales WHERE n >= $least", database="shop.duckdb", parameters={"least": 2})

    assert sales()["item"].tolist() == ["b"]


def test_changes_that_are_only_in_the_log_of_a_database_are_refused(database):
    log = Path(f"{database}-wal")
    log.write_text("something")

    with pytest.raises(QueryError, match="only in its write-ahead log; close what has it open"):
        sql("SELECT * FROM sales", database="shop.db")()


RIDES = {"rides": pd.DataFrame({"zone": ["a"], "count": [1]})}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sql("SELECT zones FROM rides", tables=RIDES), r'column "zones" not found(.|\n)*Its tables are rides'),
        (lambda: sql("SELECT 1 FROM nowhere"), r"nowhere(.|\n)*It has no tables; tables= gives it some"),
        (lambda: sql("SELECT FROM WHERE"), "syntax error"),
        (lambda: sql("SELECT $x"), r"the query has \$x, and no parameter of that name is given"),
        (lambda: sql("SELECT 1", parameters={"x": 1}), r"parameter 'x' is given, and the query has no \$x"),
        (lambda: sql("SELECT 1", parameters={"x": Path("zones.csv")}), "parameter 'x' is a path"),
        (lambda: sql("SELECT * FROM 'zones.csv'"), "file system operations are disabled"),
        (lambda: sql("INSTALL spatial"), "Permission Error"),
        (lambda: sql("LOAD httpfs"), "Loading external extensions is disabled"),
        (lambda: sql("SET enable_external_access = true"), "configuration has been locked"),
        (
            lambda: sql("SELECT * FROM t", tables={"t": Path("notes.xyz")}),
            "of '.*/notes.xyz' cannot be told what it is",
        ),
        (lambda: sql("SELECT * FROM t", tables={"t": {1: 2}}), "table 't' is a value of type 'dict'"),
        (lambda: sql("SELECT * FROM t", tables={"t": Path("ragged.csv")}), r"(?i)table 't' cannot be read from|csv"),
        (lambda: sql("SELECT * FROM x", database="zones.csv"), "file is not a database"),
    ],
)
def test_what_does_not_fit_fails_the_step_with_a_reason(zones, write, make, message):
    write("notes.xyz", "")
    write("ragged.csv", "a,b\n1,2\n" + "3,4,5\n" * 3)
    bad = make()

    @pipeline
    def flow():
        bad()

    with pytest.raises(StepFailed, match=message) as failed:
        flow.run()
    assert failed.value.step == "sql"
    assert isinstance(failed.value.__cause__, QueryError)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sql(" "), "the query is empty"),
        (
            lambda: sql("SELECT 1", result="csv"),
            "result='csv' is wrong; it takes one of 'dataframe', 'arrow', 'parquet'",
        ),
        (
            lambda: sql("SELECT 1", tables={"t": "zones.csv"}),
            r"table 't' is a text; for a file write Path\('zones.csv'\)",
        ),
        (lambda: sql("SELECT 1", tables={"a b": 1}), "'a b' in tables is no name"),
        (lambda: sql("SELECT 1", tables={"t": Output("t")}), "what the query gives is the output of the step"),
        (lambda: sql("SELECT 1", tables={"t": Input("t")}, database="x.db"), "has a database and tables"),
    ],
)
def test_mistakes_are_found_where_they_are_written(make, message):
    with pytest.raises(DefinitionError, match=message):
        make()
