"""`azureml.pipeline.core.schedule`: when a published pipeline runs by itself."""

from __future__ import annotations

import builtins
import contextlib
import enum
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pipelite import automate
from pipelite.api.schedules import Schedule as NativeSchedule
from pipelite.api.triggers import Trigger as NativeTrigger
from pipelite.automate import FileChange, Recurrence
from pipelite.azureml import _state
from pipelite.azureml._notices import warn_spelling
from pipelite.azureml.exceptions import UserErrorException
from pipelite.azureml.pipeline.core.published import PipelineEndpoint, PublishedPipeline, native_name, to_values
from pipelite.clock import CLOCK
from pipelite.errors import PipeliteError

if TYPE_CHECKING:
    from pipelite.azureml.core.workspace import Workspace
    from pipelite.azureml.pipeline.core.run import PipelineRun

_FREQUENCIES = ("Minute", "Hour", "Day", "Week", "Month")
#: What scripts write, and the SDK refused.
_SPELLINGS = {
    "minutely": "Minute",
    "minutes": "Minute",
    "hourly": "Hour",
    "hours": "Hour",
    "daily": "Day",
    "days": "Day",
    "weekly": "Week",
    "weeks": "Week",
    "monthly": "Month",
    "months": "Month",
}
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_KIND = "schedule"
_TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\Z", re.ASCII)
_START = "%Y-%m-%dT%H:%M:%S"
_START_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\Z", re.ASCII)
#: A look a day is the least that a trigger takes.
_MOST_MINUTES = 24 * 60


class TimeZone(enum.Enum):
    """Time zones, by Windows' names; the values are those of the IANA."""

    UTC = "UTC"
    GMTStandardTime = "Europe/London"
    GreenwichStandardTime = "Atlantic/Reykjavik"
    WEuropeStandardTime = "Europe/Berlin"
    CentralEuropeStandardTime = "Europe/Budapest"
    CentralEuropeanStandardTime = "Europe/Warsaw"
    RomanceStandardTime = "Europe/Paris"
    EEuropeStandardTime = "Europe/Chisinau"
    FLEStandardTime = "Europe/Kyiv"
    GTBStandardTime = "Europe/Bucharest"
    TurkeyStandardTime = "Europe/Istanbul"
    RussianStandardTime = "Europe/Moscow"
    IsraelStandardTime = "Asia/Jerusalem"
    EgyptStandardTime = "Africa/Cairo"
    SouthAfricaStandardTime = "Africa/Johannesburg"
    MoroccoStandardTime = "Africa/Casablanca"
    ArabianStandardTime = "Asia/Dubai"
    ArabStandardTime = "Asia/Riyadh"
    IranStandardTime = "Asia/Tehran"
    PakistanStandardTime = "Asia/Karachi"
    IndiaStandardTime = "Asia/Kolkata"
    BangladeshStandardTime = "Asia/Dhaka"
    SEAsiaStandardTime = "Asia/Bangkok"
    ChinaStandardTime = "Asia/Shanghai"
    SingaporeStandardTime = "Asia/Singapore"
    TaipeiStandardTime = "Asia/Taipei"
    TokyoStandardTime = "Asia/Tokyo"
    KoreaStandardTime = "Asia/Seoul"
    WAustraliaStandardTime = "Australia/Perth"
    CenAustraliaStandardTime = "Australia/Adelaide"
    AUSCentralStandardTime = "Australia/Darwin"
    EAustraliaStandardTime = "Australia/Brisbane"
    AUSEasternStandardTime = "Australia/Sydney"
    TasmaniaStandardTime = "Australia/Hobart"
    NewZealandStandardTime = "Pacific/Auckland"
    HawaiianStandardTime = "Pacific/Honolulu"
    AlaskanStandardTime = "America/Anchorage"
    PacificStandardTime = "America/Los_Angeles"
    MountainStandardTime = "America/Denver"
    USMountainStandardTime = "America/Phoenix"
    CentralStandardTime = "America/Chicago"
    CentralStandardTimeMexico = "America/Mexico_City"
    EasternStandardTime = "America/New_York"
    AtlanticStandardTime = "America/Halifax"
    NewfoundlandStandardTime = "America/St_Johns"
    SAPacificStandardTime = "America/Bogota"
    VenezuelaStandardTime = "America/Caracas"
    PacificSAStandardTime = "America/Santiago"
    ArgentinaStandardTime = "America/Buenos_Aires"
    ESouthAmericaStandardTime = "America/Sao_Paulo"


