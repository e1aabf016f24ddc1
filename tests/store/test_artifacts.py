"""Values go into the store once, unchanged, and come back as they were."""

import os
import pickle
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.ensemble import RandomForestClassifier

from pipelite.errors import ArtifactError, SerializationError, StorageError
from pipelite.fingerprint.files import identify_path
from pipelite.fingerprint.modules import qualified_name
from pipelite.fingerprint.values import identify_value
from pipelite.store import remove_tree
from pipelite.store.artifacts import ArtifactStore
from pipelite.store.containers import MAPPED_BYTES


def identify(value):
    return identify_value(value, own_class=qualified_name)


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "workspace")


def put(store, value, **options):
    return store.put(value, output="result", step="make", identify=identify, **options)


def files_below(store):
    return [path for path in store._artifacts.parent.rglob("*") if path.is_file()]


class Unhashable:
    """Has a pickle, but no stable hash."""

    def __reduce__(self):
        return _unhashable, (_Picklable(),)


class _Picklable:
    def __reduce_ex__(self, protocol):
        if protocol == 4:
            raise TypeError("no stable content")
        return _Picklable, ()


def _unhashable(part):
    return Unhashable()


ARRAYS = hnp.arrays(
    hnp.scalar_dtypes() | hnp.byte_string_dtypes(min_len=1) | hnp.unicode_string_dtypes(min_len=1),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(ARRAYS, st.booleans())
def test_an_array_comes_back_read_only_with_its_identity(tmp_path_factory, array, transposed):
    store = ArtifactStore(tmp_path_factory.getbasetemp() / "arrays")
    array = array.T if transposed else array

    ref = put(store, array)
    found = store.load(ref)

    assert ref.digest == identify(array) == identify(found)
    np.testing.assert_array_equal(found, array)
    assert (found.shape, found.dtype) == (array.shape, array.dtype.newbyteorder("<"))
    assert (type(found), found.flags.writeable) == (np.ndarray, False)


def test_a_large_array_is_mapped_and_not_read(store):
    array = np.arange(MAPPED_BYTES, dtype=float)

    found = store.load(put(store, array))

    assert not found.flags.owndata
    assert not found.flags.writeable
    assert "mmap" in repr(type(found.base.obj if isinstance(found.base, memoryview) else found.base))
    np.testing.assert_array_equal(found, array)


def test_the_stored_file_of_an_array_is_an_npy_file_of_numpy(store):
    array = np.asfortranarray(np.arange(6).reshape(2, 3))

    np.testing.assert_array_equal(np.load(store.path(put(store, array))), array)


def test_a_frame_comes_back_writable_and_the_file_stays_as_it_is(store):
    frame = pd.DataFrame({"x": np.arange(300_000.0), "word": ["a", "b", None] * 100_000})
    ref = put(store, frame)

    found = store.load(ref)
    pd.testing.assert_frame_equal(found, frame)
    assert identify(found) == ref.digest == identify(frame)
    found.iloc[0, 0] = 99.0

    assert store.load(ref).iloc[0, 0] == 0.0
    assert store.verify(ref)


def test_large_buffers_of_a_pickle_start_where_vectors_may(store):
    found = store.load(put(store, {"a": np.arange(100_001), "b": np.arange(70_000.0), "c": np.arange(3)}))

    for array in found.values():
        assert array.flags.aligned
        assert array.flags.writeable
    assert found["a"].ctypes.data % 64 == found["b"].ctypes.data % 64
    np.testing.assert_array_equal(found["b"], np.arange(70_000.0))


def test_an_array_that_was_read_only_inside_a_value_stays_so(store):
    array = np.arange(100_000)
    array.flags.writeable = False

    assert not store.load(put(store, [array, None]))[0].flags.writeable


def test_a_fitted_estimator_comes_back(store):
    X = np.random.RandomState(0).rand(50, 3)
    model = RandomForestClassifier(n_estimators=5, random_state=0).fit(X, X[:, 0] > 0.5)

    ref = put(store, model)

    assert ref.kind == "estimator"
    assert ref.digest == identify(model)
    np.testing.assert_array_equal(store.load(ref).predict(X), model.predict(X))


@pytest.mark.parametrize("value", [None, True, 3, -0.0, "ü", [1, {"a": [None]}], np.float32(0.1)])
def test_a_small_plain_value_has_no_file(store, value):
    ref = put(store, value)

    assert files_below(store) == []
    assert repr(store.load(ref)) == repr(value)
    assert ref.digest == identify(value)
    assert store.is_intact(ref)
    assert store.verify(ref)
    with pytest.raises(ArtifactError, match="no file"):
        store.path(ref)


def test_a_value_without_a_stable_hash_is_known_by_its_bytes(store):
    ref = put(store, Unhashable())

    assert ref.digest == f"pickle#{ref.file_digest}"
    assert isinstance(store.load(ref), Unhashable)


def test_equal_bytes_are_stored_once(store):
    first = put(store, np.arange(5000))
    again = put(store, np.arange(5000))

    assert again == first
    assert len(files_below(store)) == 1


def test_stored_files_are_read_only_and_named_by_their_digest(store):
    ref = put(store, (1, 2))

    assert store.path(ref).stem == ref.file_digest
    assert stat.S_IMODE(store.path(ref).stat().st_mode) == 0o444


def damage(path, data):
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"?"])
@pytest.mark.parametrize("value", [np.arange(1000), (1, 2), pd.DataFrame({"a": range(9)})])
def test_a_damaged_artifact_is_noticed_and_stored_anew(store, value, change):
    ref = put(store, value)
    data = store.path(ref).read_bytes()
    damage(store.path(ref), change(data))

    assert not store.is_intact(ref)
    assert not store.verify(ref)
    again = put(store, value)

    assert (again.digest, again.path) == (ref.digest, ref.path)
    assert store.is_intact(again)
    assert store.verify(again)
    assert store.path(again).read_bytes() == data


