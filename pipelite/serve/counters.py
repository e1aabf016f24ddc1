"""How many requests were answered, how, and how quickly; as Prometheus reads it."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

#: Upper bounds of the classes of latency, in seconds.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Counters:
    """Requests by route; safe to use from every thread."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._classes: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()
        self._guard = threading.Lock()

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        with self._guard:
            self._requests[method, route, status] += 1
            self._classes.setdefault(route, [0] * (len(BOUNDS_S) + 1))[bisect_left(BOUNDS_S, seconds)] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]

    def lines(self) -> Iterable[str]:
        """The text format of Prometheus."""
        with self._guard:
            requests = dict(self._requests)
            classes = {route: list(counts) for route, counts in self._classes.items()}
            seconds = dict(self._seconds)
        yield from family("pipelite_http_requests_total", "counter", "Requests that were answered.")
        for (method, route, status), count in sorted(requests.items()):
            yield sample("pipelite_http_requests_total", count, method=method, route=route, status=str(status))
        name = "pipelite_http_request_duration_seconds"
        yield from family(name, "histogram", "Time from a request's arrival to its answer.")
        for route, counts in sorted(classes.items()):
            total = 0
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
                total += count
                yield sample(f"{name}_bucket", total, route=route, le=bound)
            yield sample(f"{name}_sum", seconds[route], route=route)
            yield sample(f"{name}_count", total, route=route)


def gauges(name: str, what: str, values: Mapping[str, float], label: str | None = None) -> Iterable[str]:
    """Values that go up and down, by a label or one without."""
    yield from family(name, "gauge", what)
    for value, number in values.items():
        yield sample(name, number, **({} if label is None else {label: value}))


def family(name: str, kind: str, what: str) -> Iterable[str]:
    """What stands above the samples of one name."""
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} {kind}"


def sample(name: str, value: float, **labels: str) -> str:
    """One line."""
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
