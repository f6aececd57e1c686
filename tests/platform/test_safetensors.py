import json
import pathlib

import numpy as np
import pytest

from lstm_gen.platform import safetensors

ARRAYS: dict[str, np.ndarray] = {
    "a/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(7, np.int64),
    "c/none": np.zeros((0, 4), np.float16),
}
SPECS = {name: safetensors.Spec(array.dtype.name, array.shape) for name, array in ARRAYS.items()}


def write(folder: pathlib.Path) -> str:
    path = str(folder / "arrays")
    safetensors.write(path, SPECS, ARRAYS.values())
    return path


def test_a_file_is_as_the_format_says(tmp_path: pathlib.Path) -> None:
    content = pathlib.Path(write(tmp_path)).read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    assert json.loads(content[8 : 8 + length]) == {
        "a/kernel": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "I64", "shape": [], "data_offsets": [24, 32]},
        "c/none": {"dtype": "F16", "shape": [0, 4], "data_offsets": [32, 32]},
    }
    assert content[8 + length :] == b"".join(array.tobytes() for array in ARRAYS.values())
    assert len(content) == safetensors.size(SPECS)


def test_arrays_come_back(tmp_path: pathlib.Path) -> None:
    read = dict(safetensors.read(write(tmp_path), SPECS))
    assert list(read) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize(
    "specs",
    [
        {},
        {"a/kernel": SPECS["a/kernel"]},
        SPECS | {"b": safetensors.Spec("int64", (1,))},
        SPECS | {"a/kernel": safetensors.Spec("int32", (2, 3))},
    ],
)
def test_other_arrays_are_refused(tmp_path: pathlib.Path, specs: safetensors.Specs) -> None:
    with pytest.raises(ValueError, match="other arrays"):
        list(safetensors.read(write(tmp_path), specs))


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b"\0", lambda _: b""])
def test_another_length_is_refused(tmp_path: pathlib.Path, change: object) -> None:
    path = pathlib.Path(write(tmp_path))
    assert callable(change)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match="other arrays"):
        list(safetensors.read(str(path), SPECS))


def test_specs_survive_json() -> None:
    assert safetensors.from_json(json.loads(json.dumps(safetensors.to_json(SPECS)))) == SPECS


@pytest.mark.parametrize(
    "value",
    [["object", [1]], ["float32", [-1]], ["float32", [True]], ["float32", [1.0]], ["float32"], 3],
)
def test_what_is_no_array_is_refused(value: list) -> None:
    with pytest.raises((ValueError, TypeError)):
        safetensors.from_json({"a": value})
