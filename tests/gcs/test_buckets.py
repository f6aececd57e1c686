"""Storage in a bucket, through the real client, against a server of our own."""

import pathlib
import pickle
import random

import buckets
import objects
import pytest
import server

from lstm_gen.platform import errors, gcs, storage

# After a fault the library leaves it to the collector to close a connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
LARGE = 9 << 20  # beyond what goes up in one request


def noise(n_bytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(n_bytes)


def make_file(folder: pathlib.Path, content: bytes) -> str:
    path = folder / "shard.tmp"
    path.write_bytes(content)
    return str(path)


def test_written_content_is_read_back(bucket: buckets.Bucket) -> None:
    path = f"{bucket.url}/deep/folder/a b#?é.txt"
    storage.write_text(path, "old")
    storage.write_text(path, "é\n")
    assert storage.read_text(path) == "é\n"
    assert storage.size_bytes(path) == 3
    assert storage.checksum(path) == objects.crc32c("é\n".encode())
    assert storage.exists(path)
    assert not storage.is_directory(path)
    assert storage.is_directory(f"{bucket.url}/deep/")
    assert storage.exists(f"{bucket.url}/deep")
    assert not storage.exists(f"{bucket.url}/dee")
    assert storage.is_directory(bucket.url)


def test_what_is_not_there(bucket: buckets.Bucket) -> None:
    path = f"{bucket.url}/missing"
    assert not storage.exists(path)
    assert storage.list_names(path) == []
    assert storage.walk_files(path) == []
    storage.remove(path)
    storage.remove_tree(path)
    for read in (storage.read_bytes, storage.size_bytes, storage.stamp, storage.checksum):
        with pytest.raises(FileNotFoundError, match=r"no such object.*gs://bucket/missing"):
            read(path)


def test_a_name_is_no_prefix(bucket: buckets.Bucket) -> None:
    for name in ("run1/a", "run1/b/c", "run10/d", "run1.txt", "run1/", "run1/b/"):
        bucket.put(name, b"")
    assert storage.list_names(f"{bucket.url}/run1") == ["a", "b"]
    assert storage.walk_files(f"{bucket.url}/run1/") == ["a", "b/c"]
    assert storage.list_names(bucket.url) == ["run1", "run1.txt", "run10"]
    storage.remove_tree(f"{bucket.url}/run1")
    assert list(bucket.contents()) == ["run1.txt", "run10/d"]


def test_a_thousand_names_cost_a_request(bucket: buckets.Bucket) -> None:
    names = [f"deep/{index:04d}.wav" for index in range(2500)]
    for name in names:
        bucket.put(name, name.encode())
    found = storage.list_stamps(f"{bucket.url}/deep")
    assert list(found) == [name.removeprefix("deep/") for name in names]
    assert {stamp.n_bytes for stamp in found.values()} == {len(names[0])}
    assert bucket.server.requests == ["GET /storage/v1/b/bucket/o"] * 3


def test_a_stamp_changes_with_the_content(bucket: buckets.Bucket, tmp_path: pathlib.Path) -> None:
    for folder in (bucket.url, str(tmp_path)):
        path = storage.join(folder, "a")
        storage.write_bytes(path, b"one")
        before = storage.stamp(path)
        assert before == storage.stamp(path)
        assert storage.list_stamps(folder) == {"a": before}
        assert (before.n_bytes, before.is_file) == (3, True)
        storage.write_bytes(path, b"two")
        assert storage.stamp(path).token != before.token


@pytest.mark.parametrize("n_bytes", [0, 1, 1000, LARGE])
def test_publish(bucket: buckets.Bucket, tmp_path: pathlib.Path, n_bytes: int) -> None:
    content = noise(n_bytes)
    storage.publish(make_file(tmp_path, content), f"{bucket.url}/a/shard")
    assert bucket.contents() == {"a/shard": content}
    assert list(tmp_path.iterdir()) == []
    with storage.local_copy(f"{bucket.url}/a/shard") as copy:
        assert pathlib.Path(copy).read_bytes() == content


def test_publish_replaces_what_is_there(bucket: buckets.Bucket, tmp_path: pathlib.Path) -> None:
    bucket.put("shard", b"old")
    storage.publish(make_file(tmp_path, b"new"), f"{bucket.url}/shard")
    assert bucket.contents() == {"shard": b"new"}


def test_an_upload_in_chunks_goes_on_after_faults(
    bucket: buckets.Bucket, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "_CHUNK_BYTES", 1 << 20)
    bucket.server.faults = faults = server.Faults(rate=0.4, seed=1, request="^(POST|PUT) ")
    content = noise(LARGE)
    storage.publish(make_file(tmp_path, content), f"{bucket.url}/shard")
    assert bucket.contents() == {"shard": content}
    assert faults.fired.total() >= 3


@pytest.mark.parametrize("n_bytes", [1000, LARGE])
def test_a_lost_response_is_not_another_writer(
    bucket: buckets.Bucket, tmp_path: pathlib.Path, n_bytes: int
) -> None:
    lose_once(bucket, "^(POST|PUT) /upload")
    storage.publish(make_file(tmp_path, noise(n_bytes)), f"{bucket.url}/shard")
    assert bucket.contents() == {"shard": noise(n_bytes)}
    assert bucket.server.faults.fired == {"lost": 1}


def lose_once(bucket: buckets.Bucket, request: str) -> None:
    """Have one response lost after all was done."""

    class Once(server.Faults):
        def draw(self, request: str) -> str:
            return "" if self.fired else super().draw(request)

    bucket.server.faults = Once(("lost",), rate=1, request=request)


def test_a_lost_response_to_a_removal(bucket: buckets.Bucket) -> None:
    bucket.put("a", b"")
    lose_once(bucket, "^DELETE")
    storage.remove(f"{bucket.url}/a")
    assert bucket.contents() == {}
    assert bucket.server.faults.fired == {"lost": 1}


def test_stage_fetches_what_differs(bucket: buckets.Bucket, tmp_path: pathlib.Path) -> None:
    names = [f"{index}" for index in range(20)]
    for name in names:
        bucket.put(f"data/{name}", noise(100, int(name)))
    (tmp_path / "3").write_bytes(noise(100, 3))
    (tmp_path / "4").write_bytes(noise(100, 5))
    bucket.server.faults = faults = server.Faults(rate=0.3, seed=4)
    storage.stage(f"{bucket.url}/data", names, str(tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: noise(100, int(name)) for name in names
    }
    assert faults.fired.total() >= 3
    assert not any(request.endswith("data%2F3") for request in bucket.server.requests)
    bucket.server.requests.clear()
    bucket.server.faults = server.Faults()
    storage.stage(f"{bucket.url}/data", names, str(tmp_path))
    assert len(bucket.server.requests) == 1


def test_stage_names_what_is_missing(bucket: buckets.Bucket, tmp_path: pathlib.Path) -> None:
    bucket.put("data/a", b"a")
    with pytest.raises(FileNotFoundError, match="gs://bucket/data/b"):
        storage.stage(f"{bucket.url}/data", ["a", "b"], str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] in (["a"], [])


def test_damage_on_the_way_is_seen(bucket: buckets.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("a", b"true")
    real, times = objects.crc32c, iter([True, True, False])
    monkeypatch.setattr(
        objects, "crc32c", lambda content: real(b"false" if next(times) else content)
    )
    assert storage.read_bytes(f"{bucket.url}/a") == b"true"
    assert len(bucket.server.requests) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, r"gcloud auth application-default login.*Received: 401 Unauthorized"),
        (403, r"ask the bucket's owner for the role .*Received: 403 Forbidden"),
        (404, r"no such bucket"),
        (400, r"Received: 400 Bad Request"),
    ],
)
def test_a_refusal_is_one_line_without_secrets(
    bucket: buckets.Bucket, tmp_path: pathlib.Path, status: int, words: str
) -> None:
    bucket.put("deep/a", b"a")
    bucket.server.faults = faults = server.Faults((str(status),), rate=1)
    path = f"{bucket.url}/deep/a"
    calls = {
        "read": lambda: storage.read_bytes(path),
        "write": lambda: storage.write_bytes(path, b""),
        "publish": lambda: storage.publish(make_file(tmp_path, b""), path),
        "publish large": lambda: storage.publish(make_file(tmp_path, noise(LARGE)), path),
        "list": lambda: storage.walk_files(f"{bucket.url}/deep"),
        "size": lambda: storage.size_bytes(path),
        "stage": lambda: storage.stage(f"{bucket.url}/deep", ["a"], str(tmp_path)),
    }
    for name, call in calls.items():
        with pytest.raises((errors.StorageError, FileNotFoundError), match=words) as raised:
            call()
        text = str(raised.value)
        assert "gs://bucket/deep" in text, name
        assert "\n" not in text, name
        assert "SECRET" not in text, name
        assert pickle.loads(pickle.dumps(raised.value)).args == raised.value.args
    assert faults.fired[str(status)] >= len(calls)


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there(tmp_path: pathlib.Path) -> None:
    path = "gs://other/folder"
    for call in (
        lambda: storage.list_names(path),
        lambda: storage.exists(path),
        lambda: storage.write_bytes(path, b""),
        lambda: storage.publish(make_file(tmp_path, b""), path),
    ):
        with pytest.raises(errors.StorageError, match="gs://other/folder; there is no such bucket"):
            call()


