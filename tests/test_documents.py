"""What the documents claim has code behind it: commands, flags, files, figures."""

import json
import pathlib
import re

import pytest

from benchmarks import harness
from benchmarks import run as benchmarks_run
from lstm_gen.cli import command

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
RESULTS = sorted(ROOT.glob("benchmarks/results/*.json"))
OTHERS_FLAGS = {"help", "flagfile", "preset", "logdir"}  # of the command line and TensorBoard


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.name)
def code(request: pytest.FixtureRequest) -> str:
    """Return what a document says in code: between backticks, and in lines set off by four."""
    text = request.param.read_text("utf-8")
    lines = re.findall(r"^ {4}(.*)$", text, re.MULTILINE)
    return "\n".join([*re.findall(r"`([^`]+)`", text), *lines])


def test_modules_that_are_to_be_run_are_there(code: str) -> None:
    for module in re.findall(r"python -m ((?:tools|benchmarks)\.\w+)", code):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


def test_targets_are_in_the_makefile(code: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE)) <= targets


def test_flags_are_defined(code: str) -> None:
    sources = [
        *ROOT.glob("tools/**/*.py"),
        *ROOT.glob("benchmarks/*.py"),
        ROOT / "tests/conftest.py",
    ]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    settings = re.findall(r"^    (\w+): .*= fields\.(?:setting|like)\(", text, re.MULTILINE)
    known = command.known_flags() | set(settings) | set(re.findall(r'"--(\w+)', text))
    ours = [
        line for line in code.splitlines() if not re.search(r"\b(pip|docker|git|gcloud)\b", line)
    ]
    asked = set(re.findall(r"(?<![\w-])--([a-z]\w+)(?!\w|-->)", "\n".join(ours)))
    # A boolean is switched off by "no" before its name.
    missing = {
        name for name in asked - known - OTHERS_FLAGS if name.removeprefix("no") not in known
    }
    assert not missing


def test_files_are_there(code: str) -> None:
    for name in re.findall(r"(?:lstm_gen|flags|tools|benchmarks|tests|docs)/[\w/]+\.\w+", code):
        assert "NAME" in name or (ROOT / name).is_file(), name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_stored_figure_is_of_a_benchmark_and_says_truly_what_it_reached(
    path: pathlib.Path,
) -> None:
    assert path.stem in benchmarks_run.BENCHMARKS
    for stored in json.loads(path.read_text("utf-8"))["rows"]:
        reached = stored.pop("reached")
        assert harness.Row(**stored).reached == reached, stored["what"]
