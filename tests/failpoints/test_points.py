"""What happens at a failpoint, in this process and in ones that die of it."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

import failpoints
from failpoints import NAMES, FailpointError, FailpointsError, meanwhile, reach

NAME, OTHER = "stock.committed", "orders.committed"
DIES = f"""
import failpoints
failpoints.arm_from_environment()
for _ in range(3):
    failpoints.reach({NAME!r})
    failpoints.reach({OTHER!r})
    print("passed", flush=True)
"""


@pytest.fixture(autouse=True)
def nothing_armed():
    yield
    failpoints.disarm()


def test_a_place_that_is_not_armed_does_nothing():
    reach(NAME)
    reach("no such place")
    failpoints.arm(f"{OTHER}=raise")
    reach(NAME)
    failpoints.disarm()
    reach(OTHER)


def test_an_entry_fires_at_its_time_and_once():
    failpoints.arm(f"{NAME}=raise@2")
    reach(NAME)
    reach(OTHER)
    with pytest.raises(FailpointError, match=NAME):
        reach(NAME)
    reach(NAME)


def test_two_entries_of_one_name_count_alike():
    failpoints.arm(f"{NAME}=raise@1 {NAME}=raise@3")
    with pytest.raises(FailpointError):
        reach(NAME)
    reach(NAME)
    with pytest.raises(FailpointError):
        reach(NAME)


def test_the_nth_time_is_counted_over_all_threads():
    failpoints.arm(f"{NAME}=raise@40")
    raised = []

    def reach_often():
        for _ in range(10):
            try:
                reach(NAME)
            except FailpointError:
                raised.append(True)

    threads = [threading.Thread(target=reach_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == [True]


def test_a_place_that_the_list_does_not_name_is_found_out_once_anything_is_armed():
    failpoints.arm(f"{OTHER}=raise")
    with pytest.raises(FailpointsError, match=r"stock\.comitted"):
        reach("stock.comitted")


def test_meanwhile_is_reached_by_another_thread_and_does_not_hold_the_block_up(capfd):
    failpoints.arm(f"{NAME}=stop:3600")
    with meanwhile(NAME):
        pass
    stopped = [thread for thread in threading.enumerate() if NAME in thread.name]
    assert len(stopped) == 1
    assert stopped[0].daemon
    with meanwhile(OTHER):
        pass


# -- processes -----------------------------------------------------------------------------------------------------------


def run(what):
    environment = os.environ | {"HOLDFAST_FAILPOINTS": str(what)}
    return subprocess.run([sys.executable, "-c", DIES], env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_kill_is_a_sigkill_where_it_stands():
    ended = run(f"{NAME}@2")
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.count("passed") == 1
    assert f"failpoint {NAME}: kill" in ended.stderr


def test_raise_and_stop_in_a_process():
    ended = run(f"{NAME}=stop:0.01,{OTHER}=raise@3")
    assert ended.returncode == 1
    assert ended.stdout.count("passed") == 2
    assert f"FailpointError: failpoint {OTHER}" in ended.stderr


def test_an_entry_in_a_file_kills_one_process_and_not_the_one_started_after_it(tmp_path):
    file = tmp_path / "failpoints"
    file.write_text(f"# how the worker dies\n{NAME}@2\n{OTHER}, {NAME}@2\n")
    ends = [run(f"@{file}") for _ in range(4)]
    assert [end.returncode for end in ends] == [-signal.SIGKILL, -signal.SIGKILL, -signal.SIGKILL, 0]
    assert [end.stdout.count("passed") for end in ends] == [0, 1, 1, 3]
    assert file.read_text().split("\n")[0] == "# how the worker dies"
    assert list(failpoints.parsing.words(file.read_text())) == []


def test_an_entry_that_several_processes_share_fires_in_one(tmp_path):
    file = tmp_path / "failpoints"
    file.write_text(f"{NAME}@3")
    environment = os.environ | {"HOLDFAST_FAILPOINTS": f"@{file}"}
    processes = [subprocess.Popen([sys.executable, "-c", DIES], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert sorted(process.wait(60) for process in processes) == [-signal.SIGKILL, 0, 0, 0]


def test_a_file_that_is_not_there_is_refused(tmp_path):
    ended = run(f"@{tmp_path}/none")
    assert ended.returncode == 1
    assert f"the file of failpoints {tmp_path}/none cannot be read" in ended.stderr


def test_the_list_for_people_and_for_programs():
    def listed(*options):
        return subprocess.run([sys.executable, "-m", "failpoints", *options], capture_output=True, text=True, timeout=60, check=True).stdout

    assert json.loads(listed("--json")) == dict(NAMES)
    assert [line.split()[0] for line in listed().splitlines()] == list(NAMES)
    assert "--json" in listed("--help")


@pytest.mark.parametrize(
    ("command", "code"),
    [(("worker",), 78), (("sink", "mysql"), 1), (("load", "__FILE__"), 2)],
    ids=["worker", "sink", "load"],
)
def test_every_program_refuses_a_name_that_it_does_not_know_and_says_which_there_are(command, code, tmp_path):
    file = tmp_path / "orders.csv"
    file.write_text("")
    mine = {"HOLDFAST_FAILPOINTS": "stock.comitted", "HOLDFAST_HOME": str(tmp_path / "home"), "HOLDFAST_KAFKA": "127.0.0.1:1"}
    stores = {"HOLDFAST_MYSQL": "mysql://u:p@127.0.0.1:1/d", "HOLDFAST_REDIS": "redis://127.0.0.1:1/0"}
    words = [sys.executable, "-m", "holdfast", *command]
    line = [str(file) if word == "__FILE__" else word for word in words]
    ended = subprocess.run(line, env=os.environ | mine | stores, capture_output=True, text=True, timeout=60, check=False)
    said = ended.stderr + ended.stdout
    assert ended.returncode == code, said
    assert "there is no failpoint 'stock.comitted'. There are: stock.opening, stock.fenced" in " ".join(said.split())
    assert "Traceback" not in said
