"""Datasets of what a query gives: on files of SQLite and DuckDB, on a PostgreSQL server, and whatever else has a URL."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from servers import free_port, postgres_command, running

from pipelite import Dataset, Workspace, pipeline, step
from pipelite.errors import DatasetError, DatastoreError, PipeliteError

pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")

PASSWORD = "pass word/1"


class TestDuckDB:
    @pytest.fixture(autouse=True)
    def database(self, tmp_path) -> Path:
        path = tmp_path / "shop.duckdb"
        with closing(duckdb.connect(path)) as connection:
            connection.execute(
                "CREATE TABLE sales AS SELECT * FROM (VALUES ('a', 1.5, DATE '2026-01-01'), ('b', 2, NULL)) v(item, price, day)"
            )
        return path

    def test_rows_with_their_types(self):
        data = Dataset.from_sql("SELECT * FROM sales ORDER BY item", "shop.duckdb")

        assert data.to_arrow().to_pydict() == {
            "item": ["a", "b"],
            "price": [Decimal("1.5"), Decimal("2.0")],
            "day": [date(2026, 1, 1), None],
        }

    def test_parameters_by_place_and_by_name(self):
        by_place = Dataset.from_sql("SELECT item FROM sales WHERE day = ?", "shop.duckdb", [date(2026, 1, 1)])
        by_name = Dataset.from_sql("SELECT item FROM sales WHERE price > $least", "shop.duckdb", {"least": 1.7})

        assert by_place.to_arrow()["item"].to_pylist() == ["a"]
        assert by_name.to_arrow()["item"].to_pylist() == ["b"]

    def test_it_counts_by_the_content_of_the_file(self, database):
        data = Dataset.from_sql("SELECT count(*) AS n FROM sales", "shop.duckdb")
        before = data.identity(None)
        Path("copy").mkdir()
        shutil.copy(database, "copy")

        assert Dataset.from_sql("SELECT count(*) AS n FROM sales", "copy/shop.duckdb").identity(None) == before
        with closing(duckdb.connect(database)) as connection:
            connection.execute("INSERT INTO sales VALUES ('c', 3, NULL)")
        assert data.identity(None) != before
        assert data.to_arrow()["n"].to_pylist() == [3]

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            ("SELECT prize FROM sales", r"the query on .*shop.duckdb' failed: .*prize"),
            ("SELECT 1 AS a, 2 AS a", "it gives several columns 'a'; tell them apart by AS"),
            ("INSERT INTO sales VALUES ('c', 3, NULL)", "read-only"),
            ("SELECT * FROM 'other.csv'", "disabled"),
        ],
    )
    def test_a_wrong_query_is_told(self, query, message):
        Path("other.csv").write_text("x\n1\n")

        with pytest.raises(DatasetError, match=message):
            Dataset.from_sql(query, "shop.duckdb").to_arrow()

    def test_changes_that_are_only_in_the_log_are_refused(self, database):
        Path(f"{database}.wal").write_text("something")

        with pytest.raises(
            DatasetError, match="only in its write-ahead log; close what has it open, or run `CHECKPOINT`"
        ):
            Dataset.from_sql("SELECT * FROM sales", "shop.duckdb").to_arrow()


class TestSQLite:
    @pytest.fixture(autouse=True)
    def database(self) -> None:
        with closing(sqlite3.connect("shop.db")) as connection, connection:
            connection.execute("CREATE TABLE sales (item TEXT, price REAL, day TEXT)")
            connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", [("a", 1.5, "2026-01-01"), ("b", 2, None)])

    def test_parameters_by_name(self):
        data = Dataset.from_sql("SELECT item FROM sales WHERE day = :day", "shop.db", {"day": date(2026, 1, 1)})

        assert data.to_arrow()["item"].to_pylist() == ["a"]

    def test_no_rows_have_their_columns(self):
        assert Dataset.from_sql("SELECT * FROM sales WHERE 0", "shop.db").to_arrow().column_names == [
            "item",
            "price",
            "day",
        ]

    def test_by_a_url_of_sqlalchemy_too(self, tmp_path):
        pytest.importorskip("sqlalchemy")
        url = f"sqlite:///{tmp_path / 'shop.db'}"
        data = Dataset.from_sql("SELECT item FROM sales WHERE price > :least", url, {"least": 1.7})

        assert data.to_arrow()["item"].to_pylist() == ["b"]
        with pytest.raises(DatasetError, match=r"parameters of a query on a server have names"):
            Dataset.from_sql("SELECT item FROM sales WHERE price > ?", url, [1.7]).to_arrow()

    def test_a_file_takes_no_credentials(self):
        with pytest.raises(DatasetError, match="is a file, which takes no credentials"):
            Dataset.from_sql("SELECT 1", "shop.db", credentials={"password": "env:X"})


def connect_when_up(place: str):
    """It answers on its port before it lets anybody in."""
    import psycopg

    until = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(place, autocommit=True)
        except psycopg.OperationalError as exc:
            if "starting up" not in str(exc) or time.monotonic() > until:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a PostgreSQL server, with a database `shop` of the user `keeper`, who has a password."""
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed")
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    # Not below pytest's folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="pipelite-postgres-"))
    try:
        port = free_port()
        command, user = postgres_command(port, folder, "keeper", PASSWORD)
        with running(command, port, folder / "log", user=user):
            place = f"host=127.0.0.1 port={port} user=keeper password='{PASSWORD}' dbname="
            with closing(connect_when_up(f"{place}postgres")) as connection:
                connection.execute("CREATE DATABASE shop")
            with closing(psycopg.connect(f"{place}shop", autocommit=True)) as connection:
                connection.execute(
                    "CREATE TABLE sales (id uuid DEFAULT gen_random_uuid(), item text, price numeric(8, 2), day date, "
                    "at timestamptz, tags text[], good bool)"
                )
            yield f"127.0.0.1:{port}/shop"
    finally:
        shutil.rmtree(folder)


