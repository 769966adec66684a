"""What the routes share: the database, the cache, the stream, the metrics."""

from fastapi import Request

from operator_prices.settings import Settings
from operator_prices.web.answers import Answer, Producer
from operator_prices.web.cache import Cache
from operator_prices.web.database import Database
from operator_prices.web.metrics import Metrics
from operator_prices.web.parameters import FORMATS
from operator_prices.web.queries.spans import Served
from operator_prices.web.stream import Stream


class Service:
    """One for each application, at its `state.service`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database_url = str(settings.api_database_url)
        self.database = Database(self.database_url)
        self.cache = Cache(settings.api_cache_bytes)
        self.stream = Stream(self.database)
        self.metrics = Metrics()

    def answer(
        self,
        request: Request,
        source: Producer,
        *,
        key: str,
        form: str = "json",
        large: bool = False,
        name: str = "",
    ) -> Answer:
        """The answer that `key` and the version of the data determine."""
        return Answer(
            request,
            self.database,
            self.cache,
            source,
            key=f"{form} {key}",
            media_type=FORMATS[form],
            large=large,
            filename=f"{name}.{form}" if form != "json" else None,
        )

    def counted(self, route: str, served: Served) -> None:
        self.metrics.rows.labels(route).inc(served.rows)


def service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found
