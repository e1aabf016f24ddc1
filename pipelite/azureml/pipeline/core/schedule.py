"""`azureml.pipeline.core.schedule`: when a published pipeline runs by itself."""

from __future__ import annotations

import builtins
import enum
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pipelite.api import Schedule as NativeSchedule
from pipelite.automate import Recurrence
from pipelite.azureml import _state
from pipelite.azureml._notices import warn_spelling
from pipelite.azureml.exceptions import UserErrorException
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
            hour, _, minute = self.time_of_day.partition(":")
            hours, minutes = [int(hour)], [int(minute)]
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
        recurrence = Recurrence(
            frequency,
            self.interval,
            week_days=list(self.week_days or ()),
            hours=list(hours or ()),
            minutes=list(minutes or ()),
        )
        return recurrence, zone, self._start(zone)

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
            start = datetime.fromisoformat(start)
        if start is not None and start.tzinfo is not None:
            raise ValueError("ScheduleRecurrence: start_time has a zone of its own; time_zone= says which it is in")
        return None if start is None else start.replace(tzinfo=ZoneInfo(zone))


class Schedule:
    """A schedule of a published pipeline."""

    def __init__(self, workspace: Workspace, native_name: str) -> None:
        self.workspace = workspace
        self._name = native_name
        self._native = workspace.native.schedules[native_name]
        self._kept = _state.get(workspace.store, _KIND, native_name) or {}

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

        Raises
        ------
        ValueError
            If the recurrence cannot be so, or is given together with a datastore.
        """
        from pipelite.azureml.pipeline.core.published import PublishedPipeline

        published = PublishedPipeline.get(workspace, pipeline_id).native
        return _create(
            workspace,
            name,
            published,
            experiment_name,
            recurrence,
            description,
            pipeline_parameters,
            datastore=datastore,
            data_path_parameter_name=data_path_parameter_name,
            path_on_datastore=path_on_datastore,
            kept={"pipeline_id": pipeline_id},
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
        **others: Any,
    ) -> Schedule:
        """Keep a schedule of the default version of an endpoint, whichever that is when it fires."""
        from pipelite.azureml.pipeline.core.published import PipelineEndpoint

        endpoint = PipelineEndpoint.get(workspace, id=pipeline_endpoint_id)
        return _create(
            workspace,
            name,
            endpoint._native,
            experiment_name,
            recurrence,
            description,
            pipeline_parameters,
            kept={"pipeline_endpoint_id": pipeline_endpoint_id},
        )

    @staticmethod
    def get(workspace: Workspace, id: str) -> Schedule:
        for name in workspace.native.schedules:
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
        found = [Schedule(workspace, name) for name in workspace.native.schedules]
        if pipeline_id is not None:
            return [each for each in found if each.pipeline_id == pipeline_id]
        if pipeline_endpoint_id is not None:
            return [each for each in found if each.pipeline_endpoint_id == pipeline_endpoint_id]
        return [each for each in found if each.status == "Active" or not active_only]

    @staticmethod
    def get_schedules_for_pipeline_id(workspace: Workspace, pipeline_id: str) -> builtins.list[Schedule]:
        return Schedule.list(workspace, pipeline_id=pipeline_id)

    @property
    def id(self) -> str:
        return _state.make_id("schedule", self._name)

    @property
    def name(self) -> str:
        return str(self._kept.get("name", self._name))

    @property
    def description(self) -> str | None:
        return self._native.record.description

    @property
    def status(self) -> str:
        return "Disabled" if self._native.is_paused else "Active"

    @property
    def pipeline_id(self) -> str | None:
        found: str | None = self._kept.get("pipeline_id")
        return found

    @property
    def pipeline_endpoint_id(self) -> str | None:
        found: str | None = self._kept.get("pipeline_endpoint_id")
        return found

    def enable(self, wait_for_provisioning: bool = False, wait_timeout: int = 3600) -> None:
        self._native.resume()

    def disable(self, wait_for_provisioning: bool = False, wait_timeout: int = 3600) -> None:
        self._native.pause()

    def get_pipeline_runs(self) -> builtins.list[PipelineRun]:
        """The runs that it made, the newest first."""
        from pipelite.azureml.core.experiment import Experiment
        from pipelite.azureml.pipeline.core.run import PipelineRun

        runs = [slot.run_id for slot in self._native.history(limit=None) if slot.run_id is not None]
        made = [self.workspace.native.run(run) for run in runs]
        return [PipelineRun(Experiment(self.workspace, run.experiment), run.id, _run=run) for run in made]

    def get_last_pipeline_run(self) -> PipelineRun | None:
        return next(iter(self.get_pipeline_runs()), None)

    def __repr__(self) -> str:
        return f"Schedule(Name: {self.name}, Id: {self.id}, Status: {self.status})"


def _create(
    workspace: Workspace,
    name: str,
    called: Any,
    experiment: str,
    recurrence: ScheduleRecurrence | None,
    description: str | None,
    parameters: Any,
    *,
    kept: dict[str, Any],
    datastore: Any = None,
    data_path_parameter_name: str | None = None,
    path_on_datastore: str | None = None,
) -> Schedule:
    if recurrence is not None and (datastore or data_path_parameter_name or path_on_datastore):
        raise ValueError(
            f"schedule {name!r}: recurrence excludes datastore, data_path_parameter_name and path_on_datastore"
        )
    if recurrence is None:
        raise ValueError(f"schedule {name!r} needs a recurrence or a datastore")
    native, zone, start = recurrence.read()
    label = name
    number = 2
    # v1 let several have one name.
    while label in workspace.native.schedules:
        label, number = f"{name}-{number}", number + 1
    try:
        made = NativeSchedule.create(
            label,
            called,
            dict(parameters or {}),
            recurrence=native,
            timezone=zone,
            start=start,
            experiment=experiment,
            description=description,
        )
    except PipeliteError as exc:
        raise ValueError(str(exc)) from exc
    if start is None:
        # As v1 did: the first run starts at once.
        made.run_now()
    _state.put(workspace.store, _KIND, label, {**kept, "name": name})
    return Schedule(workspace, label)
