"""What is deployed says what the top level says, and what its readers understand."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import yaml

from operator_prices.defs.partitions import WINDOWS_A_BACKFILL_RUN
from operator_prices.settings import PROJECT, VARIABLES, facts
from operator_prices_tests.support.deploy_files import DEPLOY, SCRIPTS, read, run

ROLES = {"api", "code", "web", "daemon", "worker"}

NO_CLUSTER = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {token: none}}]
current-context: none
"""


def without(known: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in known.items() if name not in names}


def test_instances_elsewhere_differ_from_the_one_at_the_top_level_by_their_launcher_alone() -> None:
    common = read(PROJECT / "dagster.yaml")
    assert "run_launcher" not in common
    assert without(read(DEPLOY / "dagster.celery.yaml"), "run_launcher") == common
    pods = without(read(DEPLOY / "dagster.k8s.yaml"), "run_launcher", "compute_logs")
    monitoring = {**common["run_monitoring"], "start_timeout_seconds": 300}
    assert pods == {**common, "run_monitoring": monitoring}


def test_the_charts_values_say_what_the_instance_says() -> None:
    values, instance = read(DEPLOY / "kubernetes" / "values.yaml"), read(PROJECT / "dagster.yaml")
    daemon = values["dagsterDaemon"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert {
        "max_concurrent_runs": queue["maxConcurrentRuns"],
        "tag_concurrency_limits": queue["tagConcurrencyLimits"],
    } == instance["concurrency"]["runs"]
    assert queue["dequeueIntervalSeconds"] == instance["run_queue"]["dequeue_interval_seconds"]
    pods = read(DEPLOY / "dagster.k8s.yaml")
    monitoring = snake(daemon["runMonitoring"])
    assert monitoring == {**pods["run_monitoring"], "max_resume_run_attempts": 0}
    assert snake(daemon["runRetries"]) == instance["run_retries"]
    assert snake(daemon["sensors"]) == instance["sensors"]
    for kind, kept in instance["retention"].items():
        assert values["retention"][kind]["purgeAfterDays"] == kept["purge_after_days"]
    assert values["telemetry"] == instance["telemetry"]
    assert values["additionalInstanceConfig"] == {
        name: instance[name] for name in ("backfills", "code_servers", "nux")
    } | {"concurrency": {"pools": instance["concurrency"]["pools"]}}


def test_a_backfills_run_may_take_as_long_as_a_rate_limit_makes_it() -> None:
    """A window takes 366 requests with nominators; five connections have four a second."""
    instance = read(PROJECT / "dagster.yaml")
    slots = instance["concurrency"]["pools"]["default_limit"]
    needed = 366 * WINDOWS_A_BACKFILL_RUN / (4 / (slots + 3))
    assert needed < instance["run_monitoring"]["max_runtime_seconds"]


def snake(camels: dict[str, Any]) -> dict[str, Any]:
    """The names of a chart as Dagster spells them."""
    return {
        re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", name): value
        for name, value in camels.items()
    }


def launcher(folder: Path, config: dict[str, Any]) -> str:
    (folder / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        return type(instance.run_launcher).__name__


@pytest.fixture
def elsewhere(
    dsn: str, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    assert database
    monkeypatch.setenv("DAGSTER_PG_URL", dsn)
    return monkeypatch


def test_dagster_takes_the_instance_for_celery(
    elsewhere: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere.setenv("CELERY_BROKER", "redis://127.0.0.1:1/0")
    elsewhere.setenv("CELERY_BACKEND", "redis://127.0.0.1:1/1")
    assert launcher(tmp_path, read(DEPLOY / "dagster.celery.yaml")) == "CeleryRunLauncher"


def test_dagster_takes_the_instance_for_kubernetes(
    elsewhere: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Outside of a cluster the way to one is told, too."""
    for name in ("DAGSTER_SERVICE_ACCOUNT", "DAGSTER_NAMESPACE", "DAGSTER_CONFIG_MAP"):
        elsewhere.setenv(name, "operator-prices")
    config = read(DEPLOY / "dagster.k8s.yaml")
    (tmp_path / "kubeconfig").write_text(NO_CLUSTER)
    config["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(tmp_path / "kubeconfig"),
    }
    assert launcher(tmp_path, config) == "K8sRunLauncher"


@pytest.mark.parametrize(
    "command",
    [
        (SCRIPTS / "hadolint", PROJECT / "Dockerfile"),
        (
            SCRIPTS / "check-jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            DEPLOY / "compose.yaml",
        ),
        (SCRIPTS / "kubernetes-validate", "--strict", DEPLOY / "kubernetes" / "api.yaml"),
        ("sh", "-n", DEPLOY / "entrypoint.sh"),
        ("sh", "-n", DEPLOY / "healthcheck.sh"),
    ],
    ids=lambda command: Path(str(command[0])).name,
)
def test_what_reads_the_files_understands_them(command: tuple[object, ...]) -> None:
    result = run(*command)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_service_of_ours_has_a_role_of_the_image() -> None:
    services = read(DEPLOY / "compose.yaml")["services"]
    ours = {name: one for name, one in services.items() if one["image"] == "operator-prices"}
    roles = {one["command"][0] for one in ours.values()}
    assert roles == {*ROLES, "migrate"}
    text = (DEPLOY / "entrypoint.sh").read_text()
    assert set(re.findall(r"^  (\w+)\)", text, re.MULTILINE)) == ROLES


def test_compose_gives_each_setting_to_those_who_heed_it() -> None:
    """But for what is of the containers alone: where they listen and what they keep."""
    file = read(DEPLOY / "compose.yaml")
    known = {name.upper() for name in VARIABLES}
    part, api = file["x-part"]["environment"], file["services"]["api"]["environment"]
    of_containers = {"DATA_DIR", "API_PORT", "UI_PORT", "UI_HOST"}
    assert known & {*part, *api} == known - of_containers
    fixed = {"DATABASE_URL", "API_DATABASE_URL", "CELERY_BROKER", "CELERY_BACKEND", "API_HOST"}
    for name, value in {**part, **api}.items():
        if name in known - fixed:
            assert value.startswith((f"${{{name}:-", f"${{{name}:?")), name
    modules = "".join(one.read_text() for one in (PROJECT / "operator_prices/web").glob("*.py"))
    heeded = {name.upper() for name in re.findall(r"\bsettings\.([a-z_]+)", modules)}
    assert heeded >= {"CORS_ORIGINS", "TRUSTED_PROXIES", "ROOT_PATH", "NOMINATORS"}
    assert heeded - of_containers <= known & set(api)
    for port in ("API_PORT", "UI_PORT"):
        assert f"127.0.0.1:${{{port}:-" in (DEPLOY / "compose.yaml").read_text()


def test_settings_that_a_cluster_gives_are_settings_of_ours() -> None:
    (config, *_) = yaml.safe_load_all((DEPLOY / "kubernetes" / "api.yaml").read_text())
    known = {name.upper() for name in VARIABLES}
    assert {name for name in config["data"] if not name.startswith("DAGSTER_")} <= known


def test_the_api_is_given_no_secret_but_the_password_of_its_role() -> None:
    api = read(DEPLOY / "compose.yaml")["services"]["api"]
    assert "env_file" not in api
    assert "POSTGRES_PASSWORD" not in str(api["environment"])
    secret = {name for name in VARIABLES if facts(name).get("secret")}
    assert secret >= {"database_url", "archive_node_url", "alert_webhook_url"}
    assert {name for name in secret if name.upper() in api["environment"]} == {"api_database_url"}
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "api.yaml").read_text())
    (deployment,) = (one for one in documents if one["kind"] == "Deployment")
    (api,) = containers(deployment)
    assert not [one for one in api["envFrom"] if "secretRef" in one]
    drawn = [one["valueFrom"]["secretKeyRef"]["key"] for one in api["env"] if "valueFrom" in one]
    assert drawn == ["API_DATABASE_URL"]


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    found: list[dict[str, Any]] = pod.get("containers", [])
    return found


def test_nothing_in_a_cluster_is_root_or_writes_to_its_root() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "api.yaml").read_text()))
    pods = [one["spec"]["template"]["spec"] for one in documents if containers(one)]
    values = read(DEPLOY / "kubernetes" / "values.yaml")
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    charts = [values["dagsterWebserver"], values["dagsterDaemon"], deployment]
    assert len(pods) == 2
    for outer in (
        *(pod["securityContext"] for pod in pods),
        *(part["podSecurityContext"] for part in charts),
    ):
        assert outer["runAsNonRoot"]
        assert outer["runAsUser"] == 10001
    inner = [one for document in documents for one in containers(document)]
    for one in (*inner, *charts):
        assert one["securityContext"]["readOnlyRootFilesystem"]
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"name": "tmp", "mountPath": "/tmp"} in one["volumeMounts"]  # noqa: S108
        assert one["resources"]["requests"]["memory"]


def test_the_api_is_there_while_nodes_of_the_cluster_are_emptied() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "api.yaml").read_text()))
    kinds = {document["kind"]: document for document in documents}
    deployment, budget = kinds["Deployment"]["spec"], kinds["PodDisruptionBudget"]["spec"]
    assert deployment["replicas"] > budget["minAvailable"] > 0
    assert budget["selector"] == deployment["selector"]
    (api,) = containers(kinds["Deployment"])
    probes = {kind: api[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")}
    assert probes == {"liveness": "/healthz", "readiness": "/readyz"}


def test_nothing_of_ours_in_compose_writes_to_its_root() -> None:
    services = read(DEPLOY / "compose.yaml")["services"]
    ours = [one for one in services.values() if one["image"] == "operator-prices"]
    for one in ours:
        assert one["read_only"]
        assert one["tmpfs"] == ["/tmp"]  # noqa: S108
        assert one["cap_drop"] == ["ALL"]


@pytest.mark.skipif(
    not shutil.which("systemd-analyze") and not os.environ.get("REQUIRE_EVERYTHING"),
    reason="systemd-analyze is not installed",
)
@pytest.mark.parametrize("unit", ["operator-prices.service", "operator-prices@.service"])
def test_systemd_understands_a_unit_and_finds_it_closed(tmp_path: Path, unit: str) -> None:
    (tmp_path / "bin").symlink_to(SCRIPTS)
    (tmp_path / "deploy").symlink_to(DEPLOY)
    text = (DEPLOY / "systemd" / unit).read_text()
    assert "/opt/operator-prices/" in text
    (tmp_path / unit).write_text(text.replace("/opt/operator-prices/", f"{tmp_path}/"))
    verified = run("systemd-analyze", "verify", tmp_path / unit)
    assert verified.returncode == 0, verified.stderr
    assert str(tmp_path / unit) not in verified.stderr, verified.stderr
    weighed = run("systemd-analyze", "security", "--offline=yes", "--threshold=50", tmp_path / unit)
    assert weighed.returncode == 0, weighed.stdout