def test_an_outage_ends(bucket: buckets.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs, "_OUTAGE_SECONDS", 0.5)
    gcs._retry.cache_clear()
    bucket.put("a", b"a")
    for kind, words in {"503": "503 Service Unavailable", "reset": "no complete response"}.items():
        bucket.server.faults = faults = server.Faults((kind,), rate=1)
        with pytest.raises(errors.StorageError, match=f"gs://bucket/a; try again.*{words}"):
            storage.read_bytes(f"{bucket.url}/a")
        assert faults.fired[kind] >= 2
    gcs._retry.cache_clear()


def test_without_a_login(bucket: buckets.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    gcs.close()
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/missing.json")
    with pytest.raises(errors.StorageError, match="gcloud auth application-default login"):
        storage.exists(f"{bucket.url}/a")


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.faults)])
def test_faults_change_nothing(bucket: buckets.Bucket, tmp_path: pathlib.Path, seed: int) -> None:
    n_objects = 20 if seed == 0 else 120
    bucket.server.faults = faults = server.Faults(rate=0.2, seed=seed)
    expected = {f"o/{index}": noise(2000, index) for index in range(n_objects)}
    for index, (name, content) in enumerate(expected.items()):
        path = f"{bucket.url}/{name}"
        if index % 2:
            storage.publish(make_file(tmp_path, content), path)
        else:
            storage.write_bytes(path, content)
        assert storage.read_bytes(path) == content
    assert bucket.contents() == expected
    assert storage.walk_files(f"{bucket.url}/o") == sorted(f"{i}" for i in range(n_objects))
    storage.remove_tree(f"{bucket.url}/o")
    assert bucket.contents() == {}
    assert faults.fired.total() >= n_objects // 2
    assert list(tmp_path.iterdir()) == []
