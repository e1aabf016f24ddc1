"""Rules for numpy, scipy and scikit-learn values: dtype, shape and elements, however they lie in memory."""

from __future__ import annotations

from typing import Any

from pipelite.fingerprint.arrays import identify_array, npy_header
from pipelite.fingerprint.digests import combine, identify
from pipelite.fingerprint.rules import Walk, rule_for
from pipelite.fingerprint.texts import identify_texts


@rule_for("numpy.ndarray", "numpy.memmap")
def identify_ndarray(value: Any, walk: Walk) -> str:
    """An array by the bytes of its .npy file; one of objects by its elements."""
    header = npy_header(value)
    if header is not None:
        return identify_array(value, header)
    shape = ",".join(map(str, value.shape))
    elements = value.ravel().tolist()
    content = identify_texts(elements) or walk.sequence("elements", elements)
    return combine("ndarray", (_describe(value.dtype), shape, content))


@rule_for("numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray")
def _identify_masked_array(value: Any, walk: Walk) -> str:
    import numpy as np

    data, mask = np.ma.getdata(value), np.ma.getmaskarray(value)
    fill = np.asarray(value.fill_value)
    hard = str(value.hardmask)
    parts = [identify_ndarray(part, walk) for part in (data, mask, fill)]
    return combine("MaskedArray", (*parts, hard))


@rule_for("numpy.generic", family=True)
def _identify_scalar(value: Any, walk: Walk) -> str:
    import numpy as np

    if value.dtype.kind in "biufcmM":
        dtype = value.dtype.newbyteorder("<")
        return f"numpy:{dtype.str} {value.astype(dtype).tobytes().hex()}"
    return combine("numpy", (identify_ndarray(np.asarray(value), walk),))


@rule_for("numpy.dtype", family=True)
def _identify_dtype(value: Any, walk: Walk) -> str:
    return identify("dtype", _describe(value))


@rule_for("scipy.sparse._base._spbase", "scipy.sparse._base.spmatrix", family=True)
def _identify_sparse(value: Any, walk: Walk) -> str:
    # Coordinates sorted and summed: how the elements are kept, and what is remembered about that, changes with use.
    elements = value.tocoo(copy=True)
    elements.sum_duplicates()
    axes = elements.coords if hasattr(elements, "coords") else (elements.row, elements.col)  # Before scipy 1.13.
    places = [identify_ndarray(axis.astype("<i8"), walk) for axis in axes]
    shape = ",".join(map(str, value.shape))
    return combine("sparse", (type(value).__qualname__, shape, *places, identify_ndarray(elements.data, walk)))


@rule_for(
    *(f"sklearn.neighbors._{kind}_tree.BinaryTree{bits}" for kind in ("kd", "ball") for bits in ("", "32", "64")),
    family=True,
)
def _identify_neighbor_tree(value: Any, walk: Walk) -> str:
    # Its numbers count how often it was asked, besides what its arrays tell anyway.
    state = [part for part in value.__getstate__() if type(part) is not int]
    return combine("neighbors", (walk.own_class(type(value)), walk.sequence("state", state)))


def _describe(dtype: Any) -> str:
    """Text that tells dtypes apart, the same whatever the byte order of the machine."""
    import numpy as np

    if dtype.fields is not None:
        return str(np.lib.format.dtype_to_descr(dtype))
    return dtype.str if type(dtype).__module__.startswith("numpy") and dtype.kind != "T" else str(dtype)
