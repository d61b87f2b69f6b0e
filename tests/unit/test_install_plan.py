"""Which build of torch is proposed for a machine, and what it takes."""

from __future__ import annotations

import re

import pytest
from rasterfuse.plugin.runtime.install import plan
from rasterfuse.plugin.runtime.install.machine import read_nvidia
from rasterfuse.plugin.runtime.install.plan import Gpu, Machine, builds

PASCAL, TURING, ADA, BLACKWELL = (6, 1), (7, 5), (8, 9), (12, 0)


def cards(*pairs: tuple[tuple[int, int], tuple[int, int]]) -> tuple[Gpu, ...]:
    return tuple(Gpu("a card", driver, capability) for driver, capability in pairs)


@pytest.mark.parametrize(
    ("system", "driver", "capability", "expected"),
    [
        ("Linux", (580, 95), BLACKWELL, ["cu130", "cu128", "cpu"]),
        ("Linux", (580, 95), ADA, ["cu130", "cu126", "cu128", "cu118", "cpu"]),
        ("Linux", (580, 95), PASCAL, ["cu126", "cu118", "cpu"]),
        ("Linux", (575, 51), BLACKWELL, ["cu128", "cpu"]),
        ("Linux", (565, 57), TURING, ["cu126", "cu118", "cpu"]),
        ("Linux", (565, 57), BLACKWELL, ["cpu"]),
        ("Linux", (470, 82), TURING, ["cu118", "cpu"]),
        ("Linux", (450, 79), TURING, ["cpu"]),
        ("Windows", (450, 80), TURING, ["cpu"]),
        ("Windows", (560, 70), ADA, ["cu118", "cpu"]),
        ("Windows", (560, 94), ADA, ["cu126", "cu118", "cpu"]),
        ("Linux", (580, 95), (3, 5), ["cpu"]),
    ],
)
def test_the_build_for_nvidia_follows_driver_and_capability(system, driver, capability, expected):
    machine = Machine(system, "x86_64", cards((driver, capability)))
    assert [build.id for build in builds(machine)] == expected


def test_of_two_cards_both_are_served_where_one_build_can():
    machine = Machine("Linux", "x86_64", cards(((580, 95), PASCAL), ((580, 95), TURING)))
    assert builds(machine)[0].id == "cu126"
    machine = Machine("Linux", "x86_64", cards(((580, 95), PASCAL), ((580, 95), BLACKWELL)))
    assert builds(machine)[0].id == "cu130"


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine("Linux", "x86_64"), ["cpu"]),
        (Machine("Windows", "AMD64"), ["cpu"]),
        (Machine("Linux", "aarch64", cards(((580, 95), BLACKWELL))), ["cpu"]),
        (Machine("Darwin", "arm64"), ["pypi"]),
        (Machine("Linux", "x86_64", amd=(110000,)), ["rocm7.2", "cpu"]),
        (Machine("Linux", "x86_64", amd=(80003,)), ["cpu"]),
        (Machine("Windows", "AMD64", amd=(110000,)), ["cpu"]),
        (Machine("Darwin", "x86_64"), []),
        (Machine("Windows", "ARM64"), []),
        (Machine("FreeBSD", "amd64"), []),
    ],
)
def test_other_machines_get_what_is_made_for_them(machine, expected):
    assert [build.id for build in builds(machine)] == expected


def test_a_build_for_a_gpu_is_asked_for_by_its_full_name_and_from_its_own_index():
    machine = Machine("Linux", "x86_64", cards(((580, 95), PASCAL)))
    gpu, cpu = builds(machine)[0], builds(machine)[-1]
    assert gpu.requirement == f"torch=={gpu.torch}+cu126"
    assert gpu.index.endswith("/whl/cu126")
    assert gpu.device == "cuda:0"
    assert cpu.requirement == f"torch=={cpu.torch}"
    assert cpu.device == "cpu"


@pytest.mark.parametrize(("system", "expected"), [("Linux", True), ("Windows", False)])
def test_pypi_stands_in_for_cuda_only_where_its_torch_has_it(system, expected):
    gpu = builds(Machine(system, "x86_64", cards(((580, 95), ADA))))[0]
    assert (gpu.id, gpu.also_on_pypi) == ("cu130", expected)


