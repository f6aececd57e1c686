"""One owner of a run in a bucket: claims, heartbeats, takeovers, and what goes wrong on the way."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator

import buckets
import pytest
import server

from lstm_gen.platform import errors, gcs
from lstm_gen.runs import lease

# After a fault the library leaves it to the collector to close a connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
OTHER = json.dumps({"host": "elsewhere", "process": 7, "claim": "theirs"}).encode()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease, "_STALE_SECONDS", 0.5)


@contextlib.contextmanager
def alive(path: str) -> Iterator[None]:
    """Have another owner say that it is alive for as long as the context lasts."""
    generation = gcs.exchange(path, OTHER, 0)
    assert generation is not None
    ended = threading.Event()

    def beat() -> None:
        last: int | None = generation
        for number in range(1000):
            if ended.wait(0.05):
                return
            last = gcs.exchange(path, OTHER + b" " * number, last or 0)

    thread = threading.Thread(target=beat)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_a_claim_is_renewed_and_given_back(bucket: buckets.Bucket) -> None:
    path = f"{bucket.url}/run/{lease.FILE}"
    with lease.hold(f"{bucket.url}/run") as owner:
        first = gcs.stat(path).generation
        while gcs.stat(path).generation == first:
            owner.confirm()
    assert gcs.find(path) is None


def test_a_living_owner_is_respected(bucket: buckets.Bucket) -> None:
    message = r"another train_model.py.*process 7 on elsewhere"
    with (
        alive(f"{bucket.url}/run/{lease.FILE}"),
        pytest.raises(errors.InputError, match=message),
        lease.hold(f"{bucket.url}/run"),
    ):
        pytest.fail("two owners")


def test_a_silent_owner_is_followed(bucket: buckets.Bucket) -> None:
    bucket.put(f"run/{lease.FILE}", OTHER)
    with lease.hold(f"{bucket.url}/run") as owner:
        owner.confirm()
        assert bucket.contents("run/")[lease.FILE] != OTHER


def test_a_dead_process_of_this_machine_is_followed_at_once(
    bucket: buckets.Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "_STALE_SECONDS", 1e6)
    dead = json.loads(lease._claim()) | {"process": 1 << 22}  # beyond the largest there is
    bucket.put(f"run/{lease.FILE}", json.dumps(dead).encode())
    with lease.hold(f"{bucket.url}/run"):
        pass


def test_who_was_replaced_notices_before_it_writes(bucket: buckets.Bucket) -> None:
    with lease.hold(f"{bucket.url}/run") as owner:
        bucket.put(f"run/{lease.FILE}", OTHER)
        time.sleep(3 * lease._HEARTBEAT_SECONDS)  # what is confirmed may be two beats old
        with pytest.raises(
            errors.StorageError, match=r"another process has taken over run_dir.*gs://bucket/run/"
        ):
            owner.confirm()
    assert bucket.contents("run/")[lease.FILE] == OTHER, "the other's claim must stay"


def test_an_exchange_whose_answer_is_lost_is_ours(bucket: buckets.Bucket) -> None:
    path = f"{bucket.url}/object"
    first = gcs.exchange(path, b"first", 0)
    assert first == gcs.stat(path).generation
    assert gcs.exchange(path, b"second", 0) is None
    # A seed by which the first attempt is hit and the second is not.
    faults = server.Faults(("lost",), rate=0.5, seed=1, request="^POST /upload")
    bucket.server.faults = faults
    second = gcs.exchange(path, b"second", first or 0)
    assert second == gcs.stat(path).generation != first
    assert gcs.read(path) == b"second"
    assert faults.fired["lost"] == 1


@pytest.mark.parametrize("n_rounds", [3, pytest.param(50, marks=pytest.mark.faults)])
def test_of_two_that_begin_at_once_one_goes_on(bucket: buckets.Bucket, n_rounds: int) -> None:
    for number in range(n_rounds):
        outcomes: list[str] = []
        given = (f"{bucket.url}/run-{number}", threading.Barrier(2), outcomes)
        threads = [threading.Thread(target=begin, args=given) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["held", "refused"]


def begin(run_dir: str, both: threading.Barrier, outcomes: list[str]) -> None:
    """Claim a run when the other does, and hold it until the other is through."""
    both.wait()
    try:
        with lease.hold(run_dir) as owner:
            outcomes.append("held")
            both.wait()
            owner.confirm()
    except errors.InputError:
        outcomes.append("refused")
        both.wait()
