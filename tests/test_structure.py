"""Size of the house: modules, importers, lines of the README, rows of the table of places.

Bounds are what was reached; whoever lowers one may lower it here.
"""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
MOST_MODULES = 120  # packages' __init__ not counted
MOST_WITH_ONE_IMPORTER = 20
MOST_README_LINES = 200
MOST_PLACES = 15


def modules() -> dict[str, ast.Module]:
    """Return the modules of the library, the tools and the commands, by their dotted names."""
    paths = [path for folder in ("lstm_gen", "tools") for path in (ROOT / folder).rglob("*.py")]
    paths += [ROOT / f"{name}.py" for name in ("create_tfrecord", "train_model", "generate_songs")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text("utf-8")
        )
        for path in paths
    }


def counted() -> set[str]:
    """Return the names of the library's modules, without packages."""
    paths = [path for path in (ROOT / "lstm_gen").rglob("*.py") if path.name != "__init__.py"]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths}


def test_the_library_has_few_modules() -> None:
    assert len(counted()) <= MOST_MODULES


def test_few_modules_have_a_single_importer() -> None:
    found = modules()
    importers: dict[str, set[str]] = {name: set() for name in counted()}
    for name, tree in found.items():
        for node in ast.walk(tree):
            targets: list[str] = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            for target in targets:
                for candidate in (target, target.rpartition(".")[0]):
                    if candidate in importers and candidate != name:
                        importers[candidate].add(name)
    single = sorted(name for name, own in importers.items() if len(own) == 1)
    assert len(single) <= MOST_WITH_ONE_IMPORTER, single


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= MOST_README_LINES


def test_the_table_of_places_is_short() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    (section,) = re.findall(r"^## One obvious place\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert 0 < len(rows) - 2 <= MOST_PLACES  # less the head and its rule
