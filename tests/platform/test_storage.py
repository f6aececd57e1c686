import os
import pathlib

import pytest

from lstm_gen.platform import errors, storage


@pytest.mark.parametrize(
    ("path", "local", "bucket", "expected"),
    [
        ("recordings", True, "", "recordings"),
        ("/data/recordings", True, "bucket", "/data/recordings"),
        ("recordings", False, "bucket", "gs://bucket/recordings"),
        ("/recordings/", False, "gs://bucket/", "gs://bucket/recordings"),
        ("a/b", False, "bucket/prefix", "gs://bucket/prefix/a/b"),
        ("gs://other/a", True, "bucket", "gs://other/a"),
        ("gs://other/a", False, "", "gs://other/a"),
        ("/gcs/other/a", True, "", "gs://other/a"),
        ("/gcs/other/a", False, "bucket", "gs://other/a"),
    ],
)
def test_resolve(path: str, local: bool, bucket: str, expected: str) -> None:
    assert storage.resolve(path, local, bucket) == expected


@pytest.mark.parametrize("bucket", ["", "gs://", "/"])
def test_a_path_in_no_bucket_is_refused(bucket: str) -> None:
    with pytest.raises(errors.InputError, match=r"needs --gcs_bucket=NAME .* path='dataset'"):
        storage.resolve("dataset", local=False, bucket=bucket)


def test_join() -> None:
    assert storage.join("a", "b", "c") == "a/b/c"
    assert storage.join("gs://bucket/", "b", "c") == "gs://bucket/b/c"
    assert storage.is_remote("gs://bucket/a")
    assert not storage.is_remote("/gcs/bucket/a")


def test_written_content_is_read_back(tmp_path: pathlib.Path) -> None:
    path = storage.join(str(tmp_path), "deep", "folder", "file.txt")
    storage.write_text(path, "é\n")
    assert storage.read_text(path) == "é\n"
    assert storage.read_bytes(path) == "é\n".encode()
    assert storage.size_bytes(path) == 3
    assert storage.exists(path)
    assert not storage.is_directory(path)
    assert storage.is_directory(str(tmp_path / "deep"))


def test_a_write_leaves_nothing_beside_the_file(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file")
    storage.write_bytes(path, b"old")
    storage.write_bytes(path, b"new")
    assert storage.read_bytes(path) == b"new"
    assert storage.list_names(str(tmp_path)) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_keeps_the_old_content(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = str(tmp_path / "file")
    storage.write_bytes(path, b"old")
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (pathlib.Path, "replace")}[step], fail)
    with pytest.raises(OSError, match="No space left"):
        storage.write_bytes(path, b"new")
    assert storage.read_bytes(path) == b"old"
    assert storage.list_names(str(tmp_path)) == ["file"]


def test_an_error_without_a_name_gets_one() -> None:
    nameless, named = OSError(28, "No space left on device"), OSError(2, "No such file", "a")
    for raised, wanted in ((nameless, "b"), (named, "a"), (TimeoutError("late"), None)):
        with pytest.raises(OSError) as caught, storage.naming("b"):  # noqa: PT011
            raise raised
        assert caught.value.filename == wanted
        assert type(caught.value) is type(raised)


def test_a_file_is_flushed_before_it_gets_its_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    real_fsync, real_replace = os.fsync, pathlib.Path.replace

    def fsync(descriptor: int) -> None:
        calls.append("fsync")
        real_fsync(descriptor)

    def replace(source: pathlib.Path, target: str) -> pathlib.Path:
        calls.append("replace")
        return real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(pathlib.Path, "replace", replace)
    storage.write_bytes(str(tmp_path / "file"), b"content")
    assert calls == ["fsync", "replace", "fsync"]  # content, name, directory


def test_publish_moves_a_local_file(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "shard.tmp"
    source.write_bytes(b"shard")
    storage.publish(str(source), str(tmp_path / "shard"))
    assert storage.list_names(str(tmp_path)) == ["shard"]
    assert storage.read_bytes(str(tmp_path / "shard")) == b"shard"


def test_remove(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file")
    storage.write_bytes(path, b"")
    storage.remove(path)
    assert not storage.exists(path)
    storage.remove(path)


def test_make_directory_may_be_repeated(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "a" / "b")
    storage.make_directory(path)
    storage.make_directory(path)
    assert storage.is_directory(path)


def test_a_local_file_is_its_own_copy(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "file")
    with storage.local_copy(path) as copy:
        assert copy == path


def test_names_are_listed_in_order(tmp_path: pathlib.Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name).touch()
    assert storage.list_names(str(tmp_path)) == ["a", "b", "c"]
    assert storage.list_names(str(tmp_path / "missing")) == []
    assert storage.list_names(str(tmp_path / "a")) == []


def test_files_are_found_at_any_depth(tmp_path: pathlib.Path) -> None:
    for name in ("z.wav", "b/y.wav", "b/c/x.wav", "a b/ü.wav", ".hidden/w.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = [".hidden/w.wav", "a b/ü.wav", "b/c/x.wav", "b/y.wav", "z.wav"]
    assert storage.walk_files(str(tmp_path)) == expected
    assert storage.walk_files(f"{tmp_path}/") == expected


def test_a_loop_of_symbolic_links_is_not_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    assert storage.walk_files(str(tmp_path)) == ["a/loop", "a/x.wav", "self"]


def test_links_and_pipes_are_listed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.wav").touch()
    (tmp_path / "link.wav").symlink_to("x.wav")
    (tmp_path / "broken.wav").symlink_to("missing.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    assert storage.walk_files(str(tmp_path)) == ["broken.wav", "link.wav", "pipe.wav", "x.wav"]


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.walk_files(str(tmp_path / "missing"))


def test_an_undecodable_name_survives_the_walk(tmp_path: pathlib.Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / name).write_bytes(b"sound")
    assert storage.walk_files(str(tmp_path)) == [name]
    assert storage.read_bytes(storage.join(str(tmp_path), name)) == b"sound"


def test_a_path_lies_in_folders(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(storage.folders("gs://bucket/a/b/c.wav")) == [
        "gs://bucket/a/b",
        "gs://bucket/a",
        "gs://bucket",
    ]
    assert list(storage.folders("gs://bucket/")) == []
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    found = list(storage.folders("link/new/song.wav"))
    assert found[:3] == [str(tmp_path / "real" / "new"), str(tmp_path / "real"), str(tmp_path)]
    assert found[-1] == "/"
