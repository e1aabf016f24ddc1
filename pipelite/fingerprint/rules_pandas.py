"""Rules for pandas values: elements, dtypes, labels, names and attributes, however the blocks lie in memory."""

from __future__ import annotations

from typing import Any

from pipelite.fingerprint.digests import combine, identify
from pipelite.fingerprint.rules import NoStableHash, Walk, rule_for, type_names
from pipelite.fingerprint.rules_numpy import identify_ndarray
from pipelite.fingerprint.texts import identify_texts


@rule_for("pandas.DataFrame", "pandas.core.frame.DataFrame")
def _identify_frame(value: Any, walk: Walk) -> str:
    columns = []
    for position, name in enumerate(value.columns):
        try:
            columns.append(_identify_values(value.iloc[:, position].array, walk))
        except NoStableHash as exc:
            label = f"{name!r}" if type(name) in (str, int) else f"column {position}"
            raise exc.at(f"[{label}]") from exc.__cause__
    return combine("DataFrame", (walk(value.index), walk(value.columns), *_extras(value, walk), *columns))


@rule_for("pandas.Series", "pandas.core.series.Series")
def _identify_series(value: Any, walk: Walk) -> str:
    parts = (walk(value.index), walk(value.name), *_extras(value, walk), _identify_values(value.array, walk))
    return combine("Series", parts)


@rule_for("pandas.Index", "pandas.core.indexes.base.Index", family=True)
def _identify_index(value: Any, walk: Walk) -> str:
    frequency = getattr(value, "freqstr", None) or ""
    return combine("Index", (_identify_values(value.array, walk), walk(list(value.names)), frequency))


@rule_for("pandas.RangeIndex", "pandas.core.indexes.range.RangeIndex")
def _identify_range_index(value: Any, walk: Walk) -> str:
    return combine("RangeIndex", (f"{value.start},{value.stop},{value.step}", walk(list(value.names))))


@rule_for("pandas.MultiIndex", "pandas.core.indexes.multi.MultiIndex")
def _identify_multi_index(value: Any, walk: Walk) -> str:
    # Level by level with all labels: levels that no row uses any more are not content.
    levels = [_identify_values(value.get_level_values(level).array, walk) for level in range(value.nlevels)]
    return combine("MultiIndex", (walk(list(value.names)), *levels))


@rule_for("pandas.api.extensions.ExtensionArray", "pandas.core.arrays.base.ExtensionArray", family=True)
def _identify_extension_array(value: Any, walk: Walk) -> str:
    return combine("pandas.array", (_identify_values(value, walk),))


@rule_for("pandas.Timestamp", "pandas._libs.tslibs.timestamps.Timestamp")
def _identify_timestamp(value: Any, walk: Walk) -> str:
    number = value.to_datetime64().view("i8")
    return combine("Timestamp", (value.unit, str(int(number)), str(value.fold), walk(value.tz)))


@rule_for("pandas.Timedelta", "pandas._libs.tslibs.timedeltas.Timedelta")
def _identify_timedelta(value: Any, walk: Walk) -> str:
    return combine("Timedelta", (value.unit, str(int(value.to_timedelta64().view("i8")))))


@rule_for("pandas._libs.tslibs.nattype.NaTType", "pandas.api.typing.NaTType")
def _identify_not_a_time(value: Any, walk: Walk) -> str:
    return "NaT:"


@rule_for("pandas._libs.missing.NAType", "pandas.api.typing.NAType")
def _identify_not_available(value: Any, walk: Walk) -> str:
    return "NA:"


@rule_for("pandas.api.extensions.ExtensionDtype", "pandas.core.dtypes.base.ExtensionDtype", family=True)
def _identify_dtype(value: Any, walk: Walk) -> str:
    names = set(type_names(type(value)))
    if _is_categorical(names):
        categories = None if value.categories is None else walk(value.categories)
        return combine("CategoricalDtype", (categories or "", str(value.ordered)))
    if "StringDtype" in type(value).__qualname__:
        return combine("StringDtype", (value.storage, walk(value.na_value)))
    return combine("pandas.dtype", (type(value).__qualname__, str(value)))


def _extras(value: Any, walk: Walk) -> tuple[str, str, str]:
    """What a frame or series carries besides labels and elements."""
    metadata = {name: getattr(value, name, None) for name in value._metadata if name not in ("_name", "name")}
    flags = f"flags:{value.flags.allows_duplicate_labels}"
    return walk(value.attrs), flags, walk(metadata)


def _identify_values(array: Any, walk: Walk) -> str:
    """Identity of one column: of an extension array by what it stands for, of any other as a numpy array."""
    names = set(type_names(type(array)))
    dtype = array.dtype
    if any(name.endswith(".NumpyExtensionArray") for name in names) and "StringDtype" not in type(dtype).__qualname__:
        return identify_ndarray(array.to_numpy(), walk)
    parts: list[str] = [walk(dtype) if not hasattr(dtype, "newbyteorder") else identify("dtype", dtype.str)]
    if _is_categorical(set(type_names(type(dtype)))):
        parts.append(identify_ndarray(array.codes.astype("<i8"), walk))
    elif hasattr(array, "asi8"):
        parts.append(identify_ndarray(array.asi8, walk))
    elif any(name.endswith(".BaseMaskedArray") for name in names):
        missing = array.isna()
        parts += (
            identify_ndarray(missing, walk),
            identify_ndarray(array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0)), walk),
        )
    else:
        elements = array.astype(object)
        elements = elements.tolist() if hasattr(elements, "tolist") else list(elements)
        parts.append(identify_texts(elements) or walk.sequence("elements", elements))
    return combine("column", parts)


def _is_categorical(names: set[str]) -> bool:
    return any(name.endswith(".CategoricalDtype") for name in names)
