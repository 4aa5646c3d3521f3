"""Ports, processes told apart, and one child at a time."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from holdfast.stack import pipeline, ports, processes
from holdfast.stack.child import LONGEST_PAUSE_S, Child, keep_small, pause_s


def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_kept_ports_stay_while_they_are_free() -> None:
    first = ports.assign_ports(["kafka", "redis"], {})
    assert len(set(first.values())) == 2
    assert ports.assign_ports(["kafka", "redis"], first) == first
    with socket.create_server(("127.0.0.1", first["kafka"])):
        second = ports.assign_ports(["kafka", "redis"], first)
    assert second["redis"] == first["redis"]
    assert second["kafka"] != first["kafka"]


def test_a_number_used_again_is_another_process() -> None:
    child = sleeper()
    try:
        process = processes.identify(child.pid)
        assert process is not None
        assert processes.is_alive(process)
        earlier = processes.ProcessId(child.pid, process.started.replace(str(process.ticks), str(process.ticks - 1)))
        assert not processes.is_alive(earlier)
        processes.stop(earlier, 0)
        assert child.poll() is None, "the wrong process was stopped"
        before_reboot = processes.ProcessId(child.pid, f"another-boot/{process.ticks}")
        assert not processes.is_alive(before_reboot)
    finally:
        child.kill()
        child.wait()


def test_a_zombie_is_dead() -> None:
    child = sleeper()
    process = processes.identify(child.pid)
    child.kill()
    assert process is not None
    assert processes.wait_gone(process, 10)
    assert Path(f"/proc/{child.pid}").exists(), "it was reaped too early for this test"
    child.wait()


def test_stop_ends_a_process_that_is_stopped_and_one_that_will_not_listen() -> None:
    deaf = subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"],
        stdout=subprocess.PIPE,
    )
    assert deaf.stdout is not None
    deaf.stdout.readline()
    frozen = sleeper()
    frozen.send_signal(signal.SIGSTOP)
    for child in (deaf, frozen):
        process = processes.identify(child.pid)
        assert process is not None
        processes.stop(process, 0.5)
    assert deaf.wait(5) == -signal.SIGKILL
    assert frozen.wait(5) == -signal.SIGTERM


def test_processes_are_found_by_what_they_were_started_with() -> None:
    with_mark = os.environ | {"A_MARK": "here 1"}
    child = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], env=with_mark, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()  # before that it may still be the parent's copy, without the mark
        assert [found.pid for found in processes.with_variable("A_MARK", "here 1")] == [child.pid]
        assert not list(processes.with_variable("A_MARK", "here"))
    finally:
        child.kill()
        child.wait()


def test_pauses_grow_to_their_bound() -> None:
    assert [pause_s(n) for n in range(5)] == [0, 0.5, 1, 2, 4]
    assert pause_s(10_000) == LONGEST_PAUSE_S


def test_a_child_that_dies_is_started_again_and_counted(tmp_path: Path) -> None:
    child = Child("stand-in", "stand-in", [sys.executable, "-c", "print('once more')"], {}, tmp_path / "log")
    child.start()
    deadline = time.monotonic() + 30
    while child.restarts < 2 and time.monotonic() < deadline:
        child.keep_running()
        time.sleep(0.02)
    child.ask_to_stop()
    child.wait_stopped()
    assert child.restarts == 2
    assert (tmp_path / "log").read_text().count("once more") >= 2


def test_a_stopped_child_stays_stopped(tmp_path: Path) -> None:
    child = Child("stand-in", "stand-in", [sys.executable, "-c", "import time; time.sleep(600)"], {}, tmp_path / "log")
    child.start()
    pid = child.pid
    child.ask_to_stop()
    child.wait_stopped()
    child.keep_running()
    assert child.state().process is None
    assert child.status == "stopped"
    assert processes.identify(pid) is None


def test_a_large_log_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * (16 * 1024 * 1024 + 1))
    keep_small(log)
    assert not log.exists()
    assert (tmp_path / "a.log.1").exists()


def test_the_pipeline_runs_under_this_interpreter() -> None:
    names = [task.name for task in pipeline.processes(2)]
    assert names == ["worker-1", "worker-2", "sink-mysql", "sink-redis", "webhooks"]
    assert pipeline.command_line(pipeline.WORKER) == [sys.executable, "-m", "holdfast", "worker"]
    assert pipeline.command_line(("sleep", "1")) == ["sleep", "1"]
