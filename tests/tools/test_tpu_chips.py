import pytest

from lstm_gen.platform import errors
from tools.tpu import chips


@pytest.mark.parametrize(
    ("name", "n_chips", "devices", "gib"),
    [
        ("v5e:1x1", 1, 1, 16),
        ("v5e:2x2", 4, 4, 16),
        ("v3:2x2", 4, 8, 16),
        ("v4:2x2x1", 4, 8, 16),
        ("v5p:2x2x2", 8, 8, 95),
    ],
)
def test_topologies(name: str, n_chips: int, devices: int, gib: int) -> None:
    topology = chips.parse(name)
    assert (topology.chips, topology.devices) == (n_chips, devices)
    assert topology.device_hbm_bytes == gib * 2**30
    assert topology.device_batch(16) == 16 // devices


@pytest.mark.parametrize("name", ["v5e", "v5e:", "v9:2x2", "v5e:0x2", "v5e:2x2x2x2", "v5e:2"])
def test_unknown_topologies_are_refused(name: str) -> None:
    with pytest.raises(errors.InputError, match=f"as in v5e:2x2. Received: topology='{name}'"):
        chips.parse(name)


def test_a_batch_must_be_a_multiple_of_the_devices() -> None:
    with pytest.raises(errors.InputError, match=r"of the 4 devices.*batch_size=6"):
        chips.parse("v5e:2x2").device_batch(6)


def test_the_roofline_is_the_longer_of_two_times() -> None:
    v5e, v3 = chips.CHIPS["v5e"], chips.CHIPS["v3"]
    compute = chips.roofline(v5e, 197e9, 81.9e6)
    assert compute.compute_seconds == pytest.approx(1e-3)
    assert compute.memory_seconds == pytest.approx(1e-4)
    assert (compute.seconds, compute.bound) == (compute.compute_seconds, "compute")
    memory = chips.roofline(v5e, 197e9, 819e7)
    assert memory.seconds == memory.memory_seconds == pytest.approx(1e-2)
    assert memory.bound == "memory"
    half = chips.roofline(v3, 123e9, 0)  # one of the two cores of a chip
    assert half.seconds == pytest.approx(2e-3)
