"""`azureml.data.dataset_type_definitions`: how headers of delimited files are read."""

from __future__ import annotations

from enum import Enum


class PromoteHeadersBehavior(Enum):
    """What names the columns of delimited files."""

    #: Nothing.
    NO_HEADERS = 0
    #: The first line of the first file; the others have none.
    ONLY_FIRST_FILE_HAS_HEADERS = 1
    #: The first lines of all files, by which these are put together.
    COMBINE_ALL_FILES_HEADERS = 2
    #: The first line of the first file; those of the others are left out.
    ALL_FILES_HAVE_SAME_HEADERS = 3
