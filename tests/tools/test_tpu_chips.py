import math
import re
from collections.abc import Callable

import pytest

from lstm_gen.platform import errors
from tools.tpu import chips, refusals, search


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
    assert topology.share_of(16) == 16 // devices


@pytest.mark.parametrize("name", ["v5e", "v5e:", "v9:2x2", "v5e:0x2", "v5e:2x2x2x2", "v5e:2"])
def test_unknown_topologies_are_refused(name: str) -> None:
    with pytest.raises(errors.InputError, match=f"as in v5e:2x2. Received: topology='{name}'"):
        chips.parse(name)


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(errors.InputError, match=r"of the 4 devices.*batch_size=6"):
        chips.parse("v5e:2x2").share_of(6)


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


@pytest.mark.parametrize("each", [1e6, 10.8e6, 3e8])
@pytest.mark.parametrize("held", [1e7, 1e9])
@pytest.mark.parametrize("first", [1, 4, 16])
def test_the_largest_batch_is_found_in_few_tries(each: float, held: float, first: int) -> None:
    usable, tries = 16e9, []

    def need(batch: int) -> float:
        """Return what a batch needs, whose first four windows stay on the chip itself."""
        tries.append(batch)
        needed = held + each * max(0, batch - 4)
        return needed if needed <= usable else math.inf

    largest = 4 + (usable - held) / each
    found = search.largest_that_fits(need, usable, (first, need(first)))
    assert largest * 7 / 8 - 1 <= found <= largest
    assert len(tries) <= 8


def smaller_than(limit: int) -> Callable[[int], float]:
    return lambda batch: 1e9 * batch / limit if batch < limit else math.inf


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_largest_batch_below_one_that_does_not_fit(limit: int) -> None:
    found = search.largest_that_fits(smaller_than(limit), 1e9, too_large=128)
    assert (limit - 1) * 7 / 8 - 1 <= found < limit
    assert limit > 3 or found == limit - 1


OUT = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 24.00G of 15.75G hbm. So.\nX"
EARLY = (
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
    "temporaries (24.00G) exceeds available HBM (15.75G)."
)


@pytest.mark.parametrize("message", [OUT, EARLY])
def test_what_does_not_fit_says_by_how_much(message: str) -> None:
    refusal = refusals.of_compiler(message)
    assert isinstance(refusal, refusals.OutOfMemoryError)
    assert re.search(r"at least 25\.8 GB .* may use 16\.9 GB; lower --batch_size", str(refusal))


def test_other_refusals_keep_their_first_line() -> None:
    refusal = refusals.of_compiler("\nUnexpected operand type for FFT: c128\nstack\n")
    assert not isinstance(refusal, refusals.OutOfMemoryError)
    assert str(refusal) == "the TPU's compiler refuses it: Unexpected operand type for FFT: c128"
    assert str(refusals.of_compiler("")).endswith("it does not say why")
