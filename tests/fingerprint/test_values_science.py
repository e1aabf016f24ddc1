"""Identities of numpy, pandas, scipy and scikit-learn values."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from pipelite.fingerprint.arrays import npy_header
from pipelite.fingerprint.modules import qualified_name
from pipelite.fingerprint.values import identify_value

DTYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="?", sizes=(64, 128))
    | hnp.datetime64_dtypes(endianness="?")
    | hnp.timedelta64_dtypes(endianness="?")
    | hnp.byte_string_dtypes(min_len=1)
    | hnp.unicode_string_dtypes(endianness="?", min_len=1)
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


def identify(value):
    return identify_value(value, own_class=qualified_name, own_function=qualified_name)


def differ(*values):
    return len({identify(value) for value in values}) == len(values)


@given(ARRAYS)
def test_an_array_counts_by_its_elements_and_not_by_how_they_lie_in_memory(array):
    found = identify(array)

    assert identify(array.copy(order="F")) == found
    assert identify(array.astype(array.dtype.newbyteorder("S"))) == found
    assert identify(np.repeat(array[..., np.newaxis], 2, axis=-1)[..., 0]) == found
    assert identify(pickle.loads(pickle.dumps(array))) == found
    if array.ndim:
        assert identify(array[::-1][::-1]) == found


@given(ARRAYS, ARRAYS)
def test_two_arrays_agree_exactly_if_type_shape_and_bytes_do(one, other):
    def form(array):
        array = array.astype(array.dtype.newbyteorder("<"))
        return array.dtype.str, array.shape, array.tobytes()

    assert (identify(one) == identify(other)) == (form(one) == form(other))


def test_the_identity_of_an_array_is_the_hash_of_the_npy_file(tmp_path):
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    little = np.ascontiguousarray(array, dtype="<i4")

    data = npy_header(array) + little.tobytes()

    assert identify(array) == f"ndarray#{blake3(data).hexdigest()}"
    (tmp_path / "a.npy").write_bytes(data)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)


def test_arrays_that_look_alike_differ():
    six = np.arange(6)
    assert differ(
        six,
        six.reshape(2, 3),
        six.reshape(3, 2),
        six.astype("i4"),
        six.astype("f8"),
        six.astype("M8[s]"),
        six.astype("M8[ms]"),
        six.astype("m8[s]"),
        six.astype(object),
        six.astype(str),
        six[:0],
        six[:0].reshape(0, 3),
        six.tolist(),
        six.view(np.recarray),
        np.ma.masked_array(six),
        np.ma.masked_array(six, six > 3),
        np.array(1),
        np.array([1]),
        np.int64(1),
        np.int32(1),
        np.float64(1),
        np.bool_(True),
        np.str_("1"),
        np.bytes_(b"1"),
        np.datetime64(1, "s"),
        1,
        True,
        1.0,
        np.dtype("i4"),
        np.dtype("i8"),
        np.dtype([("a", "i4")]),
    )


def test_a_memory_mapped_array_equals_the_one_in_memory(tmp_path):
    array = np.arange(10.0)
    np.save(tmp_path / "a.npy", array)

    assert identify(np.load(tmp_path / "a.npy", mmap_mode="r")) == identify(array)


def test_objects_in_an_array_count_by_content():
    def make(last):
        return np.array([[1, "a"], [None, {"x": last}]], dtype=object)

    assert identify(make(1)) == identify(make(1)) != identify(make(2))
    texts = np.array(["ab", "c", None], dtype=object)
    assert identify(texts) == identify(texts.copy())
    assert differ(texts, np.array(["a", "bc", None], dtype=object), np.array(["ab", "c", np.nan], dtype=object))


def test_the_bytes_between_the_fields_of_a_structured_array_do_not_count():
    dtype = np.dtype([("a", "i1"), ("b", "f8"), ("c", [("d", "i1"), ("e", "i4")], (2,))], align=True)
    zeros, ones = np.zeros(3, dtype), np.frombuffer(b"\xff" * (3 * dtype.itemsize), dtype).copy()
    for name in ("a", "b"):
        zeros[name] = ones[name] = 1
    for name in ("d", "e"):
        zeros["c"][name] = ones["c"][name] = 2

    assert identify(ones) == identify(zeros)
    ones["c"]["e"][0, 1] = 3
    assert identify(ones) != identify(zeros)


def test_random_generators_count_by_state():
    generator, other = np.random.default_rng(1), np.random.default_rng(1)
    assert identify(generator) == identify(other)
    other.random()
    assert identify(generator) != identify(other)
    assert differ(np.random.RandomState(1), np.random.RandomState(2), np.random.default_rng(2))


def make_frame():
    return pd.DataFrame(
        {
            "n": [1, 2, 3],
            "x": [0.5, np.nan, 2.0],
            "word": ["a", None, "c"],
            "mixed": pd.Series([1, "a", (2,)], dtype=object),
            "kind": pd.Categorical(["u", "v", "u"]),
            "at": pd.to_datetime(["2026-01-01", None, "2026-01-03"], utc=True),
            "count": pd.array([1, None, 3], dtype="Int64"),
            "is": pd.array([True, None, False], dtype="boolean"),
            "month": pd.period_range("2026-01", periods=3, freq="M"),
            "span": pd.interval_range(0, 3),
        }
    )


def test_a_frame_counts_by_content_however_it_was_built():
    frame = make_frame()
    column_by_column = pd.DataFrame(index=frame.index)
    for name in reversed(frame.columns):
        column_by_column.insert(0, name, frame[name].copy())

    assert identify(column_by_column) == identify(frame)
    assert identify(pickle.loads(pickle.dumps(frame))) == identify(frame)
    assert identify(copy.deepcopy(frame)) == identify(frame)
    assert identify(pd.concat([frame.iloc[:1], frame.iloc[1:]])) != identify(frame.iloc[::-1])


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.astype({"n": "int32"}),
        lambda frame: frame.rename(columns={"n": "m"}),
        lambda frame: frame[frame.columns[::-1]],
        lambda frame: frame.set_axis([1, 2, 3]),
        lambda frame: frame.set_axis(["0", "1", "2"]),
        lambda frame: frame.rename_axis("row"),
        lambda frame: frame.rename_axis("names", axis=1),
        lambda frame: frame.iloc[::-1],
        lambda frame: frame.assign(word=["a", None, "d"]),
        lambda frame: frame.assign(word=frame["word"].astype("string")),
        lambda frame: frame.assign(mixed=pd.Series([1, "a", [2]], dtype=object)),
        lambda frame: frame.assign(kind=frame["kind"].cat.add_categories(["w"])),
        lambda frame: frame.assign(kind=frame["kind"].cat.as_ordered()),
        lambda frame: frame.assign(at=frame["at"].dt.tz_convert("Europe/Berlin")),
        lambda frame: frame.assign(at=frame["at"].dt.as_unit("ns" if frame["at"].dt.unit != "ns" else "s")),
        lambda frame: frame.assign(count=pd.array([1, 0, 3], dtype="Int64")),
        lambda frame: frame.assign(count=pd.array([1, None, 3], dtype="Int32")),
        lambda frame: frame.assign(month=frame["month"] + 1),
        lambda frame: frame.assign(span=pd.interval_range(0, 3, closed="left")),
        lambda frame: frame.set_flags(allows_duplicate_labels=False),
    ],
)
def test_a_frame_that_differs_in_anything_has_another_identity(change):
    assert identify(change(make_frame())) != identify(make_frame())


def test_the_attributes_of_a_frame_count():
    frame = make_frame()
    frame.attrs["source"] = "here"

    assert identify(frame) != identify(make_frame())


def test_the_columns_of_a_frame_are_named_in_errors():
    frame = pd.DataFrame({"f": [print, iter([])]})

    with pytest.raises(TypeError, match=r"'list_iterator' at \['f'\]\[1\]"):
        identify(frame)


def test_what_a_masked_array_of_pandas_hides_does_not_count():
    one = pd.array([1, 2], dtype="Int64")
    other = pd.array([1, 3], dtype="Int64")
    one[1] = other[1] = None

    assert identify(one) == identify(other)


def test_pandas_values_that_look_alike_differ():
    series = pd.Series([1, 2], name="a")
    assert differ(
        series,
        series.rename("b"),
        series.to_frame(),
        pd.Index([0, 1]),
        pd.RangeIndex(2),
        pd.Index([0, 1], name="a"),
        pd.Index([0.0, 1.0]),
        pd.Index(["0", "1"]),
        pd.CategoricalIndex(["0", "1"]),
        pd.MultiIndex.from_tuples([(0, 1)]),
        pd.date_range("2026", periods=3),
        pd.DatetimeIndex(list(pd.date_range("2026", periods=3)), freq=None),
        pd.Timestamp("2026-01-01"),
        pd.Timestamp("2026-01-01", tz="UTC"),
        pd.Timestamp("2026-01-01").to_pydatetime(),
        pd.Timestamp("2026-01-01").as_unit("ms"),
        pd.Timedelta("1D"),
        pd.Period("2026", "Y"),
        pd.Interval(0, 1),
        pd.NaT,
        pd.NA,
        None,
        float("nan"),
    )


def test_levels_of_an_index_that_no_row_uses_do_not_count():
    full = pd.MultiIndex.from_product([["a", "b"], [1, 2]])

    assert identify(full[:2]) == identify(full[:2].remove_unused_levels())


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
def test_a_sparse_matrix_counts_by_its_elements(form):
    dense = np.array([[0, 1, 0], [2, 0, 3]])
    matrix = scipy.sparse.csr_matrix(dense).asformat(form)
    before = identify(matrix)

    matrix.tocsr().has_sorted_indices  # Is remembered in the matrix.

    assert identify(matrix) == identify(scipy.sparse.csr_matrix(dense).asformat(form)) == before
    assert identify(scipy.sparse.csr_matrix(dense * 2).asformat(form)) != before
    assert identify(scipy.sparse.csr_array(dense)) not in (before, identify(dense))


X = np.random.RandomState(0).rand(60, 4)
Y = (X[:, 0] > 0.5).astype(int)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(n_estimators=3, random_state=0),
        GradientBoostingRegressor(n_estimators=3, random_state=0),
        HistGradientBoostingClassifier(max_iter=3, random_state=0),
        KNeighborsClassifier(algorithm="kd_tree"),
        KMeans(2, n_init=1, random_state=0),
        SVC(),
    ],
)
def test_an_estimator_counts_by_parameters_and_fitted_state(model):
    fitted = clone(model).fit(X, Y)

    assert identify(fitted) == identify(clone(model).fit(X, Y))
    assert identify(fitted) == identify(pickle.loads(pickle.dumps(fitted)))
    assert identify(fitted) != identify(clone(model).fit(X[:50], Y[:50]))
    assert identify(clone(model)) == identify(model) != identify(fitted)
    fitted.predict(X)
    assert identify(fitted) == identify(clone(model).fit(X, Y))


def test_estimators_with_other_parameters_differ():
    assert differ(LogisticRegression(), LogisticRegression(C=2), SVC(), KMeans(), BaseEstimator())


@given(st.lists(st.none() | st.text(max_size=3), max_size=6), st.lists(st.none() | st.text(max_size=3), max_size=6))
def test_two_columns_of_text_agree_exactly_if_their_texts_do(one, other):
    def column(values):
        return np.array([*values, "end"], dtype=object)

    assert (identify(column(one)) == identify(column(other))) == (one == other)