class ScheduleRecurrence:
    """Every so many minutes, hours, days, weeks or months. What is wrong with it is said by `Schedule.create`."""

    def __init__(
        self,
        frequency: str,
        interval: int,
        start_time: datetime | str | None = None,
        time_zone: TimeZone | None = None,
        hours: Sequence[int] | None = None,
        minutes: Sequence[int] | None = None,
        week_days: Sequence[str] | None = None,
        time_of_day: str | None = None,
    ) -> None:
        self.frequency = frequency
        self.interval = interval
        self.start_time = start_time
        self.time_zone = time_zone
        self.hours = hours
        self.minutes = minutes
        self.week_days = week_days
        self.time_of_day = time_of_day

    def read(self) -> tuple[Recurrence, str, datetime | None]:
        """The recurrence of this library, its zone, and its start.

        Raises
        ------
        ValueError
            If it cannot be so.
        """
        frequency = self._frequency()
        if type(self.interval) is not int or self.interval < 1:
            raise ValueError(f"ScheduleRecurrence: interval={self.interval!r}; a whole number from 1 is expected")
        if self.time_zone is not None and not isinstance(self.time_zone, TimeZone):
            raise ValueError(f"ScheduleRecurrence: time_zone={self.time_zone!r}; a TimeZone is expected")
        hours, minutes = self.hours, self.minutes
        if self.time_of_day is not None:
            if hours is not None or minutes is not None:
                raise ValueError("ScheduleRecurrence takes time_of_day, or hours and minutes")
            found = _TIME_OF_DAY.match(str(self.time_of_day))
            if found is None:
                raise ValueError(f"ScheduleRecurrence: time_of_day={self.time_of_day!r}; hh:mm is expected")
            hours, minutes = [int(found[1])], [int(found[2])]
        if (hours is not None or minutes is not None) and frequency not in ("Day", "Week"):
            raise ValueError(
                f"ScheduleRecurrence: hours, minutes and time_of_day are for Day and Week, not {frequency}"
            )
        if self.week_days is not None and frequency != "Week":
            raise ValueError(f"ScheduleRecurrence: week_days are for Week, not {frequency}")
        for day in self.week_days or ():
            if day not in _DAYS:
                raise ValueError(f"ScheduleRecurrence: {day!r} is no day of the week; {', '.join(_DAYS)} are")
        zone = (self.time_zone or TimeZone.UTC).value
        start = self._start(zone)
        with _said_as_value_error():
            recurrence = Recurrence(
                frequency,
                self.interval,
                week_days=list(self.week_days or ()),
                hours=list(hours or ()),
                minutes=list(minutes or ()),
            )
        return recurrence, zone, start

    def _frequency(self) -> str:
        if self.frequency in _FREQUENCIES:
            return self.frequency
        right = _SPELLINGS.get(str(self.frequency).lower()) or next(
            (each for each in _FREQUENCIES if each.lower() == str(self.frequency).lower()), None
        )
        if right is None:
            raise ValueError(
                f"ScheduleRecurrence: frequency={self.frequency!r}; one of {', '.join(_FREQUENCIES)} is expected"
            )
        warn_spelling(f"frequency={self.frequency!r}", f"frequency={right!r}")
        return right

    def _start(self, zone: str) -> datetime | None:
        start = self.start_time
        if isinstance(start, str):
            if not _START_TEXT.match(start):
                raise ValueError(
                    f"ScheduleRecurrence: start_time={start!r}; a text such as 2026-03-01T09:30:00 is expected"
                )
            start = datetime.fromisoformat(start)
        if start is not None and not isinstance(start, datetime):
            raise ValueError(f"ScheduleRecurrence: start_time={start!r}; a datetime is expected")
        if start is not None and start.tzinfo is not None:
            raise ValueError("ScheduleRecurrence: start_time has a zone of its own; time_zone= says which it is in")
        return None if start is None else start.replace(tzinfo=ZoneInfo(zone))

    def to_json(self) -> dict[str, Any]:
        """What it was made with; `from_json` makes it again."""
        start, zone = self.start_time, self.time_zone
        return {
            "frequency": self.frequency,
            "interval": self.interval,
            "start_time": start.strftime(_START) if isinstance(start, datetime) else start,
            "time_zone": None if zone is None else zone.name,
            "hours": None if self.hours is None else list(self.hours),
            "minutes": None if self.minutes is None else list(self.minutes),
            "week_days": None if self.week_days is None else list(self.week_days),
            "time_of_day": self.time_of_day,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ScheduleRecurrence:
        """Read what `to_json` gave."""
        zone = fields["time_zone"]
        return cls(**{**fields, "time_zone": None if zone is None else TimeZone[zone]})


class Schedule:
    """A schedule of a published pipeline or an endpoint: by the clock, or on changes of data."""

    def __init__(self, workspace: Workspace, native_name: str) -> None:
        self.workspace = workspace
        self._name = native_name

    @property
    def _kept(self) -> dict[str, Any]:
        return _state.get(self.workspace.store, _KIND, self._name) or {}

    @property
    def native(self) -> NativeSchedule | NativeTrigger:
        """The schedule, or the trigger, of this library."""
        native = self.workspace.native
        return native.schedules[self._name] if self._name in native.schedules else native.triggers[self._name]

    @staticmethod
    def create(
        workspace: Workspace,
        name: str,
        pipeline_id: str,
        experiment_name: str,
        recurrence: ScheduleRecurrence | None = None,
        description: str | None = None,
        pipeline_parameters: Any = None,
        wait_for_provisioning: bool = False,
        wait_timeout: int = 3600,
        datastore: Any = None,
        polling_interval: int = 5,
        data_path_parameter_name: str | None = None,
        continue_on_step_failure: bool | None = None,
        path_on_datastore: str | None = None,
        **others: Any,
    ) -> Schedule:
        """Keep a schedule; `pipelite serve` or `pipelite daemon` sees to it.

        With a recurrence that has no start, the first run starts at once. With a datastore, each object that is new or
        changed in the folder `path_on_datastore`, and not below it, has a run of its own; what is there now has none.

        Parameters
        ----------
        polling_interval : int
            Minutes between two looks at the folder.
        data_path_parameter_name : str, optional
            The parameter with a DataPath that is set to the object.

        Raises
        ------
        ValueError
            If the recurrence cannot be so, or is given together with a datastore.
        """
        if pipeline_id is None:
            raise ValueError(f"schedule {name!r} needs a pipeline_id")
        return _create(
            workspace,
            name,
            {"pipeline_id": PublishedPipeline.get(workspace, pipeline_id).id},
            experiment_name,
            recurrence,
            description,
            pipeline_parameters,
            datastore=datastore,
            polling_interval=polling_interval,
            data_path_parameter_name=data_path_parameter_name,
            continue_on_step_failure=continue_on_step_failure,
            path_on_datastore=path_on_datastore,
        )

    @staticmethod
    def create_for_pipeline_endpoint(
        workspace: Workspace,
        name: str,
        pipeline_endpoint_id: str,
        experiment_name: str,
        recurrence: ScheduleRecurrence | None = None,
        description: str | None = None,
        pipeline_parameters: Any = None,
        wait_for_provisioning: bool = False,
        wait_timeout: int = 3600,
        datastore: Any = None,
        polling_interval: int = 5,
        data_path_parameter_name: str | None = None,
        continue_on_step_failure: bool | None = None,
        path_on_datastore: str | None = None,
        **others: Any,
    ) -> Schedule:
        """Keep a schedule of the default version of an endpoint, whichever that is when it fires; see `create`."""
        return _create(
            workspace,
            name,
            {"pipeline_endpoint_id": PipelineEndpoint.get(workspace, id=pipeline_endpoint_id).id},
            experiment_name,
            recurrence,
            description,
            pipeline_parameters,
            datastore=datastore,
            polling_interval=polling_interval,
            data_path_parameter_name=data_path_parameter_name,
            continue_on_step_failure=continue_on_step_failure,
            path_on_datastore=path_on_datastore,
        )

    @staticmethod
    def get(workspace: Workspace, id: str, **others: Any) -> Schedule:
        """The one with an id.

        Raises
        ------
        UserErrorException
            If there is none.
        """
        for name in _names(workspace):
            found = Schedule(workspace, name)
            if found.id == id:
                return found
        raise UserErrorException(f"there is no schedule with the id {id!r}")

    @staticmethod
    def list(
        workspace: Workspace,
        active_only: bool = True,
        pipeline_id: str | None = None,
        pipeline_endpoint_id: str | None = None,
        **others: Any,
    ) -> builtins.list[Schedule]:
        """All of them; with a pipeline or an endpoint all of that, whether they are active or not."""
        found = [Schedule(workspace, name) for name in _names(workspace)]
        if pipeline_id is not None:
            return [each for each in found if each.pipeline_id == pipeline_id]
        if pipeline_endpoint_id is not None:
            return [each for each in found if each.pipeline_endpoint_id == pipeline_endpoint_id]
        return [each for each in found if each.status == "Active" or not active_only]

    get_all = list

    @staticmethod
    def get_schedules_for_pipeline_id(workspace: Workspace, pipeline_id: str) -> builtins.list[Schedule]:
        return Schedule.list(workspace, pipeline_id=pipeline_id)

    @staticmethod
    def get_schedules_for_pipeline_endpoint_id(
        workspace: Workspace, pipeline_endpoint_id: str
    ) -> builtins.list[Schedule]:
        return Schedule.list(workspace, pipeline_endpoint_id=pipeline_endpoint_id)

    @staticmethod
    def load_yaml(
        workspace: Workspace,
        filename: str | os.PathLike[str],
        _workflow_provider: Any = None,
        _service_endpoint: Any = None,
    ) -> dict[str, Any]:
        """What `create` takes, by name, from a file of YAML; `datastore=` of it stands there as `datastore_name`.

        Raises
        ------
        ValueError
            Naming the file and the key that is wrong.
        MissingExtraError
            If PyYAML is not installed, which comes with the extra `environments`.
        """
        from pipelite.azureml.pipeline.core.yaml_schedules import load_schedule

        return load_schedule(workspace, filename)

    @property
    def id(self) -> str:
        return _state.make_id("schedule", self._name)

    @property
    def name(self) -> str:
        return str(self._kept.get("name", self._name))

    @property
    def description(self) -> str | None:
        return self.native.record.description

    @property
    def status(self) -> str:
        return "Disabled" if self.native.is_paused else "Active"

    @property
    def pipeline_id(self) -> str | None:
        """Of the published pipeline; None if it is of an endpoint."""
        return self.native.record.published_id

    @property
    def pipeline_endpoint_id(self) -> str | None:
        """Of the endpoint; None if it is of a published pipeline."""
        return self.native.record.endpoint

    @property
    def recurrence(self) -> ScheduleRecurrence | None:
        """None for one on changes of data, and for one that was made by other means than v1's."""
        found = self._kept.get("recurrence")
        return None if found is None else ScheduleRecurrence.from_json(found)

    @property
    def datastore_name(self) -> str | None:
        found: str | None = self._kept.get("datastore_name")
        return found

    @property
    def path_on_datastore(self) -> str | None:
        found: str | None = self._kept.get("path_on_datastore")
        return found

    @property
    def polling_interval(self) -> int | None:
        """Minutes."""
        found: int | None = self._kept.get("polling_interval")
        return found

    @property
    def data_path_parameter_name(self) -> str | None:
        found: str | None = self._kept.get("data_path_parameter_name")
        return found

    @property
    def continue_on_step_failure(self) -> bool | None:
        found: bool | None = self._kept.get("continue_on_step_failure")
        return found

    def update(
        self,
        name: str | None = None,
        description: str | None = None,
        recurrence: ScheduleRecurrence | None = None,
        pipeline_parameters: Mapping[str, Any] | None = None,
        status: str | None = None,
        wait_for_provisioning: bool = False,
        wait_timeout: int = 3600,
        datastore: Any = None,
        polling_interval: int | None = None,
        data_path_parameter_name: str | None = None,
        continue_on_step_failure: bool | None = None,
        path_on_datastore: str | None = None,
        **others: Any,
    ) -> None:
        """Change what is given; nothing runs for the past.

        Raises
        ------
        ValueError
            If one by the clock is to be one on changes of data or the reverse, or it cannot be so.
        """
        if status not in (None, "Active", "Disabled"):
            raise ValueError(f"schedule {self.name!r}: status={status!r}; 'Active' or 'Disabled' is expected")
        data = {
            "datastore_name": None if datastore is None else _blob_store(self.name, datastore),
            "polling_interval": polling_interval,
            "data_path_parameter_name": data_path_parameter_name,
            "path_on_datastore": path_on_datastore,
        }
        changed = {key: value for key, value in data.items() if value is not None}
        native = self.native
        if isinstance(native, NativeTrigger) and recurrence is not None:
            raise ValueError(f"schedule {self.name!r} is on changes of data, and cannot get a recurrence")
        if isinstance(native, NativeSchedule) and changed:
            raise ValueError(f"schedule {self.name!r} has a recurrence, and cannot be on changes of data")
        kept = {**self._kept, **changed, "name": self.name if name is None else name}
        if continue_on_step_failure is not None:
            _check_goes_on(self.workspace, kept["name"], self.pipeline_id, continue_on_step_failure)
            kept["continue_on_step_failure"] = continue_on_step_failure
        values = None if pipeline_parameters is None else self._values(pipeline_parameters)
        with _said_as_value_error():
            if isinstance(native, NativeSchedule):
                changes: dict[str, Any] = {} if values is None else {"parameters": values}
                if description is not None:
                    changes["description"] = description
                if recurrence is not None:
                    which, zone, start = recurrence.read()
                    changes |= {"recurrence": which, "timezone": zone, "start": start or CLOCK.now()}
                    kept["recurrence"] = recurrence.to_json()
                if changes:
                    native.update(**changes)
            elif changed or values is not None or description is not None:
                self._replace(native, kept, values, description)
        _state.put(self.workspace.store, _KIND, self._name, kept)
        if status is not None:
            self.enable() if status == "Active" else self.disable()

    def _replace(
        self, native: NativeTrigger, kept: Mapping[str, Any], values: Mapping[str, Any] | None, description: str | None
    ) -> None:
        """Make the trigger anew: what is there now is what changes are counted from."""
        old = native.record
        is_paused = native.is_paused
        source = _source(str(kept["name"]), kept)
        given = dict(old.parameters if values is None else values)
        shown = old.description if description is None else description
        # What is wrong is found while the old one is still there.
        trial = _make_trigger(self.workspace, f"{self._name[:100]} new", old, source, kept, given, shown)
        trial.remove()
        native.remove()
        made = _make_trigger(self.workspace, self._name, old, source, kept, given, shown)
        if is_paused:
            made.pause()

    def _values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        record = self.native.record
        version = automate.find_version(self.workspace.store, record.published_id or record.endpoint or "")
        return automate.read_loosely(version, to_values(given))

    def enable(self, wait_for_provisioning: bool = False, wait_timeout: int = 3600) -> None:
        """Have it go on; nothing runs for the time that it was disabled."""
        self.native.resume()

    def disable(self, wait_for_provisioning: bool = False, wait_timeout: int = 3600) -> None:
        """Have it make no runs."""
        self.native.pause()

    def get_pipeline_runs(self) -> builtins.list[PipelineRun]:
        """The runs that it made, the newest first."""
        from pipelite.azureml.core.experiment import Experiment
        from pipelite.azureml.pipeline.core.run import PipelineRun

        tag = "schedule" if isinstance(self.native, NativeSchedule) else "trigger"
        made = [run for run in self.workspace.native.runs(limit=None) if run.tags.get(tag) == self._name]
        return [PipelineRun(Experiment(self.workspace, run.experiment), run.id, _run=run) for run in made]

    def get_last_pipeline_run(self) -> PipelineRun | None:
        """The newest of them; None if there is none."""
        return next(iter(self.get_pipeline_runs()), None)

    def __repr__(self) -> str:
        return f"Schedule(Name: {self.name}, Id: {self.id}, Status: {self.status})"


def _names(workspace: Workspace) -> builtins.list[str]:
    """Native ones, of either kind; triggers of other kinds are none of v1's."""
    native = workspace.native
    files = [name for name, each in native.triggers.items() if isinstance(each.record.source, FileChange)]
    return [*native.schedules, *files]


@contextlib.contextmanager
def _said_as_value_error() -> Iterator[None]:
    try:
        yield
    except PipeliteError as exc:
        raise ValueError(str(exc)) from exc


def _create(
    workspace: Workspace,
    name: str,
    called: Mapping[str, str],
    experiment: str,
    recurrence: ScheduleRecurrence | None,
    description: str | None,
    parameters: Any,
    *,
    datastore: Any,
    polling_interval: int,
    data_path_parameter_name: str | None,
    continue_on_step_failure: bool | None,
    path_on_datastore: str | None,
) -> Schedule:
    from pipelite.azureml.core.experiment import Experiment

    experiment = Experiment(workspace, experiment).name
    if recurrence is not None and (datastore or data_path_parameter_name or path_on_datastore):
        raise ValueError(
            f"schedule {name!r}: recurrence excludes datastore, data_path_parameter_name and path_on_datastore"
        )
    if recurrence is None and datastore is None:
        raise ValueError(f"schedule {name!r} needs a recurrence or a datastore")
    _check_goes_on(workspace, name, called.get("pipeline_id"), continue_on_step_failure)
    if "pipeline_id" in called:
        native: Any = PublishedPipeline.get(workspace, called["pipeline_id"]).native
    else:
        native = PipelineEndpoint.get(workspace, id=called["pipeline_endpoint_id"]).native
    kept: dict[str, Any] = {"name": name, "continue_on_step_failure": continue_on_step_failure}
    label = _free_name(workspace, native_name(name))
    with _said_as_value_error():
        version = automate.find_version(workspace.store, next(iter(called.values())))
        values = automate.read_loosely(version, to_values(parameters or {}))
        if recurrence is None:
            kept |= {
                "datastore_name": _blob_store(name, datastore),
                "path_on_datastore": path_on_datastore,
                "polling_interval": polling_interval,
                "data_path_parameter_name": data_path_parameter_name,
            }
            NativeTrigger.create(
                label,
                native,
                values,
                on=_source(name, kept),
                cause_parameter=data_path_parameter_name,
                experiment=experiment,
                description=description,
                workspace=workspace.native.path,
            )
        else:
            which, zone, start = recurrence.read()
            kept["recurrence"] = recurrence.to_json()
            made = NativeSchedule.create(
                label,
                native,
                values,
                recurrence=which,
                timezone=zone,
                start=start,
                # As v1 did: each has its run, whatever becomes of the one before.
                overlap="allow",
                experiment=experiment,
                description=description,
                workspace=workspace.native.path,
            )
            if start is None:
                # As v1 did: the first run starts at once.
                made.run_now()
    _state.put(workspace.store, _KIND, label, kept)
    return Schedule(workspace, label)


def _free_name(workspace: Workspace, wanted: str) -> str:
    """A name that no schedule and no trigger has; v1 let several have one."""
    taken = {*workspace.native.schedules, *workspace.native.triggers}
    label, number = wanted, 2
    while label in taken:
        label, number = f"{wanted}-{number}", number + 1
    return label


def _check_goes_on(workspace: Workspace, name: str, pipeline_id: str | None, wanted: bool | None) -> None:
    """Runs of a schedule go on after a failed step if what they are runs of was published so."""
    if wanted is None or pipeline_id is None:
        return
    if PublishedPipeline.get(workspace, pipeline_id).continue_on_step_failure != wanted:
        raise ValueError(
            f"schedule {name!r}: continue_on_step_failure={wanted!r} is not how its pipeline was published; publish it with "
            f"continue_on_step_failure={wanted!r}, and schedule that"
        )


def _blob_store(name: str, datastore: Any) -> str:
    if getattr(datastore, "datastore_type", None) != "AzureBlob":
        raise ValueError(f"schedule {name!r}: {datastore!r} is no datastore of blobs, and only those are looked at")
    return str(datastore.name)


def _source(name: str, kept: Mapping[str, Any]) -> FileChange:
    """The files of a folder, without those of its sub-folders."""
    minutes = kept["polling_interval"]
    if type(minutes) is not int or not 1 <= minutes <= _MOST_MINUTES:
        raise ValueError(
            f"schedule {name!r}: polling_interval={minutes!r}; a whole number of minutes from 1 to {_MOST_MINUTES} is expected"
        )
    folder = (kept["path_on_datastore"] or "").strip("/")
    path = (kept["datastore_name"], f"{folder}/*" if folder else "*")
    return FileChange(path, per_file=True, interval=timedelta(minutes=minutes))


def _make_trigger(
    workspace: Workspace,
    label: str,
    old: automate.TriggerRecord,
    source: FileChange,
    kept: Mapping[str, Any],
    values: Mapping[str, Any],
    description: str | None,
) -> NativeTrigger:
    if old.published_id is not None:
        native: Any = PublishedPipeline.get(workspace, old.published_id).native
    else:
        native = PipelineEndpoint(workspace, str(old.endpoint)).native
    return NativeTrigger.create(
        label,
        native,
        values,
        on=source,
        cause_parameter=kept["data_path_parameter_name"],
        experiment=old.experiment,
        description=description,
        workspace=workspace.native.path,
    )
