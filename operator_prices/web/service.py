"""What the routes share: the database, what is kept, the stream, the metrics."""

from fastapi import Request
from starlette.responses import Response

from operator_prices.settings import Settings
from operator_prices.web.answers import (
    Kitchen,
    LargeAnswer,
    Producer,
    Question,
    SmallAnswer,
    TableAnswer,
)
from operator_prices.web.cache import Cache
from operator_prices.web.database import Database
from operator_prices.web.limits import Places, Room
from operator_prices.web.metrics import Metrics
from operator_prices.web.parameters import FORMATS
from operator_prices.web.queries.spans import Served
from operator_prices.web.spool import Spool
from operator_prices.web.stream import Stream
from operator_prices.web.tables import Table

JSON = FORMATS["json"]


class Service:
    """One for each application, at its `state.service`."""

    def __init__(self, settings: Settings, room: Room) -> None:
        self.settings = settings
        self.room = room
        self.database_url = str(settings.api_database_url)
        self.database = Database(self.database_url)
        self.spool = Spool(settings.api_spool_bytes, keep=settings.api_cache_bytes > 0)
        self.kitchen = Kitchen(
            self.database, Cache(settings.api_cache_bytes), self.spool, room.readers
        )
        self.stream = Stream(self.database)
        self.watching = Places("event streams", room.streams)
        self.metrics = Metrics()

    def small(
        self, request: Request, producer: Producer, key: str, media_type: str = JSON
    ) -> Response:
        """A small answer that `key` and the version of the data determine."""
        return SmallAnswer(request, self.kitchen, Question(f"json {key}", media_type), producer)

    def large(self, request: Request, producer: Producer, key: str) -> Response:
        """A large one."""
        return LargeAnswer(request, self.kitchen, Question(f"json {key}", JSON), producer)

    def table(self, request: Request, table: Table, key: str, name: str) -> Response:
        """A table, as a file of that name."""
        form = table.form
        question = Question(f"{form} {key}", FORMATS[form.name], f"{name}.{form.name}")
        return TableAnswer(request, self.kitchen, question, table.make)

    def counted(self, route: str, served: Served) -> None:
        self.metrics.rows.labels(route).inc(served.rows)


def service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found
