"""How full memory is, by every tree of files in which Linux tells it, and by what is not there; and when it is too full."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamearchive.errors import ConfigurationError
from gamearchive.memory import Pressure, Reading, read_memory

MB = 1 << 20
MEMINFO = "MemTotal:        1024000 kB\nMemFree:           10240 kB\nMemAvailable:     716800 kB\nBuffers:  1 kB\n"
MACHINE = Reading(307_200 * 1024, 1_024_000 * 1024, "/proc/meminfo")
"""What MEMINFO says: 30 % full."""
UNLIMITED = "9223372036854771712\n"
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"


def machine(folder: Path, own_groups: str, groups: dict[str, str], meminfo: str = MEMINFO) -> Path:
    """A machine's file system, with what a process sees of its control groups."""
    for name, content in {"proc/meminfo": meminfo, "proc/self/cgroup": own_groups, **groups}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
    return folder


def v2(folder: str, limit: str, used: int, *, high: str = "max", inactive: int = 0) -> dict[str, str]:
    folder = f"{V2}{folder}"
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.high": f"{high}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon 5\nfile 7\nactive_file 9\ninactive_file {inactive}\nworkingset_refault_file 3\n",
    }


def v1(folder: str, limit: str, used: int, *, inactive: int = 0) -> dict[str, str]:
    folder = f"{V1}{folder}"
    return {
        f"{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"{folder}/memory.usage_in_bytes": f"{used}\n",
        f"{folder}/memory.stat": f"cache 5\ninactive_file 9\ntotal_cache 7\ntotal_inactive_file {inactive}\n",
    }


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    reading = read_memory(machine(tmp_path, "", {}))
    assert reading == MACHINE
    assert reading.percent == 30


def test_a_limit_of_the_container_that_is_tighter_counts(tmp_path: Path) -> None:
    groups = v2("/a.slice/game.service", str(100 * MB), 60 * MB)
    assert read_memory(machine(tmp_path, "0::/a.slice/game.service\n", groups)) == (
        60 * MB,
        100 * MB,
        "/sys/fs/cgroup/a.slice/game.service/memory.max",
    )


def test_a_limit_of_the_container_that_is_wider_does_not(tmp_path: Path) -> None:
    assert read_memory(machine(tmp_path, "0::/game\n", v2("/game", str(1000 * MB), 10 * MB))) == MACHINE


def test_in_a_namespace_of_its_own_a_container_sees_its_group_as_the_root(tmp_path: Path) -> None:
    reading = read_memory(machine(tmp_path, "0::/\n", v2("", str(100 * MB), 60 * MB)))
    assert reading == (60 * MB, 100 * MB, "/sys/fs/cgroup/memory.max")


def test_every_group_above_bounds_too(tmp_path: Path) -> None:
    groups = v2("/pod/game", "max", 60 * MB) | v2("/pod", str(100 * MB), 90 * MB) | v2("/elsewhere", str(MB), MB)
    reading = read_memory(machine(tmp_path, "0::/pod/game\n", groups))
    assert reading == (90 * MB, 100 * MB, "/sys/fs/cgroup/pod/memory.max")


def test_what_slows_a_group_down_counts_as_what_kills_it(tmp_path: Path) -> None:
    groups = v2("/game", str(100 * MB), 60 * MB, high=str(80 * MB))
    reading = read_memory(machine(tmp_path, "0::/game\n", groups))
    assert reading == (60 * MB, 80 * MB, "/sys/fs/cgroup/game/memory.high")
    assert reading.percent == 75


def test_pages_that_the_kernel_takes_back_do_not_count(tmp_path: Path) -> None:
    groups = v2("/game", str(100 * MB), 90 * MB, inactive=30 * MB)
    reading = read_memory(machine(tmp_path, "0::/game\n", groups))
    assert reading is not None
    assert reading.used_bytes == 60 * MB


def test_a_group_without_a_limit_leaves_the_machines(tmp_path: Path) -> None:
    assert read_memory(machine(tmp_path, "0::/game\n", v2("/game", "max", 90 * MB))) == MACHINE


def test_a_limit_of_nothing_bounds_nothing(tmp_path: Path) -> None:
    assert read_memory(machine(tmp_path, "0::/game\n", v2("/game", "max", 90 * MB, high="0"))) == MACHINE


@pytest.mark.parametrize("controllers", ["memory", "cpu,memory"])
def test_version_1(tmp_path: Path, controllers: str) -> None:
    groups = v1("/docker/game", str(100 * MB), 90 * MB, inactive=20 * MB) | v1("", UNLIMITED, 900 * MB)
    own = f"5:pids:/docker/game\n4:{controllers}:/docker/game\n1:name=systemd:/\n"
    assert read_memory(machine(tmp_path, own, groups)) == (
        70 * MB,
        100 * MB,
        "/sys/fs/cgroup/memory/docker/game/memory.limit_in_bytes",
    )


