"""Datasets over files of this machine: what they read, what they refuse, what they count by."""

import os
import pickle
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelite import Dataset, Workspace
from pipelite.errors import DatasetError, DatastoreError, NotFoundError

FORMAT = "region={region}/{day:%Y-%m-%d}.csv"


def identity(dataset):
    return dataset.identity(None)


class TestReading:
    def test_csv_files_of_a_pattern_become_one_table(self, bikes):
        data = Dataset.from_delimited_files("bikes/*/*.csv")

        assert data.files == [
            f"region={region}/2026-01-0{day}.csv" for region in ("north", "south") for day in (1, 2, 3)
        ]
        frame = data.to_pandas()
        assert frame.shape == (24, 2)
        assert dict(frame.dtypes) == {"hour": "int64", "count": "int64"}

    def test_columns_come_out_of_the_names_of_files(self, bikes):
        frame = Dataset.from_delimited_files("bikes/**/*.csv", partition_format=FORMAT).to_pandas()

        assert list(frame.columns) == ["hour", "count", "region", "day"]
        assert frame.groupby("region")["count"].sum().to_dict() == {"north": 36, "south": 36}
        assert frame["day"].max() == datetime.fromisoformat("2026-01-03")

    @pytest.mark.parametrize(
        ("text", "name", "columns"),
        [
            ("{year:int}/{kind}.csv", "2026/a.csv", {"year": 2026, "kind": "a"}),
            ("{day:yyyy/MM/dd}/*.csv", "2026/01/31/x.csv", {"day": datetime.fromisoformat("2026-01-31")}),
            ("p={p:float}/*.parquet", "deep/p=0.5/x.parquet", {"p": 0.5}),
        ],
    )
    def test_partition_formats(self, text, name, columns):
        from pipelite.data.reading import Partitions

        assert Partitions(text, "d").values_of(name) == columns

    @pytest.mark.parametrize(("text", "name"), [("{year:int}/x.csv", "soon/x.csv"), ("{a}/{b}.csv", "x.csv")])
    def test_a_name_that_does_not_fit_a_partition_format_is_an_error(self, text, name):
        from pipelite.data.reading import Partitions

        with pytest.raises(DatasetError, match="does not fit the partition format"):
            Partitions(text, "d").values_of(name)

    def test_parquet_and_json_lines(self, write, tmp_path):
        pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "a.parquet")
        write("a.jsonl", '{"x": 1, "y": "a"}\n{"x": 2, "y": null}\n')

        assert Dataset.from_parquet_files("a.parquet").to_arrow().to_pydict() == {"x": [1, 2]}
        assert Dataset.from_json_lines_files("a.jsonl").to_arrow().to_pydict() == {"x": [1, 2], "y": ["a", None]}

    def test_files_without_rows_give_none(self, write):
        write("a.jsonl", "")
        write("a.csv", "x,y\n")

        assert Dataset.from_json_lines_files("a.jsonl").to_pandas().shape == (0, 0)
        assert Dataset.from_delimited_files("a.csv").to_pandas().shape == (0, 2)

    def test_options_of_delimited_files(self, write):
        write("a.txt", "1;ä\n2;\n", encoding="latin-1")

        data = Dataset.from_delimited_files(
            "a.txt", separator=";", header=False, columns=["n", "t"], encoding="latin-1", types={"n": "float"}
        )
        assert data.to_arrow().to_pydict() == {"n": [1.0, 2.0], "t": ["ä", None]}

    def test_compressed_files(self, tmp_path):
        import gzip

        (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x\n1\n"))

        assert Dataset.from_delimited_files("a.csv.gz").to_arrow().to_pydict() == {"x": [1]}

    def test_rows_of_an_sqlite_database(self, tmp_path):
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
            connection.execute("CREATE TABLE sales (item TEXT, price REAL)")
            connection.executemany("INSERT INTO sales VALUES (?, ?)", [("a", 1.5), ("b", 2.5), ("b", 3.5)])

        data = Dataset.from_sql("SELECT price FROM sales WHERE item = ? ORDER BY price", "shop.db", ["b"])
        assert data.to_arrow().to_pydict() == {"price": [2.5, 3.5]}
        before = identity(data)
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
            connection.execute("INSERT INTO sales VALUES ('b', 4.5)")
        assert data.to_arrow().to_pydict() == {"price": [2.5, 3.5, 4.5]}
        assert identity(data) != before

    def test_whole_numbers_in_one_file_and_fractions_in_another_are_fractions(self, write):
        write("a.csv", "x\n1\n")
        write("b.csv", "x\n0.5\n")

        assert Dataset.from_delimited_files("*.csv").to_arrow().to_pydict() == {"x": [1.0, 0.5]}

    def test_a_code_that_looks_like_a_number_in_one_file_stays_as_it_is_written(self, write):
        write("a.csv", "zip\n01234\n")
        write("b.csv", "zip\nAB1\n")

        assert Dataset.from_delimited_files("*.csv").to_arrow().to_pydict() == {"zip": ["01234", "AB1"]}

    def test_large_files_are_read_in_parts(self, write, monkeypatch):
        monkeypatch.setattr("pipelite.data.reading.WHOLE_BYTES", 1000)
        monkeypatch.setattr("pipelite.data.reading.PART_BYTES", 4096)
        write("a.csv", "x,y\n" + "".join(f"{n},text{n}\n" for n in range(5000)))
        data = Dataset.from_delimited_files("a.csv")

        parts = list(data.iter_arrow())
        assert len(parts) > 5
        assert sum(part.num_rows for part in parts) == 5000
        assert data.to_pandas()["x"].sum() == sum(range(5000))
        assert data.take(3).to_arrow().to_pydict() == {"x": [0, 1, 2], "y": ["text0", "text1", "text2"]}
        assert data.skip(4997).to_arrow().to_pydict()["x"] == [4997, 4998, 4999]
        assert data.skip(2).take(2).to_arrow().to_pydict()["x"] == [2, 3]
        assert data.skip(6000).to_pandas().empty

    def test_to_take_a_few_rows_reads_no_further(self, bikes, monkeypatch):
        from pipelite.data import reading

        opened = []
        real = reading._iter_file

        def iter_file(definition, file, *rest):
            opened.append(file.name)
            return real(definition, file, *rest)

        monkeypatch.setattr(reading, "_iter_file", iter_file)
        assert len(Dataset.from_delimited_files("bikes/**").take(5).to_pandas()) == 5
        assert len(opened) == 2


class TestRows:
    @pytest.fixture
    def data(self, write):
        write("numbers.csv", "n,kind\n" + "".join(f"{n},{'even' if n % 2 == 0 else 'odd'}\n" for n in range(100)))
        return Dataset.from_delimited_files("numbers.csv")

    def test_columns_and_rows_are_chosen_in_the_order_of_the_calls(self, data):
        small = data.filter("n >= @low and kind == 'even'", low=90).keep_columns("n").take(2)

        assert small.to_arrow().to_pydict() == {"n": [90, 92]}
        assert data.take(91).filter("n >= 90").to_arrow().to_pydict()["n"] == [90]

    def test_values_of_a_condition_may_be_lists_and_dates(self, write):
        write("days.csv", "day,n\n2026-01-01,1\n2026-01-02,2\n2026-01-03,3\n")
        data = Dataset.from_delimited_files("days.csv", types={"day": "datetime"})

        late = data.filter("day >= @first", first=datetime.fromisoformat("2026-01-02"))
        assert late.to_arrow()["n"].to_pylist() == [2, 3]
        assert pickle.loads(pickle.dumps(late)).filter("n in @chosen", chosen=[1, 3]).to_arrow()["n"].to_pylist() == [3]
        with pytest.raises(DatasetError, match="takes no value of type 'object'"):
            data.filter("n == @what", what=object())

    def test_a_dataset_does_not_change(self, data):
        data.take(1)

        assert len(data.to_pandas()) == 100

    def test_a_split_gives_each_row_to_one_part(self, data):
        first, second = data.random_split(0.8, seed=7)

        a, b = first.to_pandas()["n"].tolist(), second.to_pandas()["n"].tolist()
        assert sorted(a + b) == list(range(100))
        assert 65 < len(a) < 95
        assert first.to_pandas()["n"].tolist() == a
        assert data.random_split(0.8, seed=8)[0].to_pandas()["n"].tolist() != a

    def test_a_split_does_not_depend_on_the_parts_that_are_read(self, data, monkeypatch):
        whole = data.random_split(0.5)[0].to_pandas()["n"].tolist()
        monkeypatch.setattr("pipelite.data.reading.WHOLE_BYTES", 10)
        monkeypatch.setattr("pipelite.data.reading.PART_BYTES", 128)

        assert data.random_split(0.5)[0].to_pandas()["n"].tolist() == whole

    @pytest.mark.parametrize("condition", ["m > 1", "n >", "n + 1", "n > @low"])
    def test_a_condition_that_is_none_is_named_with_the_columns(self, data, condition):
        with pytest.raises(DatasetError, match=r"the filter .* cannot be evaluated .* the columns are n, kind"):
            data.filter(condition).to_pandas()

    def test_a_column_that_is_not_there_is_named(self, data):
        with pytest.raises(DatasetError, match="has no column 'm'; it has n, kind"):
            data.keep_columns(["n", "m"]).to_pandas()

    @pytest.mark.parametrize("target", ["parts", ("local", "parts")])
    def test_rows_are_written_into_a_folder_for_each_value(self, data, target):
        parts = data.partition_by("kind", target)

        assert parts.files == ["kind=even/part-0.parquet", "kind=odd/part-0.parquet"]
        frame = parts.to_pandas()
        assert sorted(frame["n"]) == list(range(100))
        assert set(frame["kind"][frame["n"] % 2 == 0]) == {"even"}
        with pytest.raises(DatasetError, match="is not empty"):
            data.partition_by("kind", target)
        with pytest.raises(DatasetError, match="has no column 'm'"):
            data.partition_by("m", "other")

    def test_partitions_of_numbers_come_back_as_numbers(self, data):
        parts = data.filter("n < 3").partition_by("n", "parts")

        assert parts.to_arrow().to_pydict() == {"kind": ["even", "odd", "even"], "n": [0, 1, 2]}
        with pytest.raises(DatasetError, match="at least one has to remain"):
            data.partition_by(["kind", "n"], "others")


class TestFiles:
    def test_one_file_has_a_path_and_many_have_a_folder(self, bikes, tmp_path):
        one = Dataset.from_files("bikes/region=north/2026-01-01.csv")
        many = Dataset.from_files("bikes/**/2026-01-01.csv")

        assert one.as_path() == tmp_path / "bikes/region=north/2026-01-01.csv"
        folder = many.as_path()
        assert sorted(path.name for path in folder.iterdir()) == ["region=north", "region=south"]
        assert (folder / "region=south/2026-01-01.csv").read_text().startswith("hour,count\n")
        assert many.as_path() == folder

    def test_files_are_copied_to_a_folder(self, bikes, tmp_path):
        copies = Dataset.from_files("bikes/**/2026-01-01.csv").download("here")

        assert [path.relative_to(tmp_path).as_posix() for path in copies] == [
            "here/region=north/2026-01-01.csv",
            "here/region=south/2026-01-01.csv",
        ]

    @pytest.mark.parametrize("whole_bytes", [1, 1 << 20])
    def test_rows_are_written_to_one_file_with_the_types_of_all_of_them(self, write, monkeypatch, whole_bytes):
        import pyarrow.parquet as pq

        monkeypatch.setattr("pipelite.data.dataset.WHOLE_BYTES", whole_bytes)
        for name, values in {"a": "1\n2", "b": "0.5\n2", "c": "7\n8"}.items():
            write(f"parts/{name}.csv", f"count,note\n{values.replace(chr(10), f',{name}{chr(10)}')},\n")
        write("parts/d.csv", "note,count\n1,7\n")
        data = Dataset.from_delimited_files("parts/*.csv", types={"note": "str"})

        path = data.to_parquet("rows/all.parquet")

        assert pq.read_table(path).equals(data.to_arrow())
        assert str(data.to_arrow().schema.field("count").type) == "double"
        assert [each.name for each in path.parent.iterdir()] == ["all.parquet"]

    @pytest.mark.parametrize("whole_bytes", [1, 1 << 20])
    def test_a_column_that_is_text_in_one_file_is_written_as_text(self, write, monkeypatch, whole_bytes):
        import pyarrow.parquet as pq

        monkeypatch.setattr("pipelite.data.dataset.WHOLE_BYTES", whole_bytes)
        write("parts/a.csv", "zip\n00501\n")
        write("parts/b.csv", "zip\nK1A\n")

        path = Dataset.from_delimited_files("parts/*.csv").to_parquet("all.parquet")
        assert pq.read_table(path)["zip"].to_pylist() == ["00501", "K1A"]

    def test_files_have_no_rows_and_chosen_rows_no_files(self, bikes):
        with pytest.raises(DatasetError, match=r"is files without rows; use .as_path\(\)"):
            Dataset.from_files("bikes/**").to_pandas()
        with pytest.raises(DatasetError, match="is files without rows"):
            Dataset.from_files("bikes/**").take(1)
        with pytest.raises(DatasetError, match="is rows that were chosen"):
            Dataset.from_delimited_files("bikes/**").take(1).as_path()


class TestIdentity:
    def test_it_is_that_of_contents_and_relative_names(self, bikes, write, tmp_path):
        data = Dataset.from_delimited_files("bikes/**/*.csv")
        before = identity(data)

        (tmp_path / "bikes").rename(tmp_path / "moved")
        assert identity(Dataset.from_delimited_files("moved/**/*.csv")) == before
        path = tmp_path / "moved/region=north/2026-01-01.csv"
        text = path.read_text()
        write("moved/region=north/2026-01-01.csv", text.replace("0,0", "0,1"))
        assert identity(Dataset.from_delimited_files("moved/**/*.csv")) != before
        write("moved/region=north/2026-01-01.csv", text)
        assert identity(Dataset.from_delimited_files("moved/**/*.csv")) == before
        path.rename(path.with_name("2026-01-09.csv"))
        assert identity(Dataset.from_delimited_files("moved/**/*.csv")) != before

    def test_how_it_is_read_and_what_is_done_with_the_rows_count(self, bikes):
        data = Dataset.from_delimited_files("bikes/**/*.csv")
        others = [
            data.take(1),
            data.take(2),
            data.filter("hour > @low", low=1),
            data.filter("hour > @low", low=2),
            *data.random_split(0.5),
            data.keep_columns("hour"),
            Dataset.from_delimited_files("bikes/**/*.csv", separator=";"),
            Dataset.from_files("bikes/**/*.csv"),
        ]

        assert len({identity(each) for each in [data, *others]}) == 10

    def test_it_is_the_same_after_pickling_which_holds_no_data(self, bikes):
        data = Dataset.from_delimited_files("bikes/**/*.csv").filter("hour > @low", low=1)

        copy = pickle.loads(pickle.dumps(data))
        assert identity(copy) == identity(data)
        assert copy.to_pandas().equals(data.to_pandas())

    def test_one_that_was_sent_refuses_bytes_that_came_later(self, bikes, write):
        data = Dataset.from_delimited_files("bikes/region=north/2026-01-01.csv")
        identity(data)
        sent = pickle.loads(pickle.dumps(data))
        write("bikes/region=north/2026-01-01.csv", "hour,count\n9,9\n")

        with pytest.raises(DatasetError, match="was changed after the run had looked at it"):
            sent.to_pandas()
        assert data.to_pandas()["hour"].tolist() == [9]


class TestHeaders:
    @pytest.fixture(autouse=True)
    def files(self, write):
        write("a.csv", "x,y\n1,2\n")
        write("b.csv", "y,x\n3,4\n")

    @pytest.mark.parametrize(
        ("header", "rows"),
        [
            (True, [{"x": 1, "y": 2}, {"x": 4, "y": 3}]),
            ("first", [{"x": 1, "y": 2}, {"x": 3, "y": 4}]),
            (False, [{"f0": "x", "f1": "y"}, {"f0": "1", "f1": "2"}, {"f0": "y", "f1": "x"}, {"f0": "3", "f1": "4"}]),
        ],
    )
    def test_files_are_put_together_by_their_own_names_or_those_of_the_first(self, header, rows):
        data = Dataset.from_delimited_files(["a.csv", "b.csv"], header=header)
        assert data.to_arrow().to_pylist() == rows

    def test_only_the_first_file_has_a_line_with_names(self, write):
        write("b.csv", "3,4\n5,6\n")
        data = Dataset.from_delimited_files("*.csv", header="only_first", types={"y": "float"})
        assert data.to_arrow().to_pydict() == {"x": [1, 3, 5], "y": [2.0, 4.0, 6.0]}
        assert data.take(2).to_arrow().num_rows == 2

    def test_a_later_file_with_another_number_of_columns_is_named(self, write):
        write("b.csv", "z\n3\n")
        with pytest.raises(DatasetError, match=r"'b.csv' .* has rows of different lengths .*Expected 2 columns"):
            Dataset.from_delimited_files("*.csv", header="first").to_pandas()

    def test_another_word_is_refused(self):
        with pytest.raises(DatasetError, match="header='last' is wrong; True, False, 'first' or 'only_first'"):
            Dataset.from_delimited_files("*.csv", header="last")


class TestBadInput:
    @pytest.mark.parametrize("path", ["nothing.csv", "nothing/*.csv", "**/*.nothing"])
    def test_a_path_or_pattern_that_finds_nothing_is_named(self, path):
        with pytest.raises(DatasetError, match=r"(there is no file or folder|no file matches) '.*nothing"):
            Dataset.from_delimited_files(path).to_pandas()

    def test_files_that_need_not_be_there_are_an_empty_folder(self, write):
        later, pattern = (
            Dataset.from_files("later", missing_ok=True),
            Dataset.from_files("later/*.csv", missing_ok=True),
        )
        assert (later.files, pattern.files, list(later.as_path().iterdir()), later.download("copy")) == ([], [], [], [])
        before = identity(later)

        write("later/a.txt", "1")

        assert (later.files, pattern.files) == (["a.txt"], [])
        assert identity(later) == identity(Dataset.from_files("later")) != before
        with pytest.raises(DatasetError, match="there is no file or folder"):
            identity(Dataset.from_files("nothing"))

    @pytest.mark.parametrize("text", ["a,b\n1,2\n3\n", "a,b\n1,2\n3,4,5\n"])
    def test_rows_of_different_lengths_are_named(self, write, text):
        write("a.csv", text)

        with pytest.raises(DatasetError, match=r"'a.csv' .* has rows of different lengths .*Expected 2 columns"):
            Dataset.from_delimited_files("a.csv").to_pandas()

    @pytest.mark.parametrize("text", ["name\nGröße\n", "größe\n1\n"])
    def test_another_encoding_is_named(self, write, text):
        write("a.csv", text, encoding="latin-1")

        with pytest.raises(DatasetError, match=r"'a.csv' .* is not in the encoding 'utf8'.*give encoding="):
            Dataset.from_delimited_files("a.csv").to_pandas()
        assert "ö" in str(Dataset.from_delimited_files("a.csv", encoding="latin-1").to_arrow().to_pydict())

    def test_an_encoding_that_does_not_exist_is_named(self, write):
        write("a.csv", "x\n1\n")

        with pytest.raises(DatasetError, match="unknown encoding: klingon"):
            Dataset.from_delimited_files("a.csv", encoding="klingon").to_pandas()

    @pytest.mark.parametrize(
        ("name", "make"),
        [
            ("empty.csv", Dataset.from_delimited_files),
            ("empty.parquet", Dataset.from_parquet_files),
            ("torn.jsonl", Dataset.from_json_lines_files),
        ],
    )
    def test_a_file_that_is_none_of_its_format_is_named(self, write, name, make):
        write(name, '{"x": ' if name == "torn.jsonl" else "")

        with pytest.raises(DatasetError, match=name):
            make(name).to_pandas()

    def test_a_wrong_query_is_named(self, tmp_path):
        closing(sqlite3.connect(tmp_path / "shop.db"))
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
            connection.execute("CREATE TABLE sales (item TEXT)")

        with pytest.raises(DatasetError, match="no such column: price"):
            Dataset.from_sql("SELECT price FROM sales", "shop.db").to_pandas()

    def test_changes_that_are_only_in_the_log_of_a_database_are_refused(self, tmp_path):
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE sales (item TEXT)")

            with pytest.raises(DatasetError, match="only in its write-ahead log"):
                Dataset.from_sql("SELECT * FROM sales", "shop.db").to_pandas()

    def test_an_unknown_datastore_and_a_path_that_climbs_out_are_named(self):
        with pytest.raises(NotFoundError, match="no datastore 'lake'"):
            Dataset.from_files(("lake", "x.csv")).as_path()
        with pytest.raises(DatastoreError, match="leads out of the root of datastore 'local'"):
            Dataset.from_files(("local", "../pipelite.db"))

    def test_a_column_that_changes_its_type_late_in_a_large_file_is_named(self, write, monkeypatch):
        monkeypatch.setattr("pipelite.data.reading.WHOLE_BYTES", 10)
        monkeypatch.setattr("pipelite.data.reading.PART_BYTES", 128)
        write("a.csv", "zip\n" + "1234\n" * 100 + "AB1\n")

        with pytest.raises(DatasetError, match=r"not of its column's type .*types="):
            Dataset.from_delimited_files("a.csv").to_pandas()
        read = Dataset.from_delimited_files("a.csv", types={"zip": "str"}).to_pandas()
        assert read["zip"].iloc[-1] == "AB1"

    def test_a_pattern_looks_no_deeper_than_it_says(self, bikes, tmp_path, monkeypatch):
        scanned = []
        real = os.scandir
        monkeypatch.setattr(os, "scandir", lambda place: scanned.append(Path(place)) or real(place))

        assert len(Dataset.from_files("*/*/2026-01-01.csv").files) == 2
        assert max(len(place.relative_to(tmp_path).parts) for place in scanned) == 2
        scanned.clear()
        with pytest.raises(DatasetError, match=r"no file matches"):
            Dataset.from_files("*.csv").files
        assert scanned == [tmp_path]

    def test_a_folder_that_cannot_be_read_is_named(self, bikes, monkeypatch, tmp_path):
        def refuse(place):
            raise PermissionError(13, "Permission denied", str(place))

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(DatasetError, match=r"bikes' cannot be read \(Permission denied\); look at its permissions"):
            Dataset.from_files("bikes/*").files


class TestRegistration:
    def test_a_name_gets_versions_and_equal_data_none(self, bikes, write):
        data = Dataset.from_delimited_files("bikes/**/*.csv")

        first = data.register("bikes", "hours of rentals", {"city": "DC"})
        again = data.register("bikes")
        assert (first.name, first.version, again.version) == ("bikes", 1, 1)
        write("bikes/region=north/2026-01-04.csv", "hour,count\n1,1\n")
        second = data.register("bikes")
        assert second.version == 2
        assert data.take(3).register("bikes").version == 3
        assert Dataset.get("bikes").version == 3
        assert Dataset.get("bikes", 1).to_pandas().shape == (25, 2)
        record = Workspace().datasets.record("bikes", 1)
        assert (record.description, dict(record.tags), record.files) == ("hours of rentals", {"city": "DC"}, 6)
        assert str(first) == "bikes:1"

    def test_the_workspace_lists_them(self, bikes):
        Dataset.from_files("bikes/**").register("b")
        Dataset.from_files("bikes/*/*-01.csv").register("a")

        assert list(Workspace().datasets) == ["a", "b"]
        assert Workspace().datasets["b"].version == 1
        assert [record.label for record in Workspace().datasets.records()] == ["a:1", "b:1"]

    def test_an_unknown_name_or_version_is_an_error_that_says_what_there_is(self, bikes):
        with pytest.raises(NotFoundError, match="no dataset 'bikes'; there are: none"):
            Dataset.get("bikes")
        Dataset.from_files("bikes/**").register("bikes")
        with pytest.raises(NotFoundError, match="no dataset 'bike'; there are: bikes"):
            Dataset.get("bike")
        with pytest.raises(NotFoundError, match="dataset 'bikes' has no version 7; the latest is 1"):
            Dataset.get("bikes", 7)

    @pytest.mark.parametrize("name", ["", "a b", "a:1", "../a", "1a"])
    def test_a_name_that_cannot_be_one_is_refused(self, bikes, name):
        with pytest.raises(DatasetError, match="is no name for a dataset"):
            Dataset.from_files("bikes/**").register(name)

    def test_what_is_not_there_cannot_be_registered(self):
        with pytest.raises(DatasetError, match="no file matches"):
            Dataset.from_files("nothing/*").register("nothing")
        assert len(Workspace().datasets) == 0
