"""The verdict on typical cases."""

import dataclasses
from typing import Any

import pytest

from lstm_gen.evaluation import calibration
from lstm_gen.models import base

GOOD = calibration.Scores(
    distance=0.3,
    quiet=-0.2,
    median=0.1,
    loud=0.3,
    drift=0.1,
    onset_rate=2.9,
    onset_rate_real=2.8,
    onset_strength=0.95,
    flux=0.1,
    clarity=0.96,
    variance=0.9,
    energy=1.02,
    patch=1.0,
    memorisation=0.92,
    energy_gap=-0.02,
    energy_error=0.002,
)
TRAINED = calibration.Training(steps=500, best_step=400, minutes=4.8, is_transposed=False)


def said(trained: calibration.Training = TRAINED, **changed: Any) -> list[str]:
    return calibration.verdict(dataclasses.replace(GOOD, **changed), trained)


def test_a_good_model_is_said_to_be_one() -> None:
    assert said() == [
        "beats a linear predictor, VAR(3), on held-out music: energy score -0.0200, standard "
        "error 0.0020",
        "clear notes, clarity 0.96 of real music's",
        "strikes: onsets rise 0.95 times as high as in real music, as often as it (2.9/s beside "
        "2.8)",
        "keeps its level; loudness as in real music",
        "keeps its distance from the training music: 0.92 of held-out music's distance",
        "next: listen; for longer forms, --preset=long",
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"energy_gap": 0.01}, "does not beat a linear predictor"),
        ({"energy_gap": 0.003}, "no better and no worse than a linear predictor"),
        ({"clarity": 0.2}, "mush: the gaps between partials are filled"),
        ({"clarity": -0.9}, "mush"),
        ({"clarity": 0.7}, "blurred notes"),
        ({"clarity": 1.9}, "notes barer than real ones"),
        ({"onset_strength": 0.4}, "fades: onsets rise 0.40 times"),
        ({"onset_strength": 0.7}, "strikes softly"),
        ({"onset_rate": 5.0}, "too often (5.0/s beside 2.8)"),
        ({"onset_rate": 0.0}, "too seldom (0.0/s beside 2.8)"),
        ({"onset_rate": 0.0, "onset_rate_real": 0.0}, "as often as it (0.0/s beside 0.0)"),
        ({"quiet": 2.0, "median": 2.0, "loud": 0.0}, "quiet passages 8.7 dB above real music's"),
        ({"quiet": 0.0, "median": 1.5, "loud": -1.5}, "loudness 6.5 dB above real music's"),
        ({"drift": -1.5}, "grows quieter by 6.5 dB in 12 s"),
        ({"drift": 2.0}, "grows louder by 8.7 dB in 12 s"),
        ({"quiet": -2.5}, "keeps its level; quiet passages 10.9 dB below real music's"),
        ({"loud": 1.4}, "loud passages 6.1 dB above real music's"),
        ({"memorisation": 0.6}, "stays close to the training music: 0.60"),
        ({"memorisation": None}, "no held-out music to judge copies by"),
    ],
)
def test_a_fault_is_named(changed: dict[str, Any], words: str) -> None:
    assert sum(words in line for line in said(**changed)) == 1


@pytest.mark.parametrize(
    ("trained", "changed", "words"),
    [
        ({"best_step": 500}, {}, "train on, --steps=1000"),
        (
            {"best_step": 100},
            {},
            "--augment_semitones=-3,-2,-1,0,1,2,3; best at step 100, and 5 min",
        ),
        ({"best_step": 100, "is_transposed": True}, {}, "record more music; best at step 100"),
        ({}, {"memorisation": 0.5}, "it stays close to what it learnt"),
        ({}, {"clarity": 0.4}, "a larger preset"),
        ({}, {"energy_gap": 0.02}, "a larger preset"),
        ({"best_step": 0}, {"memorisation": None, "energy_gap": None}, "next: listen"),
    ],
)
def test_the_last_line_is_what_to_do_next(
    trained: dict[str, Any], changed: dict[str, Any], words: str
) -> None:
    found = said(TRAINED._replace(**trained), **changed)
    assert 3 <= len(found) <= 6
    assert found[-1].startswith("next: ")
    assert words in found[-1]


def test_the_settings_are_a_line_with_what_they_give() -> None:
    sampling = base.Sampling(temperature=0.9, neighbour_weight=0.3)
    assert calibration.describe_sampling(sampling, GOOD) == (
        "temperature 0.9, neighbour_weight 0.3: loudness as in real music, onsets 2.9/s (real "
        "2.8), clarity 0.96 of real, distance to the training music 0.92 of held-out's"
    )
    unknown = dataclasses.replace(GOOD, memorisation=None)
    assert "distance" not in calibration.describe_sampling(sampling, unknown)
