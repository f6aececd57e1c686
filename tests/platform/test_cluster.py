import json
from typing import Any

import pytest

from lstm_gen.platform import cluster, errors


def set_variable(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    monkeypatch.setenv("TF_CONFIG", text)


def describe(task: str, index: Any, **counts: int) -> dict[str, Any]:
    return {
        "cluster": {name: [f"{name}-{i}:22" for i in range(n)] for name, n in counts.items()},
        "task": {"type": task, "index": index},
    }


def test_a_process_is_alone_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster.member() == (0, 1)
    for value in ("", "  ", "{}", '{"environment": "cloud"}', describe("chief", 0, chief=1)):
        set_variable(monkeypatch, value)
        assert cluster.member() == (0, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (describe("worker", 0, worker=2), (0, 2)),
        (describe("worker", 1, worker=2), (1, 2)),
        (describe("chief", 0, chief=1, worker=3), (0, 4)),
        (describe("worker", 0, worker=3, chief=1), (1, 4)),
        (describe("worker", 2, chief=1, worker=3) | {"environment": "cloud", "job": {}}, (3, 4)),
    ],
)
def test_processes_are_counted_as_tensorflow_does(
    monkeypatch: pytest.MonkeyPatch, value: Any, expected: tuple[int, int]
) -> None:
    set_variable(monkeypatch, value)
    assert cluster.member() == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{cluster", "must be JSON such as"),
        ("[1]", "must be JSON such as"),
        ({"cluster": ["a:1"]}, "must be JSON such as"),
        ({"cluster": {"worker": "a:1"}}, "'a:1' is not a list of addresses"),
        ({"cluster": {"worker": ["a:1", "b"]}}, "'b' is not host:port"),
        (
            describe("worker", 0, worker=2, ps=1),
            "parameter servers and evaluators are not supported.*worker=2, ps=1",
        ),
        (describe("evaluator", 0, worker=2, evaluator=1), "evaluators are not supported"),
        (describe("chief", 0, chief=2, worker=1), "at most one chief.*chief=2"),
        (describe("worker", 2, worker=2), "must be one of its cluster.*'index': 2"),
        (describe("worker", "0", worker=2), "must be one of its cluster"),
        (describe("chief", 0, worker=2), "must be one of its cluster"),
        ({"cluster": {"worker": ["a:1", "b:1"]}}, r"must be one of its cluster.*task=\{\}"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, value: Any, message: str
) -> None:
    set_variable(monkeypatch, value)
    with pytest.raises(errors.InputError, match=message) as caught:
        cluster.member()
    assert "\n" not in str(caught.value)
