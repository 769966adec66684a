import os
import socket
import sys
from pathlib import Path

import pytest

from operator_prices.local import ports
from operator_prices.local.supervisor import Child, Supervisor


def test_a_port_in_use_is_reported_with_its_user_and_the_way_out() -> None:
    port = ports.free_port()
    ports.require_port_free("127.0.0.1", port, "UI_PORT")
    with socket.create_server(("127.0.0.1", port)):
        said = (
            rf"Port {port} on 127\.0\.0\.1 is in use \(by pid {os.getpid()} \S+\); free it or set"
        )
        with pytest.raises(ports.PortInUseError, match=said):
            ports.require_port_free("127.0.0.1", port, "UI_PORT")
        assert ports.listening("127.0.0.1", port)()
    assert not ports.listening("127.0.0.1", port)()
    assert not ports.answering("127.0.0.1", port)()


def test_an_address_of_another_machine_is_reported() -> None:
    with pytest.raises(ports.PortInUseError, match=r"Nobody can listen on port 1234 of 192\."):
        ports.require_port_free("192.0.2.1", 1234, "UI_PORT")


def test_a_web_server_is_ready_when_it_answers(tmp_path: Path) -> None:
    port = ports.free_port()
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    ready = ports.answering("127.0.0.1", port)
    log = tmp_path / "web.log"
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(Child(name="web", argv=argv, log=log, ready=ready, cwd=tmp_path))
        assert ready()
        assert not ports.answering("127.0.0.1", port, "/absent")()