def test_version_1_without_a_limit_leaves_the_machines(tmp_path: Path) -> None:
    assert read_memory(machine(tmp_path, "4:memory:/game\n", v1("/game", UNLIMITED, 90 * MB))) == MACHINE
    assert read_memory(machine(tmp_path, "4:memory:/game\n", v1("/game", UNLIMITED, 90 * MB), meminfo="")) is None


@pytest.mark.parametrize("own", ["4:memory:/docker/0123\n", "4:memory:/../../other\n"])
def test_a_path_that_is_the_hosts_leads_to_what_is_mounted(tmp_path: Path, own: str) -> None:
    reading = read_memory(machine(tmp_path, own, v1("", str(100 * MB), 60 * MB)))
    assert reading == (60 * MB, 100 * MB, "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def test_a_path_leads_nowhere_but_into_the_groups(tmp_path: Path) -> None:
    root = machine(tmp_path / "root", "0::/../../../../outside\n", {})
    machine(tmp_path, "", {"outside/memory.max": str(MB), "outside/memory.current": str(MB)})
    assert read_memory(root) == MACHINE


def test_with_both_versions_at_once_memory_is_in_either(tmp_path: Path) -> None:
    own = "4:memory:/game\n0::/game\n"
    both = v1("/game", str(100 * MB), 60 * MB) | {f"{V2}/unified/game/cgroup.procs": "1\n"}
    reading = read_memory(machine(tmp_path / "v1", own, both))
    assert reading == (60 * MB, 100 * MB, "/sys/fs/cgroup/memory/game/memory.limit_in_bytes")
    reading = read_memory(machine(tmp_path / "v2", own, v2("/unified/game", str(100 * MB), 50 * MB)))
    assert reading == (50 * MB, 100 * MB, "/sys/fs/cgroup/unified/game/memory.max")


def test_where_nothing_is_known_there_is_no_reading(tmp_path: Path) -> None:
    assert read_memory(tmp_path) is None
    assert read_memory(machine(tmp_path, "", {}, meminfo="MemTotal: 1024 kB\nMemFree: 5 kB\n")) is None
    assert read_memory(machine(tmp_path, "", {}, meminfo="MemTotal: 0 kB\nMemAvailable: 0 kB\n")) is None


def test_a_limit_without_usage_is_passed_over(tmp_path: Path) -> None:
    assert read_memory(machine(tmp_path, "0::/game\n", {f"{V2}/game/memory.max": str(MB)})) == MACHINE


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.lists(
        st.one_of(st.binary(max_size=30), st.from_regex(rb"(MemTotal: |0::/|4:memory:/)?[0-9]{1,30}\n?")),
        min_size=7,
        max_size=7,
    )
)
def test_garbage_is_no_reading_or_one_that_makes_sense(tmp_path: Path, contents: list[bytes]) -> None:
    machine(tmp_path, "0::/game\n", v2("/game", "max", 0) | v1("", "0", 0))
    written = [path for path in sorted(tmp_path.rglob("*")) if path.is_file() and path.name != "memory.high"]
    for path, content in zip(written, contents, strict=False):
        path.write_bytes(content)
    reading = read_memory(tmp_path)
    assert reading is None or (reading.used_bytes >= 0 and reading.limit_bytes > 0 and reading.percent >= 0)


def test_this_very_machine_has_some_memory_and_uses_some() -> None:
    reading = read_memory()
    if sys.platform == "linux":
        assert reading is not None
        assert reading.used_bytes > 0
        assert 0 < reading.percent < 200
    else:
        assert reading is None


# Pressure


def at(percent: float) -> Reading:
    return Reading(round(percent * 10), 1000, "a test")


def test_pressure_lasts_from_the_threshold_until_below_the_release() -> None:
    pressure = Pressure(80, 70)
    course = {}
    for percent in (0, 79.9, 80, 95, 79, 70, 69.9, 79.9, 81):
        course[percent] = (pressure.update(at(percent)) > 0, pressure.active)
    under = {percent for percent, state in course.items() if state == (True, True)}
    assert under == {80, 95, 79, 70, 81}
    assert {state for percent, state in course.items() if percent not in under} == {(False, False)}


def test_what_must_go_is_what_ends_the_pressure() -> None:
    pressure = Pressure(80, 70)
    reading = at(90)
    excess = pressure.update(reading)
    assert excess == 201
    assert pressure.update(reading._replace(used_bytes=reading.used_bytes - excess)) == 0
    assert not pressure.active


def test_the_release_is_five_below_the_threshold_if_none_is_given() -> None:
    assert Pressure(80).release_percent == 75
    assert Pressure(3).release_percent == 0


def test_where_nothing_is_known_there_is_no_pressure() -> None:
    pressure = Pressure(80)
    assert pressure.update(at(90)) > 0
    assert pressure.update(None) == 0
    assert not pressure.active


@pytest.mark.parametrize(
    ("threshold", "release"),
    [(0, None), (-1, None), (100.1, None), (float("nan"), None), (80, 81), (80, -1), (80, float("nan"))],
)
def test_absurd_percentages_are_refused(threshold: float, release: float | None) -> None:
    with pytest.raises(ConfigurationError):
        Pressure(threshold, release)
