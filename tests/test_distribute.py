import pytest
import tensorflow as tf

from lstm_gen import distribute, errors


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_cpu_is_what_there_is_without_a_gpu(device: str) -> None:
    strategy = distribute.strategy(device)
    assert strategy.num_replicas_in_sync == 1
    with strategy.scope():
        assert "CPU:0" in tf.Variable(1.0).device.upper()
    assert distribute.main_device(device) == "/cpu:0"


def test_a_gpu_that_is_not_there_is_refused() -> None:
    for function in (distribute.strategy, distribute.main_device):
        with pytest.raises(errors.InputError, match=r"--device=cpu. Received: device='gpu', 0"):
            function("gpu")


def test_another_device_is_refused() -> None:
    with pytest.raises(errors.InputError, match=r"must be one of .*'auto'.*device='quantum'"):
        distribute.strategy("quantum")


def test_several_gpus_share_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = tf.config.list_logical_devices("CPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices * (kind == "GPU"))
    assert isinstance(distribute.strategy("auto"), tf.distribute.OneDeviceStrategy)
    assert distribute.main_device("auto") == devices[0].name
    assert distribute.main_device("cpu") == "/cpu:0"
    asked: list[list[str]] = []
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", asked.append)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: devices * 2)
    distribute.strategy("gpu")
    assert asked == [[devices[0].name] * 2]


def test_xla_compiles_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distribute.compiles_with_xla()
    assert distribute.compiles_with_xla(tf.distribute.OneDeviceStrategy("/cpu:0"))
    several = type("Several", (), {"num_replicas_in_sync": 2})()
    assert not distribute.compiles_with_xla(several)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert not distribute.compiles_with_xla()


def test_host_kernels_are_for_a_machine_with_a_processor_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = tf.distribute.OneDeviceStrategy("/cpu:0")
    assert distribute.uses_host_kernels()
    assert not distribute.compiles_whole_steps(one)
    with distribute.portable():
        assert not distribute.uses_host_kernels()
        assert distribute.compiles_whole_steps(one)
    assert distribute.uses_host_kernels()
    device = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: [device])
    assert not distribute.uses_host_kernels()
