"""Everything at once: database, chain, migrations, backfill, summary, then UI and dashboard."""

import sysconfig
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event

from operator_prices import store
from operator_prices.alerts.addresses import addresses
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.cli.console import Console
from operator_prices.local import api, dagster_home, exposure, leftovers, ports
from operator_prices.local.database import upgrade, usable_database
from operator_prices.local.node import announced, start_development_chain
from operator_prices.local.ports import LOOPBACK
from operator_prices.local.postgres import embedded
from operator_prices.local.supervisor import Child, Supervisor
from operator_prices.postgres.address import described
from operator_prices.postgres.parts import WEBSERVER_MORE
from operator_prices.runs import backfill
from operator_prices.settings import PROJECT, Settings

CODE_SERVER = "code-server"


def up(settings: Settings, console: Console, *, once: bool, backup: bool = True) -> bool:
    """Bring everything up and serve it until Ctrl-C, or only to the summary with `once`.

    True if every epoch could be understood. Raises what its parts raise, after stopping whatever
    it started.
    """
    begun = time.monotonic()
    told = addresses(settings.alert_webhook_url)
    if not once:
        ports.require_port_free(settings.ui_host, settings.ui_port, "UI_PORT")
        ports.require_port_free(settings.api_host, settings.api_port, "API_PORT")
        for warning in exposure.warnings(settings, ui=True):
            console.say(warning)
    own_database = settings.database_url is None
    with ExitStack() as stack:
        stack.enter_context(leftovers.lock(settings.data_dir))
        for process in leftovers.reap_leftovers(settings.data_dir):
            console.say(f"Stopped {process}, left over from an `up` that was killed.")
        settings = stack.enter_context(usable_database(settings))
        console.say(f"Database: {described(str(settings.database_url))}")
        console.upgraded(upgrade(settings, backup=backup), quiet=True)
        children = stack.enter_context(
            Supervisor(settings.data_dir, on_death=lambda death: console.say(str(death)))
        )
        if settings.archive_node_url is None:
            settings = start_development_chain(children, settings)
            stack.enter_context(announced(settings))
        endpoints = Endpoint.parse_all(str(settings.archive_node_url))
        console.say(f"Chain: {', '.join(map(str, endpoints))}")
        done = backfill.backfill_missing(settings, progress=console.progress)
        with store.connect(str(settings.database_url)) as connection:
            summary = store.summary(connection)
        console.summary(summary, done, seconds=time.monotonic() - begun)
        if not once:
            _serve(children, settings)
            children.start(api.child(settings, embedded=own_database))
            console.say(f"Dashboard: {ports.url_of(settings.api_host, settings.api_port)}")
            dagster_ui = ports.url_of(settings.ui_host, settings.ui_port) + settings.ui_root_path
            if told:
                console.say(f"Alerts: {', '.join(one.label for one in told)}")
            console.say(f"Dagster UI: {dagster_ui}  (Ctrl-C stops everything)")

            def revive() -> None:
                if own_database and embedded.revive(settings.data_dir):
                    console.say("The embedded Postgres had ended and runs again.")

            with suppress(KeyboardInterrupt):  # the normal end
                children.run_until(Event(), meanwhile=revive)
    if not once:
        console.say("Stopped.")
    return not done.incomplete


def _serve(children: Supervisor, settings: Settings) -> None:
    """Dagster's code server, webserver and daemon, each as ready as it can be told from outside.

    The code server is a process of its own, that the other two and all runs share.
    """
    host, code_port = settings.ui_host, ports.free_port(LOOPBACK)
    workspace = str(dagster_home.workspace(settings.data_dir, LOOPBACK, code_port))
    # Not `code-server start`: that lives on when the process behind it, which does the work, dies.
    code = ["api", "grpc", "-h", LOOPBACK, "-p", str(code_port), "-m", dagster_home.CODE]
    code += ["--location-name", dagster_home.LOCATION, "-d", str(PROJECT)]
    webserver = ["-h", host, "-p", str(settings.ui_port), "-w", workspace]
    webserver += ["--db-pool-max-overflow", str(WEBSERVER_MORE)]
    webserver += ["--path-prefix", settings.ui_root_path] if settings.ui_root_path else []
    for name, program, arguments, ready in (
        (CODE_SERVER, "dagster", code, ports.listening(LOOPBACK, code_port)),
        (
            "dagster-webserver",
            "dagster-webserver",
            webserver,
            ports.answering(
                ports.reached_at(host), settings.ui_port, f"{settings.ui_root_path}/server_info"
            ),
        ),
        ("dagster-daemon", "dagster-daemon", ["run", "-w", workspace], lambda: True),
    ):
        children.start(_dagster(name, program, arguments, settings, ready))


def _dagster(
    name: str, program: str, arguments: list[str], settings: Settings, ready: Callable[[], bool]
) -> Child:
    return Child(
        name=name,
        argv=[str(Path(sysconfig.get_path("scripts"), program)), *arguments],
        env=dagster_home.dagster_environment(settings),
        log=settings.data_dir / "logs" / f"{name}.log",
        cwd=PROJECT,
        ready=ready,
        patience=120,
    )
