"""What to do when a script of that time meets today's packages."""

from __future__ import annotations

import re

#: What a traceback says, and what is to be done.
_REMOVED: tuple[tuple[str, str], ...] = (
    (
        r"module 'numpy' has no attribute '(float|int|bool|object|str|complex|long|unicode)'",
        "NumPy removed np.{0} in 1.24: write {0} instead, or give the step an environment with numpy<1.24",
    ),
    (
        # Today's has a package of that name again, with other things in it.
        r"No module named 'sklearn\.externals|cannot import name '\w+' from 'sklearn\.externals",
        "scikit-learn removed sklearn.externals in 0.23: import joblib itself",
    ),
    (
        r"cannot import name 'Imputer' from 'sklearn\.preprocessing'",
        "scikit-learn removed Imputer in 0.22: sklearn.impute.SimpleImputer takes its place",
    ),
    (
        r"'DataFrame' object has no attribute '(append|ix|iteritems)'",
        "pandas removed DataFrame.{0}: pd.concat, .loc or .items take its place, or an environment with pandas<2",
    ),
    (
        r"'Series' object has no attribute '(append|ix|iteritems)'",
        "pandas removed Series.{0}: pd.concat, .loc or .items take its place, or give the step an environment with pandas<2",
    ),
    (
        r"No module named '(msrest\S*|adal|azure\.common\S*)'",
        "{0} came with the SDK; errors of workspaces, datastores and datasets are azureml.exceptions.UserErrorException here",
    ),
    (
        r"No module named '(requests|pytz|jsonpickle|docker|contextlib2|pathspec|cryptography|jwt|dotnetcore2)'",
        "{0} came with the SDK, and does not come with this library: install it where the script runs",
    ),
    (
        r"HTTPConnectionPool\(host='(?:127\.0\.0\.1|localhost)'.*/Pipeline\w*/",
        "nothing answers at the URL of what is published: `pipelite serve` does, in a terminal of its own or as a service",
    ),
    (
        r"No module named '(sklearn_pandas)'",
        "{0} has to be installed; scikit-learn's ColumnTransformer takes its place",
    ),
    (
        r"numpy\.core\.multiarray failed to import|A module that was compiled using NumPy 1\.x cannot be run in",
        (
            "a package built for NumPy 1 meets NumPy 2: ask for numpy<2 beside it in the environment of the step, or have the Python "
            "that runs the pipeline serve: pipelite environments mode off"
        ),
    ),
    (
        r"get_feature_names\b(?!_out)",
        "scikit-learn removed get_feature_names in 1.2: get_feature_names_out takes its place",
    ),
)


def find_hint(message: str) -> str | None:
    """What to do about a name that has been removed since; None if the message is about none."""
    for pattern, hint in _REMOVED:
        found = re.search(pattern, message)
        if found:
            return hint.format(*found.groups())
    return None


def explain(message: str) -> str:
    """The message of a failed script, with what to do if it met a name that has been removed since."""
    hint = find_hint(message)
    return message if hint is None else f"{message}\n\n{hint}"
