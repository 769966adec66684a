"""`python -m operator_prices.devchain`: a development chain to connect to."""

import argparse
import asyncio
import gc
import signal
import sys
from pathlib import Path

from operator_prices.devchain.scenario import Scenario


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        scenario = Scenario(
            epochs=options.epochs,
            operators=options.operators,
            careers_over=options.careers_over,
            seed=options.seed,
            seconds_per_block=options.seconds_per_block,
            metadata=options.metadata,
            nominators=options.nominators,
            acting_per_mille=options.acting_per_mille,
        )
        return asyncio.run(_serve(scenario, options))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    default = Scenario()
    parser = argparse.ArgumentParser(
        prog="python -m operator_prices.devchain",
        description="Play a chain with operators and epochs, and answer as a node would.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9944, help="0 picks a free one")
    parser.add_argument("--epochs", type=int, default=default.epochs, help="history to begin with")
    parser.add_argument("--operators", type=int, default=default.operators)
    parser.add_argument(
        "--careers-over", type=int, help="epochs that operators' careers are spread over"
    )
    parser.add_argument(
        "--nominators", type=int, default=default.nominators, help="a crowd that stakes as well"
    )
    parser.add_argument(
        "--acting-per-mille",
        type=int,
        default=default.acting_per_mille,
        help="how many of a thousand of the crowd act in an epoch",
    )
    parser.add_argument("--seed", type=int, default=default.seed, help="another seed, other chain")
    parser.add_argument(
        "--seconds-per-block",
        type=float,
        default=default.seconds_per_block,
        help="pace of new blocks, 0 for none",
    )
    parser.add_argument("--metadata", type=Path, help="V14 metadata to serve instead of our own")
    parser.add_argument("--latency", type=float, default=0, metavar="MS", help="per answer")
    parser.add_argument(
        "--batch-limit", type=int, metavar="N", help="requests in one message at most, 0 for none"
    )
    return parser.parse_args(arguments)


async def _serve(scenario: Scenario, options: argparse.Namespace) -> int:
    from operator_prices.devchain.chain import DevChain  # noqa: PLC0415
    from operator_prices.devchain.server import Server  # noqa: PLC0415

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    gc.disable()  # a long history is millions of objects, and none of them is garbage
    chain = DevChain(scenario)
    gc.freeze()
    gc.enable()
    server = Server(chain, latency_ms=options.latency, batch_limit=options.batch_limit)
    host, port = options.host, options.port
    try:
        port = await server.start(host, port)
    except OSError as error:
        await server.stop()
        raise OSError(
            f"{host}:{port} cannot be listened on ({error.strerror}): end what uses it, or name "
            "another with --port (0 picks a free one)"
        ) from error
    sys.stdout.write(
        f"development chain on ws://{host}:{port} (genesis {server.chain.genesis_hash}, "
        f"{scenario.epochs} epochs, {scenario.operators} operators)\n"
    )
    sys.stdout.flush()
    await stopped.wait()
    await server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
