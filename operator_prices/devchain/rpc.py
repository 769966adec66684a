"""The JSON-RPC methods of a node, as functions of their parameters."""

from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Any, NoReturn

from operator_prices.devchain.blocks import Header
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.metadata import APIS, SS58_PREFIX
from operator_prices.devchain.state import State

MAX_KEYS = 1_000
Json = Any  # what a request or an answer may be
Method = tuple[Callable[..., Json], int, int]
"""A function, and the fewest and the most parameters it takes."""

SUBSCRIPTIONS = {
    "chain_subscribeNewHeads": "chain_newHead",
    "chain_subscribeNewHead": "chain_newHead",
    "chain_subscribeAllHeads": "chain_allHead",
    "chain_subscribeFinalizedHeads": "chain_finalizedHead",
    "state_subscribeRuntimeVersion": "state_runtimeVersion",
}
"""Methods that subscribe, and the method of their notifications."""
UNSUBSCRIPTIONS = frozenset(name.replace("_subscribe", "_unsubscribe") for name in SUBSCRIPTIONS)


class RpcError(Exception):
    """An error that the node answers."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_json(self) -> dict[str, object]:
        error: dict[str, object] = {"code": self.code, "message": self.message}
        return error if self.data is None else {**error, "data": self.data}


def invalid_params(reason: str) -> RpcError:
    return RpcError(-32602, "Invalid params", reason)


class Rpc:
    """Answers one method call at a time, from the chain as it is now."""

    def __init__(self, chain: DevChain, state: State) -> None:
        self._chain = chain
        self._state = state
        self._methods: dict[str, Method] = {
            "chain_getBlock": (self._get_block, 0, 1),
            "chain_getBlockHash": (self._get_block_hash, 0, 1),
            "chain_getHead": (self._get_block_hash, 0, 1),
            "chain_getFinalizedHead": (self._get_finalized_head, 0, 0),
            "chain_getFinalisedHead": (self._get_finalized_head, 0, 0),
            "chain_getHeader": (self._get_header, 0, 1),
            "state_getMetadata": (self._get_metadata, 0, 1),
            "state_getRuntimeVersion": (self._get_runtime_version, 0, 1),
            "chain_getRuntimeVersion": (self._get_runtime_version, 0, 1),
            "state_getStorage": (self._get_storage, 1, 2),
            "state_getStorageAt": (self._get_storage, 1, 2),
            "state_getStorageHash": (self._get_storage_hash, 1, 2),
            "state_getStorageSize": (self._get_storage_size, 1, 2),
            "state_getKeysPaged": (self._get_keys_paged, 2, 4),
            "state_queryStorageAt": (self._query_storage_at, 1, 2),
            "system_chain": (lambda: "Autonomys Development", 0, 0),
            "system_chainType": (lambda: "Development", 0, 0),
            "system_health": (
                lambda: {"peers": 3, "isSyncing": False, "shouldHavePeers": True},
                0,
                0,
            ),
            "system_name": (lambda: "subspace-node", 0, 0),
            "system_properties": (
                lambda: {"ss58Format": SS58_PREFIX, "tokenDecimals": 18, "tokenSymbol": "AI3"},
                0,
                0,
            ),
            "system_version": (lambda: "0.1.0-devchain", 0, 0),
            "rpc_methods": (self._list_methods, 0, 0),
        }

    def call(self, method: str, params: list[Json]) -> Json:
        if method not in self._methods:
            raise RpcError(-32601, "Method not found")
        function, fewest, most = self._methods[method]
        while len(params) > fewest and params[-1] is None:
            params = params[:-1]
        if not fewest <= len(params) <= most:
            raise invalid_params(f"{method} takes {fewest} to {most} parameters, not {len(params)}")
        return function(*params)

    def header(self, number: int) -> dict[str, object]:
        return self._header(number).to_json()

    def runtime_version(self, number: int) -> dict[str, object]:
        """The version of the runtime in a block's state, which executes the block after it."""
        runtime = self._chain.runtimes[self._chain.next_runtime(number)]
        return {
            "specName": runtime.spec_name,
            "implName": runtime.spec_name,
            "authoringVersion": 0,
            "specVersion": runtime.spec_version,
            "implVersion": 0,
            "apis": [list(api) for api in APIS],
            "transactionVersion": 1,
            "stateVersion": 1,
        }

    def _header(self, number: int) -> Header:
        return self._chain.blocks.header(number)

    def _hash(self, number: int) -> str:
        return "0x" + self._chain.blocks.hash(number).hex()

    def _known(self, block_hash: Json) -> int | None:
        """The number of the block, the head for none; `None` if there is no such block."""
        if block_hash is None:
            return self._chain.head
        raw = _hex(block_hash)
        if len(raw) != 32:  # noqa: PLR2004
            raise invalid_params(f"a block hash has 32 bytes, not {len(raw)}")
        number = self._chain.blocks.number(raw)
        return None if number is None or self._never_had(number) else number

    def _never_had(self, number: int) -> bool:
        return 0 < number < self._chain.scenario.first_block

    def _with_state(self, block_hash: Json) -> int:
        number = self._known(block_hash)
        if number is None:
            _unknown_block(f"Header was not found in the database: {block_hash}")
        kept = self._chain.scenario.keep_states
        if kept is not None and number < self._chain.head - kept:
            _unknown_block(f"State already discarded for {self._hash(number)}")
        return number

    def _get_block_hash(self, number: Json = None) -> Json:
        if isinstance(number, list):
            return [self._block_hash(one) for one in number]
        return self._block_hash(number)

    def _block_hash(self, number: Json) -> str | None:
        if number is None:
            return self._hash(self._chain.head)
        if isinstance(number, str):
            try:
                number = int(number, 16)
            except ValueError:
                raise invalid_params(f"{number!r} is no block number") from None
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1 << 32:
            raise invalid_params(f"{number!r} is no block number")
        if number > self._chain.head or self._never_had(number):
            return None
        return self._hash(number)

    def _get_finalized_head(self) -> str:
        return self._hash(self._chain.finalized)

    def _get_header(self, block_hash: Json = None) -> Json:
        number = self._known(block_hash)
        return None if number is None else self.header(number)

    def _get_block(self, block_hash: Json = None) -> Json:
        number = self._known(block_hash)
        if number is None:
            return None
        block = {"header": self.header(number), "extrinsics": []}
        return {"block": block, "justifications": None}

    def _get_metadata(self, block_hash: Json = None) -> str:
        number = self._with_state(block_hash)
        return "0x" + self._chain.runtimes[self._chain.next_runtime(number)].metadata.hex()

    def _get_runtime_version(self, block_hash: Json = None) -> Json:
        return self.runtime_version(self._with_state(block_hash))

    def _read(self, key: Json, block_hash: Json) -> bytes | None:
        (value,) = self._state.values([_hex(key)], self._with_state(block_hash))
        return value

    def _get_storage(self, key: Json, block_hash: Json = None) -> str | None:
        value = self._read(key, block_hash)
        return None if value is None else "0x" + value.hex()

    def _get_storage_hash(self, key: Json, block_hash: Json = None) -> str | None:
        value = self._read(key, block_hash)
        return None if value is None else "0x" + blake2b(value, digest_size=32).hexdigest()

    def _get_storage_size(self, key: Json, block_hash: Json = None) -> int | None:
        value = self._read(key, block_hash)
        return None if value is None else len(value)

    def _get_keys_paged(
        self, prefix: Json, count: Json, start: Json = None, block_hash: Json = None
    ) -> list[str]:
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise invalid_params(f"{count!r} is no number of keys")
        if count > MAX_KEYS:
            raise RpcError(4002, f"count exceeds maximum value. value: {count}, max: {MAX_KEYS}")
        raw = b"" if prefix is None else _hex(prefix)
        after = b"" if start is None else _hex(start)
        block = self._with_state(block_hash)
        return ["0x" + key.hex() for key in self._state.keys(raw, count, after, block)]

    def _query_storage_at(self, keys: Json, block_hash: Json = None) -> Json:
        if not isinstance(keys, list):
            raise invalid_params("the keys are to be a list")
        number = self._with_state(block_hash)
        values = self._state.values(map(_hex, keys), number)
        changes = [
            (key, None if value is None else "0x" + value.hex())
            for key, value in zip(keys, values, strict=True)
        ]
        return [{"block": self._hash(number), "changes": changes}]

    def _list_methods(self) -> dict[str, list[str]]:
        return {"methods": sorted({*self._methods, *SUBSCRIPTIONS, *UNSUBSCRIPTIONS})}


def _hex(text: Json) -> bytes:
    if isinstance(text, str) and text.startswith("0x"):
        with suppress(ValueError):
            return bytes.fromhex(text[2:])
    raise invalid_params(f"{str(text)[:80]!r} is no hexadecimal text that begins with 0x")


def _unknown_block(reason: str) -> NoReturn:
    raise RpcError(4003, f"Client error: UnknownBlock: {reason}")
