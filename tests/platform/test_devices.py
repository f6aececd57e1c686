import pathlib
import types
from typing import Any

import pytest
import tensorflow as tf

from lstm_gen.platform import devices as distribute
from lstm_gen.platform import errors


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_cpu_is_what_there_is_without_a_gpu(device: str) -> None:
    strategy = distribute.strategy(device)
    assert strategy.num_replicas_in_sync == 1
    with strategy.scope():
        assert "CPU:0" in tf.Variable(1.0).device.upper()
    assert distribute.devices(device) == ["/cpu:0"]


def test_a_gpu_that_is_not_there_is_refused() -> None:
    for function in (distribute.strategy, distribute.devices):
        with pytest.raises(errors.InputError, match=r"--device=cpu. Received: device='gpu', 0"):
            function("gpu")


def test_another_device_is_refused() -> None:
    with pytest.raises(errors.InputError, match=r"must be one of auto, .*device='quantum'"):
        distribute.strategy("quantum")


@pytest.mark.parametrize(("device", "count"), [("cpu", 0), ("auto", 2), ("gpu", 2), ("tpu", 2)])
def test_only_a_processor_is_split(device: str, count: int) -> None:
    with pytest.raises(errors.InputError, match=rf"unless --device=cpu.*cpu_devices={count}"):
        distribute.strategy(device, count)


def test_several_gpus_share_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices * (kind == "GPU"))
    assert isinstance(distribute.strategy("auto"), tf.distribute.OneDeviceStrategy)
    assert distribute.devices("auto") == [devices[0].name]
    asked: list[list[str]] = []
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", asked.append)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: devices * 2)
    distribute.strategy("gpu")
    assert asked == [[devices[0].name] * 2]


def test_several_processes_work_together_as_tf_config_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden: list[tuple[list[Any], str]] = []
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: "all of them")
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *which: hidden.append(which))
    two = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", two)
    assert distribute.strategy("auto") == "all of them"
    assert not hidden
    assert distribute.strategy("cpu") == "all of them"
    assert hidden == [([], "GPU")]
    with pytest.raises(errors.InputError, match=r"unset TF_CONFIG.*processes=2"):
        distribute.strategy("cpu", 2)
    monkeypatch.setenv("TF_CONFIG", "chief")
    with pytest.raises(errors.InputError, match=r"TF_CONFIG must be JSON"):
        distribute.strategy("auto")


def test_a_tpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(errors.InputError, match=r"--use_tpu needs a TPU VM.*drop --use_tpu"):
        distribute.strategy("tpu")


def test_the_chief_writes_in_place_and_the_others_nowhere(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = []
    for index in (0, 1):
        strategy: Any = types.SimpleNamespace(
            extended=types.SimpleNamespace(should_checkpoint=index == 0)
        )
        with distribute.chief_output_dir(strategy, str(tmp_path)) as place:
            print(f"process {index}")
            (pathlib.Path(place) / "file").write_text("x")
        places.append(pathlib.Path(place))
    assert places[0] == tmp_path
    assert (tmp_path / "file").exists()
    assert not places[1].exists()
    assert capsys.readouterr().out == "process 0\n"


@pytest.mark.xla
def test_xla_compiles_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distribute.compiles_with_xla()
    assert distribute.compiles_with_xla(tf.distribute.OneDeviceStrategy("/cpu:0"))
    for here, everywhere in ((2, 2), (1, 2)):
        several: Any = types.SimpleNamespace(
            num_replicas_in_sync=everywhere,
            extended=types.SimpleNamespace(worker_devices=("/cpu:0", "/cpu:1")[:here]),
        )
        assert distribute.compiles_with_xla(several) == (here == 1)
        with distribute.portable():
            assert not distribute.compiles_whole_steps(several)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert not distribute.compiles_with_xla()


def test_a_tpu_s_tensorflow_never_compiles_for_the_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its device may be in use by another process, and so not be seen."""
    monkeypatch.setattr(distribute, "_is_installed", lambda name: name == "tensorflow-tpu")
    assert not distribute.compiles_with_xla()


@pytest.mark.xla
def test_host_kernels_are_for_a_machine_with_a_processor_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = tf.distribute.OneDeviceStrategy("/cpu:0")
    assert distribute.uses_host_kernels()
    assert not distribute.compiles_whole_steps(one)
    assert distribute.compiles_whole_steps(one, jit_compile=True)
    with distribute.portable():
        assert not distribute.uses_host_kernels()
        assert distribute.compiles_whole_steps(one)
    assert distribute.uses_host_kernels()
    device = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: [device])
    assert not distribute.uses_host_kernels()
