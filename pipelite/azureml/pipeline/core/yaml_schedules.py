"""Reads schedules from YAML, as v1 had them."""

from __future__ import annotations

import os
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelite.azureml.core import runconfig_files
from pipelite.azureml.core.datastore import Datastore
from pipelite.azureml.pipeline.core.schedule import ScheduleRecurrence, TimeZone
from pipelite.azureml.pipeline.core.yaml_places import NOTHING, Place

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace

_KEYS = (
    *("description", "recurrence", "pipeline_parameters", "wait_for_provisioning", "wait_timeout", "datastore_name"),
    *("polling_interval", "data_path_parameter_name", "continue_on_step_failure", "path_on_datastore"),
)
_RECURRENCE_KEYS = (
    *("frequency", "interval", "start_time", "time_zone", "hours", "minutes", "time_of_day", "week_days"),
)


def load_schedule(workspace: Workspace, filename: str | os.PathLike[str]) -> dict[str, Any]:
    """What `Schedule.create` takes, from a file.

    Raises
    ------
    ValueError
        Naming the file and the key that is wrong.
    MissingExtraError
        If PyYAML is not installed, which comes with the extra `environments`.
    """
    place = Place(os.fspath(filename))
    with place.told():
        section = place.mapping(runconfig_files.read_file(os.fspath(filename))).get("Schedule")
    if section is None:
        raise place.error("there is no section 'Schedule'")
    found = {
        key: None if value in NOTHING else value for key, value in place.at("Schedule").mapping(section, _KEYS).items()
    }
    if found.get("datastore_name") is not None:
        with place.at("Schedule").at("datastore_name").told():
            # As in v1: it is handed on as `datastore=`.
            found["datastore_name"] = Datastore(workspace, found["datastore_name"])
    if found.get("recurrence") is not None:
        where = place.at("Schedule").at("recurrence")
        fields = dict(where.mapping(found["recurrence"], _RECURRENCE_KEYS))
        for key in ("frequency", "interval"):
            if fields.get(key) is None:
                raise where.error(f"key {key!r} is missing")
        zone = fields.get("time_zone")
        if zone is not None:
            known = {each.name: each for each in TimeZone} | {each.value: each for each in TimeZone}
            # In files they stand as Windows has them: with spaces, and some with more.
            fields["time_zone"] = known.get(str(zone)) or known.get(re.sub(r"\W", "", str(zone)))
            if fields["time_zone"] is None:
                raise where.error(f"key 'time_zone' is {zone!r}, which is no time zone")
        if isinstance(fields.get("time_of_day"), int):
            # YAML takes 10:30 for a number of base 60.
            fields["time_of_day"] = "{:02d}:{:02d}".format(*divmod(fields["time_of_day"], 60))
        start = fields.get("start_time")
        if start is not None and not isinstance(start, str | datetime):
            raise where.error(f"key 'start_time' is {start!r}; YYYY-MM-DDThh:mm:ss is expected")
        recurrence = found["recurrence"] = ScheduleRecurrence(**fields)
        with where.told():
            recurrence.read()
    return found
