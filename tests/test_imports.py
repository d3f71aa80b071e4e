"""Imports go one way, and importing changes nothing and brings nothing heavy along."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("options", "train", "test", "datasets", "tests")

# The rooms of i2i from bottom to top: each may import itself, the rows before it, and what BESIDE adds.
ROOMS = [
    {"acceleration", "data", "networks", "losses", "metrics"},
    {"models"},
    {"training"},
    {"watch"},
    {"translate", "tools"},
]
BESIDE = {
    "acceleration": {"networks"},
    "losses": {"metrics"},
    "metrics": {"data"},
    "tools": {"translate"},
}
# Files that only run a command: `python -m i2i.check` and the like.
COMMANDS = {
    "__main__",
    "check",
    "evaluate",
    "explore",
    "report",
    "digits",
    "evaluation",
    "visuals",
    "command",
    "cli",
    "translator",
}
HEAVY = {
    "matplotlib",
    "kornia",
    "albumentations",
    "visdom",
    "torchvision",
    "cv2",
    "tifffile",
    "webdataset",
    "imagehash",
    "jinja2",
    "sympy",
    "torch_fidelity",
    "torchmetrics",
    "lpips",
    "plotly",
    "tensorboard",
    "wandb",
    "pandas",
    "scipy",
    "torch._dynamo",
    "torch._inductor",
    "torch.utils.tensorboard",
}
FILES = sorted((ROOT / "i2i").rglob("*.py"))


def imported_modules(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, with what is taken out of modules, and relative ones resolved."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (above, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    """The room of `i2i.<room>...`; files right in i2i are rooms of their own, below all others."""
    return module.split(".")[1] if "." in module else ""


def may_import(own: str, other: str) -> bool:
    """Whether a file of the room `own` may import the module `other`, given without `i2i.`."""
    rank = {name: number for number, rooms in enumerate(ROOMS) for name in rooms}
    theirs = other.split(".")[0]
    if theirs == own or own in COMMANDS:
        return True
    if any(f"{other}.".startswith(f"{beside}.") for beside in BESIDE.get(own, ())):
        return True
    return theirs not in COMMANDS and rank.get(theirs, -1) < rank.get(own, -1) + (
        own not in rank and theirs not in rank
    )


def modules() -> dict[str, Path]:
    """All modules of i2i and options by their dotted names."""
    paths = [*FILES, *sorted((ROOT / "options").rglob("*.py"))]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return dict(zip(names, paths, strict=True))


def imports() -> dict[str, set[str]]:
    """Which modules each module imports, in functions and for type checking too.

    A package counts as imported with its modules, except by its own modules.
    """
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        graph[name] = set()
        for imported in imported_modules(path):
            parts = imported.split(".")
            prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)} & known.keys()
            own_packages = {p for p in prefixes if known[p].name == "__init__.py" and name.startswith(f"{p}.")}
            graph[name] |= prefixes - own_packages - {name}
    return graph


def test_relative_imports_are_resolved(tmp_path: Path) -> None:
    names = set(imported_modules(ROOT / "i2i" / "networks" / "__init__.py"))
    assert "i2i.networks.unet.UNetGenerator" in names


def test_the_library_knows_nothing_of_its_programs() -> None:
    known = {str(path): [n for n in imported_modules(path) if n.split(".")[0] in PROGRAMS] for path in FILES}
    assert not {path: names for path, names in known.items() if names}


def test_imports_go_one_way() -> None:
    wrong = {
        name: sorted(other for other in others if other.startswith("i2i.") and not may_import(room(name), other[4:]))
        for name, others in imports().items()
        if name.startswith("i2i.")
    }
    assert not {name: others for name, others in wrong.items() if others}


def test_there_are_no_import_circles() -> None:
    graph = imports()
    graph = {name: others & graph.keys() for name, others in graph.items()}
    while graph:
        leaves = {name for name, others in graph.items() if not others}
        assert leaves, f"these modules import each other in circles, or depend on such a circle: {sorted(graph)}"
        graph = {name: others - leaves for name, others in graph.items() if name not in leaves}


def test_the_rules_would_find_what_is_wrong() -> None:
    assert may_import("training", "models.base") and may_import("models", "errors") and may_import("errors", "streams")
    assert not may_import("training", "watch.doctor") and not may_import("data", "networks.unet")
    assert not may_import("networks", "data.batch") and not may_import("errors", "data.batch")


def test_datasets_is_a_folder_and_no_package() -> None:
    assert (ROOT / "datasets" / "prepare.py").is_file()
    assert not (ROOT / "datasets" / "__init__.py").exists(), "it would shadow the package `datasets` of PyPI"


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_bare_package_does_not_import_torch() -> None:
    assert run_python("import sys, i2i; print('torch' in sys.modules)").strip() == "False"


def test_imports_bring_nothing_heavy_and_leave_logging_alone() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES]
    modules += ["options.train_options", "options.test_options", "train", "test"]
    names = sorted(module.removesuffix(".__init__") for module in modules)
    code = f"""
import importlib, logging, sys
root = logging.getLogger()
before = (root.level, list(root.handlers), logging.raiseExceptions)
for name in {names!r}:
    importlib.import_module(name)
print(sorted({HEAVY!r} & sys.modules.keys()), (root.level, list(root.handlers), logging.raiseExceptions) == before)
"""
    assert run_python(code).strip() == "[] True"