def test_the_cpu_is_by_far_the_smallest_download():
    machine = Machine("Linux", "x86_64", cards(((580, 95), ADA)))
    sizes = [plan.standard(build).download_mb() for build in builds(machine)]
    assert sizes[-1] < min(sizes[:-1]) / 4
    assert plan.standard(builds(machine)[0], wheels="folder").download_mb() == 0


def test_only_the_build_for_the_cpu_of_a_pc_brings_a_runtime_for_networks_along():
    machine = Machine("Linux", "x86_64", cards(((580, 95), ADA)))
    plans = [plan.standard(build) for build in builds(machine)]
    assert [found.extras for found in plans] == [()] * (len(plans) - 1) + [("openvino",)]
    assert plan.standard(builds(Machine("Darwin", "arm64"))[0]).extras == ()
    with_it, without = plans[-1], plan.Plan(plans[-1].build, lock=plans[-1].lock)
    assert with_it.download_mb() == without.download_mb() + with_it.extras_mb[0]
    assert with_it.disk_mb() == without.disk_mb() + with_it.extras_mb[1]
    assert with_it.key != without.key


def test_the_answer_of_nvidia_smi_is_read_and_nonsense_is_overlooked():
    answer = (
        "580.95.05, 12.0, NVIDIA GeForce RTX 5090\n 470.82, 6.1, Quadro P1000\n"
        "535.104, [N/A], Tesla\nNVIDIA-SMI has failed because it could not communicate\n"
    )
    assert read_nvidia(answer) == (
        Gpu("NVIDIA GeForce RTX 5090", (580, 95), (12, 0)),
        Gpu("Quadro P1000", (470, 82), (6, 1)),
    )
    assert read_nvidia("") == ()


def test_the_folder_of_an_environment_is_named_by_what_is_in_it_and_not_by_where_it_comes_from():
    cpu, gpu = builds(Machine("Linux", "x86_64", cards(((580, 95), ADA))))[:2]
    keys = {plan.standard(build).key for build in (cpu, gpu)}
    assert len(keys) == 2
    assert plan.standard(cpu, "wheels", "/usr/bin/python3").key in keys
    assert plan.Plan(cpu, lock="numpy==1").key not in keys
    assert all(re.fullmatch("[0-9a-f]{12}", key) for key in keys)


def test_all_that_the_lock_holds_is_pinned_for_every_python_from_3_10():
    text = plan.LOCK.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pin = re.compile(r'([\w-]+)==[\w.]+(?:; python_version (>=|<) "3\.11")?')
    found = [pin.fullmatch(line) for line in lines]
    assert None not in found
    markers: dict[str, set[str]] = {}
    for match in found:
        markers.setdefault(match[1], set()).add(match[2] or "")
    assert {name for name, seen in markers.items() if seen not in ({""}, {">=", "<"})} == set()
    assert {*plan.LIBRARIES, *plan.CPU_EXTRAS} <= set(markers)
    assert plan.pinned(text, "pip") in lines


PACKAGES = {
    "torch": None, "rasterio": None, "numpy": "2.4.6", "numba": None, "safetensors": "0.8.0",
}  # fmt: skip


def test_what_an_interpreter_lacks_is_one_line_for_a_shell():
    line = plan.command_line("/opt/my env/bin/python", {"packages": PACKAGES})
    assert line == '"/opt/my env/bin/python" -m pip install "torch>=2.4" rasterio numba'


def test_where_the_system_guards_its_python_the_line_makes_an_environment():
    hello = {"packages": PACKAGES, "externally_managed": True}
    assert plan.command_line("/usr/bin/python3", hello) == (
        '"/usr/bin/python3" -m venv ~/rasterfuse-python && ~/rasterfuse-python/bin/python -m pip '
        'install "torch>=2.4" rasterio numpy numba safetensors'
    )


@pytest.mark.parametrize("hello", [{}, {"packages": {"torch": "2.13.0", "numba": "0.68.1"}}])
def test_there_is_no_line_when_nothing_is_lacking(hello):
    assert plan.command_line("/usr/bin/python3", hello) == ""