def test_a_truncated_artifact_is_an_error_that_names_it(store):
    for value in (np.arange(1000), (1, 2)):
        ref = put(store, value)
        damage(store.path(ref), store.path(ref).read_bytes()[:-10])

        with pytest.raises(ArtifactError, match=Path(ref.path).name):
            store.load(ref)


def test_a_removed_artifact_is_missing(store, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("1")
    for value in (np.arange(1000), (1, 2), tmp_path / "folder", tmp_path / "folder" / "a"):
        ref = put(store, value)
        assert store.is_intact(ref)

        store.remove(ref)
        store.remove(ref)

        assert files_below(store) == []
        assert not store.is_intact(ref)
        assert not store.verify(ref)
        with pytest.raises(ArtifactError, match="is missing"):
            store.load(ref)


def test_a_class_that_is_gone_is_an_error_that_names_it(store, monkeypatch):
    ref = put(store, [Unhashable()])
    monkeypatch.delattr(f"{__name__}._unhashable")

    with pytest.raises(ArtifactError, match="_unhashable"):
        store.load(ref)


def test_a_returned_file_is_copied_under_its_name(store, tmp_path):
    source = tmp_path / "model.bin"
    source.write_bytes(b"abc")

    ref = put(store, source)
    found = store.load(ref)

    assert (ref.kind, ref.size_bytes, found.name) == ("file", 3, "model.bin")
    assert found.read_bytes() == b"abc"
    assert stat.S_IMODE(found.stat().st_mode) == 0o444
    assert stat.S_IMODE(found.parent.stat().st_mode) == 0o555
    assert ref.digest == identify_path(source) == identify_path(found)
    source.write_bytes(b"changed")
    assert store.load(ref).read_bytes() == b"abc"
    assert store.is_intact(ref)
    assert store.verify(ref)


def test_a_file_in_the_scratch_folder_is_moved(store, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "a.csv").write_text("1")

    ref = put(store, scratch / "a.csv", scratch=scratch)

    assert not (scratch / "a.csv").exists()
    assert store.load(ref).read_text() == "1"


def test_a_link_in_the_scratch_folder_is_stored_as_what_it_leads_to(store, tmp_path):
    scratch = tmp_path / "scratch"
    (scratch / "folder").mkdir(parents=True)
    (tmp_path / "a.csv").write_text("1")
    (scratch / "link.csv").symlink_to(tmp_path / "a.csv")
    (scratch / "folder" / "link.csv").symlink_to(tmp_path / "a.csv")

    file, folder = (put(store, scratch / name, scratch=scratch) for name in ("link.csv", "folder"))
    (tmp_path / "a.csv").unlink()

    assert store.load(file).read_text() == "1"
    assert (store.load(folder) / "link.csv").read_text() == "1"


def test_a_folder_is_stored_with_everything_below_it_and_read_only(store, tmp_path):
    source = tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    (source / "a").write_text("12")
    (source / "deep" / "b").write_text("345")

    ref = put(store, source)
    found = store.load(ref)

    assert (ref.kind, ref.size_bytes, ref.mtime_ns, found.name) == ("folder", 5, 0, "out")
    assert (found / "deep" / "b").read_text() == "345"
    assert all(path.stat().st_mode & 0o222 == 0 for path in [found, *found.rglob("*")])
    assert ref.digest == identify_path(source)
    assert put(store, source) == ref
    assert store.is_intact(ref)
    assert store.verify(ref)


def test_a_folder_with_a_changed_file_is_noticed_and_stored_anew(store, tmp_path):
    source = tmp_path / "out"
    source.mkdir()
    (source / "a").write_text("12")
    ref = put(store, source)
    damage(store.path(ref) / "a", b"1")

    assert not store.is_intact(ref)
    assert not store.verify(ref)
    put(store, source)

    assert store.is_intact(ref)
    assert store.verify(ref)


def test_a_path_of_the_store_itself_is_stored_already(store, tmp_path):
    (tmp_path / "a.csv").write_text("1")
    ref = put(store, tmp_path / "a.csv")

    assert put(store, store.load(ref)) == ref
    assert len(files_below(store)) == 1


def test_files_of_one_content_and_two_names_are_two_artifacts(store, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("1")

    assert put(store, tmp_path / "a").digest != put(store, tmp_path / "b").digest


def test_a_path_with_nothing_there_fails_the_step(store, tmp_path):
    with pytest.raises(SerializationError, match=r"step 'make', output 'result'.*nothing is at the path"):
        put(store, tmp_path / "gone")
    assert files_below(store) == []


def test_a_folder_that_holds_itself_by_a_link_fails_the_step(store, tmp_path):
    source = tmp_path / "out"
    source.mkdir()
    (source / "up").symlink_to(source)

    with pytest.raises(SerializationError, match="link to a folder that it lies in"):
        put(store, source)
    assert files_below(store) == []


def test_a_full_disk_is_an_error_of_the_disk_and_leaves_nothing(store, monkeypatch):
    def no_space(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)

    for value in (np.arange(1000), (1, 2)):
        with pytest.raises(StorageError, match="the disk is full"):
            put(store, value)
    assert files_below(store) == []


def test_many_threads_put_the_same_value_at_once(store, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("1")
    values = [np.arange(50_000), ("a",) * 9, tmp_path / "out"] * 8
    gate = threading.Barrier(len(values))

    def put_together(value):
        gate.wait()
        return put(store, value)

    with ThreadPoolExecutor(len(values)) as pool:
        refs = list(pool.map(put_together, values))

    assert len({ref.path for ref in refs}) == 3
    assert all(store.verify(ref) for ref in refs)
    assert len(files_below(store)) == 3


def test_a_reference_travels_by_pickle_and_as_a_dict(store):
    ref = put(store, np.arange(1000))

    assert pickle.loads(pickle.dumps(ref)) == ref
    assert type(ref)(**attrs.asdict(ref)) == ref


def test_what_a_link_in_a_removed_tree_leads_to_stays_as_it_was(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere").chmod(0o755)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "elsewhere")

    remove_tree(tmp_path / "tree")

    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o755
