"""A query reads datasets: with the rows, columns and types that they have everywhere else."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipelite import Dataset, Workspace, pipeline
from pipelite.errors import QueryError
from pipelite.steps import Input, sql

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")


def everything(**tables: Dataset):
    """All rows of a table, as a step."""
    return sql("SELECT * FROM t", tables={"t": Input("t")}, result="arrow")(**tables)


@pytest.fixture
def frame():
    at = pd.to_datetime(["2026-01-01 10:00", "2026-01-02 00:00", None])
    return pd.DataFrame(
        {
            "zone": ["a", "b", None],
            "count": pd.array([1, None, 3], dtype="Int32"),
            "share": [0.5, 1.5, None],
            "day": [date(2026, 1, 1), date(2026, 1, 2), None],
            "at": at,
            "when": at.tz_localize("UTC"),
            "good": [True, False, True],
        }
    )


@pytest.fixture
def parts(frame, tmp_path) -> Path:
    for number in (1, 2):
        folder = tmp_path / f"parts/region=r{number}/year={2024 + number}"
        folder.mkdir(parents=True)
        frame.assign(number=range(number, number + 3)).to_parquet(folder / "rows.parquet")
    return tmp_path / "parts"


def same(table, data: Dataset) -> bool:
    """Equal, but for what DuckDB calls the elements of lists, and the sorts of text that Arrow knows.

    A query without ORDER BY promises no order of rows.
    """
    expected = data.to_arrow().replace_schema_metadata()
    assert [(each.name, kind(each)) for each in table.schema] == [(each.name, kind(each)) for each in expected.schema]
    left = expected.to_pylist()
    for row in table.to_pylist():
        if row not in left:
            return False
        left.remove(row)
    return not left


def kind(field) -> str:
    return str(field.type).removeprefix("large_").replace("list<l:", "list<item:").replace("Etc/UTC", "UTC")


class TestParquet:
    def test_files_are_read_with_their_types(self, parts):
        assert same(everything(t=(data := Dataset.from_parquet_files("parts/**/*.parquet"))), data)

    def test_columns_that_were_kept_and_columns_in_names(self, parts):
        data = Dataset.from_parquet_files(
            "parts/**/*.parquet", partition_format="region={region}/year={year:int}/*.parquet"
        )

        assert same(everything(t=data), data)
        assert same(everything(t=(kept := data.keep_columns(["year", "count"]))), kept)
        assert same(everything(t=(kept := data.keep_columns(["share"]))), kept)

    def test_it_is_duckdb_that_reads_them(self, parts):
        plan = sql("EXPLAIN SELECT * FROM t", tables={"t": Input("t")})(t=Dataset.from_parquet_files("parts/**"))

        assert "PARQUET" in plan.to_string()

    @pytest.mark.parametrize(
        "choose",
        [
            lambda data: data.filter("number > 1"),
            lambda data: data.take(4),
            lambda data: data.random_split(0.5)[0],
            lambda data: data.keep_columns(["number", "zone"]).filter("zone == 'a'"),
        ],
    )
    def test_rows_that_were_chosen(self, parts, choose):
        assert same(everything(t=(data := choose(Dataset.from_parquet_files("parts/**/*.parquet")))), data)

    def test_files_of_different_columns(self, tmp_path):
        pd.DataFrame({"a": [1], "b": ["x"]}).to_parquet("one.parquet")
        pd.DataFrame({"b": ["y"], "a": [0.5]}).to_parquet("two.parquet")

        assert same(everything(t=(data := Dataset.from_parquet_files("*.parquet"))), data)

    def test_a_name_that_looks_like_a_pattern(self, frame):
        frame.to_parquet("rows[1].parquet")
        frame.take([0]).to_parquet("rows1.parquet")

        assert everything(t=Dataset.from_parquet_files("rows[[]1*.parquet")).num_rows == 3

    def test_a_copy_of_another_name_in_the_cache(self, workspace, frame):
        folder = workspace.parent / "lake"
        folder.mkdir()
        frame.to_parquet(folder / "rows.parquet")
        Workspace().datastores.register("lake", "lake")

        assert same(everything(t=(data := Dataset.from_parquet_files(("lake", "*.parquet")))), data)


class TestTexts:
    def test_delimited_files_with_their_options(self, write):
        write("a.txt", 'zip;count\n00501;1\n"NA";NA\n')
        data = Dataset.from_delimited_files("a.txt", separator=";", types={"zip": "str"})

        assert same(everything(t=data), data)
        assert everything(t=data)["zip"].to_pylist() == ["00501", "NA"]

    def test_json_lines(self, write):
        write("a.jsonl", '{"day": "2026-01-01T00:00:00", "n": {"x": [1, 2]}}\n')

        assert same(everything(t=(data := Dataset.from_json_lines_files("a.jsonl"))), data)

    def test_what_is_large_is_read_in_parts_and_may_be_used_twice(self, write, monkeypatch):
        monkeypatch.setattr("pipelite.steps.tables.MEMORY_BYTES", 1)
        monkeypatch.setattr("pipelite.data.dataset.WHOLE_BYTES", 1)
        write("a.csv", "n,day\n" + "".join(f"{number},2026-01-0{number}\n" for number in range(1, 9)))
        data = Dataset.from_delimited_files("a.csv").filter("n > 3")

        assert same(everything(t=data), data)
        pairs = sql("SELECT count(*)::INT AS n FROM t JOIN t AS other USING (day)", tables={"t": Input("t")})(data)
        assert pairs["n"].tolist() == [5]


def test_files_without_rows_are_what_their_names_say(write):
    write("a.csv", "n\n1\n")

    assert everything(t=Dataset.from_files("a.csv")).to_pylist() == [{"n": 1}]


def test_a_dataset_may_stand_among_the_tables_and_counts_by_content(write):
    write("rides/a.csv", "n\n1\n")
    total = sql("SELECT sum(n)::INT AS n FROM t", tables={"t": Dataset.from_delimited_files("rides/*.csv")})

    @pipeline
    def flow():
        return total()

    assert flow.run().outputs["result"]["n"].tolist() == [1]
    assert flow.run().steps["sql"].reused
    write("rides/b.csv", "n\n20\n")
    assert flow.run().outputs["result"]["n"].tolist() == [21]


def test_a_version_knows_the_queries_that_used_it(write):
    rides = Dataset.from_delimited_files(write("a.csv", "n\n1\n")).register("rides")
    total = sql("SELECT sum(n)::INT AS n FROM rides", tables={"rides": Input("rides")})

    @pipeline(register_outputs={"total": "total"})
    def flow(rides: Dataset):
        return {"total": total(rides)}

    run = flow.run(rides=rides)

    datasets = Workspace().datasets
    assert [(use.run_id, use.step_run) for use in datasets.uses("rides")] == [(run.id, "sql")]
    assert [use.dataset for use in datasets.made_from(datasets.record("total"))] == ["rides:1"]


def test_a_table_that_cannot_be_read_is_named(write):
    write("a.csv", "a,b\n1,2\n3\n")

    with pytest.raises(QueryError, match=r"table 't': dataset .*a.csv.* has rows of different lengths"):
        everything(t=Dataset.from_delimited_files("a.csv"))


def test_a_database_may_be_a_dataset(tmp_path):
    import sqlite3

    with sqlite3.connect("shop.db") as connection:
        connection.execute("CREATE TABLE sales AS SELECT 1 AS n")
    connection.close()

    assert sql("SELECT n FROM sales", database=Input("shop"))(Dataset.from_files("shop.db"))["n"].tolist() == [1]
