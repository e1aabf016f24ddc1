"""Datastores and datasets, as scripts use them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from pipelite.azureml.core import Dataset, Datastore
from pipelite.azureml.data.datapath import DataPath
from pipelite.azureml.data.dataset_type_definitions import PromoteHeadersBehavior
from pipelite.azureml.exceptions import DatasetTimestampMissingError, UserErrorException


@pytest.fixture
def store(ws, write) -> Datastore:
    write("raw/rides.csv", "zone,count\na,1\nb,2\nc,3\n")
    write("raw/below/rides.csv", "zone,count\nd,4\n")
    store = ws.get_default_datastore()
    store.upload("raw", target_path="rides", show_progress=False)
    return store


@pytest.fixture
def rides(store):
    return Dataset.Tabular.from_delimited_files(path=(store, "rides/*.csv"))


def test_an_upload_leaves_what_is_there_unless_it_is_to_overwrite(ws, store, write, tmp_path):
    write("raw/rides.csv", "new")
    store.upload_files(["raw/rides.csv"], target_path="rides", show_progress=False)
    assert len(Dataset.Tabular.from_delimited_files((store, "rides/rides.csv")).to_pandas_dataframe()) == 3
    reference = store.upload("raw", "rides", overwrite=True, show_progress=False)
    assert (reference.path_on_datastore, reference.datastore) == ("rides", Datastore.get(ws, store.name))
    assert (ws.native.path / "data/rides/rides.csv").read_text() == "new"


def test_files_keep_their_places_below_their_root(ws, store, write):
    write("other/x/a.txt", "a")
    write("other/y/b.txt", "b")
    store.upload_files(["other/x/a.txt", "other/y/b.txt"], target_path="up", show_progress=False)
    store.upload_files(["other/x/a.txt"], relative_root="other", target_path="rooted", show_progress=False)
    assert {each.path for each in store.native.list("up")} == {"up/x/a.txt", "up/y/b.txt"}
    assert {each.path for each in store.native.list("rooted")} == {"rooted/x/a.txt"}


def test_a_download_is_by_the_beginning_of_names_and_keeps_them_whole(store, tmp_path, capsys):
    assert store.download(str(tmp_path / "got"), prefix="rid") == 2
    assert "2 files" in capsys.readouterr().out
    assert (tmp_path / "got/rides/below/rides.csv").exists()
    assert store.download(str(tmp_path / "got"), prefix="rides/b", show_progress=False) == 1
    assert store.download(str(tmp_path / "got"), prefix="none", show_progress=False) == 0


def test_a_name_that_is_taken_needs_a_new_version(ws, rides, store):
    first = rides.register(ws, "rides", description="all", tags={"kind": "csv"})
    assert (first.name, first.version, first.description, first.tags) == ("rides", 1, "all", {"kind": "csv"})
    assert rides.name is None
    with pytest.raises(UserErrorException, match="create_new_version=True"):
        rides.register(ws, "rides")
    other = Dataset.Tabular.from_delimited_files((store, "rides/**"))
    assert other.register(workspace=ws, name="rides", create_new_version=True).version == 2
    assert len(Dataset.get_by_name(ws, "rides").to_pandas_dataframe()) == 4
    assert len(Dataset.get_by_name(ws, name="rides", version=1).to_pandas_dataframe()) == 3
    assert ws.datasets["rides"].version == ws.datasets.get("rides").version == 2
    assert "rides" in set(ws.datasets.keys())
    for wrong in (("none",), ("rides", 7)):
        with pytest.raises(UserErrorException):
            Dataset.get_by_name(ws, *wrong)


def test_a_dataset_may_have_any_name_of_v1s_and_the_name_of_a_dataset_of_ours_besides(ws, rides):
    names = ["diabetes dataset", "diabetes:dataset", "diabetes_dataset", "2019 rides (all)", "Räder"]
    made = [rides.take(number).register(ws, name) for number, name in enumerate(names, 1)]
    assert [each.name for each in made] == names
    assert sorted(ws.datasets) == sorted(names)
    assert [len(Dataset.get_by_name(ws, name).to_pandas_dataframe()) for name in names] == [1, 2, 3, 3, 3]
    assert (ws.datasets["2019 rides (all)"].description, ws.datasets["diabetes:dataset"].tags) == (None, {})
    # For this library each has a name of its own.
    labels = ["_2019-rides--all-", "diabetes-dataset", "diabetes-dataset-2", "diabetes_dataset", "Räder"]
    assert sorted(ws.native.datasets) == sorted(labels)
    with pytest.raises(UserErrorException, match="there is a dataset 'diabetes dataset' already"):
        rides.register(ws, "diabetes dataset")
    assert rides.register(ws, "diabetes dataset", create_new_version=True).version == 2
    with pytest.raises(UserErrorException, match="no version 7"):
        Dataset.get_by_name(ws, "diabetes dataset", 7)
    with pytest.raises(UserErrorException, match=r"no dataset 'diabetes data'; there are: .*2019 rides"):
        Dataset.get_by_name(ws, "diabetes data")
    for name in ("", " ", "a\nb", "a" * 256):
        with pytest.raises(UserErrorException, match="cannot be called"):
            rides.register(ws, name)
    # Names of this library's own are the same here.
    rides.native.register("plain")
    assert ws.datasets["plain"].name == "plain"


def test_a_registered_dataset_is_found_by_its_id(ws, rides):
    made = rides.register(ws, "rides")
    assert Dataset.get_by_id(ws, made.id).name == "rides"
    with pytest.raises(UserErrorException, match="no dataset with the id"):
        Dataset.get_by_id(ws, "none")


def test_a_dataset_is_found_by_an_id_that_was_asked_for_and_stays_unregistered(ws, rides):
    few = rides.take(2)
    assert few.id == few.id == rides.take(2).definition_id
    again = Dataset.get_by_id(ws, few.id)
    assert again.to_pandas_dataframe()["zone"].tolist() == ["a", "b"]
    assert (again.name, list(ws.datasets)) == (None, [])
    missing = Dataset.File.from_files("nowhere", validate=False)
    with pytest.raises(UserErrorException, match="no dataset with the id"):
        Dataset.get_by_id(ws, missing.id)


def test_a_name_may_have_spaces_and_names_that_look_alike_are_others(ws, rides, store):
    first = rides.register(ws, "city rides", description="all")
    other = rides.take(1).register(ws, "city-rides")
    digits = rides.take(2).register(ws, "2016 rides")
    again = rides.take(2).register(ws, "city rides", create_new_version=True)
    assert [(each.name, each.version) for each in (first, other, digits, again)] == [
        ("city rides", 1),
        ("city-rides", 1),
        ("2016 rides", 1),
        ("city rides", 2),
    ]
    assert first.description == "all"
    assert set(ws.datasets) == {"city rides", "city-rides", "2016 rides"}
    assert len(Dataset.get_by_name(ws, "city rides", version=1).to_pandas_dataframe()) == 3
    assert len(ws.datasets["city-rides"].to_pandas_dataframe()) == 1
    with pytest.raises(UserErrorException, match="a dataset 'city rides' already"):
        rides.register(ws, "city rides")
    frame = rides.to_pandas_dataframe()
    made = Dataset.Tabular.register_pandas_dataframe(frame, (store, "frames"), "a frame", show_progress=False)
    assert Dataset.get_by_name(ws, "a frame").id == made.id


@pytest.mark.parametrize("start", ["", "/", "trips/", "/all/trips/"])
def test_a_partition_format_may_begin_with_the_folders_of_the_path(store, write, start):
    write("trips/2019/01/part.csv", "count\n1\n")
    write("trips/2019/02/part.csv", "count\n2\n")
    store.upload("trips", target_path="all/trips", show_progress=False)
    form = f"{start}{{month:yyyy/MM}}/part.csv"
    rows = Dataset.Tabular.from_delimited_files((store, "all/trips/*/*/part.csv"), partition_format=form)
    assert [each.month for each in rows.to_pandas_dataframe()["month"]] == [1, 2]


def test_a_url_that_nothing_answers_at_is_said_to_be_one(ws):
    with pytest.raises(
        UserErrorException, match=r"that its server gives; correct the URL, or see that it can be reached"
    ):
        Dataset.Tabular.from_delimited_files("http://127.0.0.1:9/rides.csv")


def test_columns_that_a_header_names_alike_are_told_apart(store, write):
    write("alike/one.csv", "a,0,0,a\n1,2,3,4\n")
    write("alike/two.csv", "a,0,0,a,a.1\n5,6,7,8,9\n")
    every = PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS
    rows = Dataset.Tabular.from_delimited_files("alike/*.csv", header=every).to_pandas_dataframe()
    assert list(rows) == ["a", "0", "0.1", "a.1", "a.2"]
    assert rows.iloc[0, :4].tolist() == [1, 2, 3, 4]


def test_the_first_file_names_the_columns_unless_a_script_says_otherwise(store, write):
    write(".pipelite/data/parts/a.csv", "x,y\n1,2\n")
    write(".pipelite/data/parts/b.csv", "y,x\n3,4\n")

    def read(*header):
        made = Dataset.Tabular.from_delimited_files((store, "parts"), header=header[0] if header else True)
        return made.to_pandas_dataframe().to_dict("list")

    same = {"x": [1, 3], "y": [2, 4]}
    assert read() == read(PromoteHeadersBehavior.ALL_FILES_HAVE_SAME_HEADERS) == same
    assert read(PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS) == {"x": [1, 4], "y": [2, 3]}
    assert read(PromoteHeadersBehavior.ONLY_FIRST_FILE_HAS_HEADERS) == {"x": ["1", "y", "3"], "y": ["2", "x", "4"]}
    assert (
        read(False)
        == read(PromoteHeadersBehavior.NO_HEADERS)
        == {"f0": ["x", "1", "y", "3"], "f1": ["y", "2", "x", "4"]}
    )


def test_rows_are_chosen_by_their_times(ws, write):
    hours = "".join(f"2026-03-0{day}T{hour:02}:00:00,{day}\n" for day in (1, 2, 3) for hour in (0, 12))
    write("hours.csv", f"time,day\n{hours}")
    plain = Dataset.Tabular.from_delimited_files("hours.csv")
    timed = plain.with_timestamp_columns(timestamp="time", validate=True)

    def days(dataset):
        return dataset.to_pandas_dataframe()["day"].tolist()

    assert days(timed.time_before(datetime(2026, 3, 2))) == [1, 1, 2]
    assert days(timed.time_before(datetime(2026, 3, 2), include_boundary=False)) == [1, 1]
    assert days(timed.time_after(datetime(2026, 3, 2, 12))) == [2, 3, 3]
    assert days(timed.time_between(datetime(2026, 3, 1, 12), datetime(2026, 3, 2))) == [1, 2]
    assert days(timed.time_recent(timedelta(seconds=1))) == []
    zone = timezone(timedelta(hours=1))
    frame = timed.to_pandas_dataframe()
    frame.assign(time=frame["time"].dt.tz_localize("UTC")).to_parquet("hours.parquet")
    zoned = Dataset.Tabular.from_parquet_files("hours.parquet").with_timestamp_columns("time")
    for each in (timed, zoned):
        assert days(each.time_before(datetime(2026, 3, 1, 13, tzinfo=zone))) == [1, 1]
        assert days(each.time_before(datetime(2026, 3, 1, 12))) == [1, 1]
    timed.register(ws, "hours")
    again = Dataset.get_by_name(ws, "hours")
    assert again.timestamp_columns == ("time", None)
    assert days(again.take(3).time_after(datetime(2026, 3, 2))) == [2]
    for none in (plain, timed.keep_columns(["day"]), timed.drop_columns("time"), timed.with_timestamp_columns()):
        with pytest.raises(DatasetTimestampMissingError, match="with_timestamp_columns"):
            none.time_before(datetime(2026, 3, 2))
    for wrong in ({"partition_timestamp": "time"}, {"timestamp": "hour", "validate": True}):
        with pytest.raises(UserErrorException):
            plain.with_timestamp_columns(**wrong)


def test_rows_are_taken_skipped_split_and_chosen(rides):
    assert rides.take(2).to_pandas_dataframe()["zone"].tolist() == ["a", "b"]
    assert rides.skip(1).to_pandas_dataframe()["zone"].tolist() == ["b", "c"]
    one, two = rides.random_split(0.5, seed=1)
    assert len(one.to_pandas_dataframe()) + len(two.to_pandas_dataframe()) == 3
    assert len(rides.take_sample(1.0).to_pandas_dataframe()) == 3
    assert rides.keep_columns(["count"]).to_pandas_dataframe().columns.tolist() == ["count"]
    assert rides.drop_columns("count").to_pandas_dataframe().columns.tolist() == ["zone"]
    assert rides.filter(rides["count"] > 1).to_pandas_dataframe()["zone"].tolist() == ["b", "c"]


@pytest.mark.parametrize("change", ["take(2)", "skip(1)", "drop_columns(['zone'])", "random_split(0.5, seed=3)[1]"])
def test_the_code_of_a_dataset_makes_the_same_one(rides, change):
    from pipelite import Dataset as Native

    changed = eval(f"rides.{change}")
    again = eval(changed.code, {"Dataset": Native})
    assert again.to_pandas().equals(changed.to_pandas_dataframe())


def test_rows_come_from_urls_paths_and_lists_of_them(ws, store, tmp_path):
    for path in (str(tmp_path / "raw/rides.csv"), [(store, "rides/*.csv")], DataPath(store, "rides/rides.csv")):
        assert len(Dataset.Tabular.from_delimited_files(path).to_pandas_dataframe()) == 3
    both = [(store, "rides/rides.csv"), (store, "rides/below/rides.csv")]
    assert len(Dataset.Tabular.from_delimited_files(both).to_pandas_dataframe()) == 4
    with pytest.raises(UserErrorException, match="validate=False"):
        Dataset.Tabular.from_delimited_files((store, "none/*.csv"))
    assert Dataset.Tabular.from_delimited_files((store, "none/*.csv"), validate=False)
    with pytest.raises(UserErrorException, match="no path of a dataset"):
        Dataset.File.from_files(3)


def test_files_are_listed_downloaded_and_mounted(ws, store, tmp_path):
    files = Dataset.File.from_files((store, "rides/**"))
    assert sorted(files.to_path()) == ["/below/rides.csv", "/rides.csv"]
    assert len(files.download(str(tmp_path / "got"))) == 2
    with pytest.raises(UserErrorException, match="overwrite=True"):
        files.download(str(tmp_path / "got"))
    assert len(files.download(str(tmp_path / "got"), overwrite=True)) == 2
    with files.mount() as mounted:
        place = tmp_path / mounted.mount_point
        assert (place / "below/rides.csv").exists()
    assert not place.exists()


def test_a_folder_is_uploaded_as_a_dataset(ws, store):
    made = Dataset.File.upload_directory("raw", (store, "up"), show_progress=False)
    assert sorted(made.to_path()) == ["/below/rides.csv", "/rides.csv"]


def test_a_data_frame_becomes_a_registered_dataset(ws, store, rides):
    made = Dataset.Tabular.register_pandas_dataframe(rides.to_pandas_dataframe(), (store, "frames"), "frame")
    assert (made.name, made.version, len(made.to_pandas_dataframe())) == ("frame", 1, 3)