class TestServer:
    @pytest.fixture(autouse=True)
    def sales(self, server, monkeypatch):
        import psycopg

        monkeypatch.setenv("SHOP_USER", "keeper")
        monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
        self.url = f"postgresql+psycopg://{server}"
        host, port = server.partition("/")[0].split(":")
        with closing(
            psycopg.connect(host=host, port=port, user="keeper", password=PASSWORD, dbname="shop", autocommit=True)
        ) as connection:
            connection.execute("TRUNCATE sales")
            self.connection = connection
            self.sell("a", 1.5)
            self.sell("b", 2)
            yield

    def sell(self, item: str, price: float) -> None:
        self.connection.execute(
            "INSERT INTO sales (item, price, day, at, tags, good) "
            "VALUES (%s, %s, '2026-01-01', '2026-01-01 10:00+00', '{x,y}', true)",
            (item, price),
        )

    def dataset(self, query: str = "SELECT item, price FROM sales ORDER BY item", **options) -> Dataset:
        credentials = {"username": "env:SHOP_USER", "password": "env:SHOP_PASSWORD"}
        return Dataset.from_sql(query, self.url, credentials=credentials, **options)

    def test_rows_with_their_types(self):
        from datetime import UTC

        row = self.dataset("SELECT * FROM sales WHERE item = :item", parameters={"item": "a"}).to_arrow().to_pylist()[0]

        assert len(row.pop("id")) == 36
        assert row.pop("at").astimezone(UTC) == datetime(2026, 1, 1, 10, tzinfo=UTC)
        assert row == {
            "item": "a",
            "price": Decimal("1.50"),
            "day": date(2026, 1, 1),
            "tags": ["x", "y"],
            "good": True,
        }

    def test_it_is_asked_on_every_use_and_counts_by_its_rows(self, caplog):
        @step
        def total(data):
            return float(data.to_pandas()["price"].sum())

        @pipeline
        def flow(data: Dataset):
            return total(data)

        assert flow.run(data=self.dataset()).outputs["result"] == 3.5
        assert "a server does not say whether its rows change, so it is asked on every use" in caplog.text
        assert flow.run(data=self.dataset()).steps["total"].reused
        self.sell("c", 10)
        assert flow.run(data=self.dataset()).outputs["result"] == 13.5

    def test_a_step_reads_the_rows_that_were_looked_at(self):
        data = self.dataset()

        @step
        def total(data):
            # In this process, so it can.
            self.sell("late", 1)
            return len(data.to_pandas())

        @pipeline(compute="inline")
        def flow(data: Dataset):
            return total(data)

        assert flow.run(data=data).outputs["result"] == 2
        assert self.dataset().to_arrow().num_rows == 3

    def test_it_is_registered_without_its_secret(self, workspace):
        self.dataset().register("sales")

        assert Dataset.get("sales").to_arrow().num_rows == 2
        text = str(Workspace().datasets.record("sales").as_dict())
        assert "env:SHOP_PASSWORD" in text
        everything = b"".join(path.read_bytes() for path in workspace.rglob("*") if path.is_file())
        assert PASSWORD.encode() not in everything

    def test_the_name_of_a_credential_does_not_count(self, monkeypatch, workspace):
        before = self.dataset().identity(None)
        secret = workspace.parent / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)

        data = Dataset.from_sql(
            "SELECT item, price FROM sales ORDER BY item",
            self.url.replace("//", "//keeper@"),
            credentials={"password": f"file:{secret}"},
        )
        assert data.identity(None) == before

    def test_nothing_is_changed_there(self):
        self.connection.execute(
            "CREATE OR REPLACE FUNCTION empty() RETURNS bool LANGUAGE SQL AS 'DELETE FROM sales RETURNING true'"
        )
        assert self.dataset("SELECT empty() AS emptied").to_arrow()["emptied"].to_pylist() == [True]

        assert self.dataset().to_arrow().num_rows == 2

    def test_a_refusal_is_told_without_the_secret(self, monkeypatch):
        monkeypatch.setenv("SHOP_PASSWORD", "wrong one")

        with pytest.raises(DatasetError, match="password authentication failed") as refused:
            self.dataset().to_arrow()
        assert "wrong one" not in str(refused.value)
        assert refused.value.__cause__ is None

    def test_a_wrong_column_is_told(self):
        with pytest.raises(DatasetError, match=r'the query on .*/shop\' failed: .*column "prize" does not exist'):
            self.dataset("SELECT prize FROM sales").to_arrow()

    def test_a_credential_that_is_not_there_is_named(self, monkeypatch):
        monkeypatch.delenv("SHOP_PASSWORD")

        with pytest.raises(
            DatastoreError, match=r"database '.*': its credential 'password' is to be in .* SHOP_PASSWORD"
        ):
            self.dataset().to_arrow()


@pytest.mark.parametrize(
    ("url", "credentials", "message"),
    [
        ("postgresql://me:secret@host/shop", {}, "the URL holds a password; leave it away"),
        ("postgresql://host/shop?password=secret", {}, "the URL holds a secret; leave it away"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dsecret", {}, "the URL holds a secret; leave it away"),
        ("postgresql://host/shop", {"password": "secret"}, "is to say where it is, 'env:NAME'"),
        ("postgresql://host/shop", {"pasword": "env:X"}, "'pasword' is no credential; there are: username, password"),
    ],
)
def test_secrets_are_refused_without_repeating_them(url, credentials, message):
    with pytest.raises(PipeliteError, match=message) as refused:
        Dataset.from_sql("SELECT 1", url, credentials=credentials)
    assert "secret@" not in str(refused.value)
    assert "=secret" not in str(refused.value)
