"""What Prometheus may know of the API."""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One registry per application, so that two of them in a process do not mix."""

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.requests: Final = Histogram(
            "operator_prices_request_seconds",
            "Time from a request to the last byte of its answer.",
            ("route", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.rows: Final = Counter(
            "operator_prices_rows_served",
            "Rows read from the database for answers: epochs, or operators of epochs.",
            ("route",),
            registry=self.registry,
        )
        self.last_epoch: Final = Gauge(
            "operator_prices_last_epoch",
            "The last stored epoch, -1 without any.",
            registry=self.registry,
        )
        self.lag: Final = Gauge(
            "operator_prices_lag_seconds",
            "Age of the last stored epoch by its own time stamp; NaN without any.",
            registry=self.registry,
        )
        self.database_up: Final = Gauge(
            "operator_prices_database_up",
            "Whether the database answers: 1 or 0.",
            registry=self.registry,
        )
        self.listeners: Final = Gauge(
            "operator_prices_stream_listeners", "Open event streams.", registry=self.registry
        )


class Measured:
    """Times every request of the application under the path of its route, not of its URL."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            seconds = time.perf_counter() - begun
            self._metrics.requests.labels(route, str(status)).observe(seconds)
