"""The client for code that is not asynchronous."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from operator_prices.chain.rpc.client import Client
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.rpc.messages import Request

if TYPE_CHECKING:
    from concurrent.futures import Future


class Asking:
    """Asks a `Client` from another thread than its own, until it is called off."""

    def __init__(self, client: Client, portal: BlockingPortal, turns: Iterator[int]) -> None:
        self._client = client
        self._portal = portal
        self._turns = turns
        self._turn = next(turns)
        self._asked: set[Future[list[Any]]] = set()
        self._called_off = False
        self.waited = 0.0
        """Seconds spent waiting for answers so far."""

    @property
    def sent(self) -> int:
        """Messages sent so far, by whomever, those sent again included; a batch is one."""
        return self._client.sent

    @property
    def asked(self) -> int:
        """Requests in the messages so far, each one of a batch by itself."""
        return self._client.asked

    @property
    def takes_batches(self) -> bool:
        """Whether several requests go in one message, for all that is known of the endpoint."""
        return self._client.takes_batches

    @property
    def endpoint(self) -> Endpoint:
        return self._client.endpoint

    @property
    def endpoint_count(self) -> int:
        return self._client.endpoint_count

    def beside(self) -> "Asking":
        """Another one who asks over the same connection, from another thread.

        Its requests are sent after those that wait of who was there before it.
        """
        return Asking(self._client, self._portal, self._turns)

    def call_off(self) -> None:
        """Whoever waits here gets a `CancelledError` at once, and so does who asks later."""
        self._called_off = True
        for asked in tuple(self._asked):
            asked.cancel()

    def call(self, method: str, *params: Any) -> Any:  # noqa: ANN401
        """Ask one thing and wait for the `result`."""
        (answer,) = self.call_many([(method, params)])
        return answer

    def call_many(self, requests: Iterable[Request], *, together: int = 0) -> list[Any]:
        """Ask all `requests` at once; their results come in the order of the requests.

        As many as have so many entries `together` go in one message if the endpoint takes it; 0 is
        a message for each.
        """
        begun = monotonic()
        asked: Future[list[Any]] = self._portal.start_task_soon(
            partial(self._client.call_many, list(requests), together=together, turn=self._turn)
        )
        self._asked.add(asked)
        if self._called_off:
            asked.cancel()
        try:
            return asked.result()
        except BaseException:  # who is interrupted does not wait for the rest of the answers
            asked.cancel()
            raise
        finally:
            self._asked.discard(asked)
            self.waited += monotonic() - begun


class Rpc(Asking):
    """A `Client` whose event loop runs in a thread of its own; the methods wait for the answers."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        client: Callable[..., Client] = Client,
        /,
        **limits: Any,  # noqa: ANN401 - whatever `client` takes
    ) -> None:
        self._running = start_blocking_portal(backend_options={"use_uvloop": True})
        portal = self._running.__enter__()
        super().__init__(portal.call(partial(client, endpoints, **limits)), portal, count())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._portal.call(self._client.close)
        self._running.__exit__(kind, error, trace)

    def turn_away(self) -> bool:
        """Use the next endpoint that is left from now on; False where there is no other."""
        return self._portal.call(self._client.turn_away)
