"""Imports go one way, and importing changes nothing and brings nothing heavy along."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("options", "train", "test", "datasets", "tests")

# What each room of i2i may know of the others; rooms that are not named stand on top and may know all of them.
MAY_IMPORT = {
    "__init__": set[str](),
    "config": set[str](),
    "errors": {"streams"},
    "streams": set[str](),
    "progress": set[str](),
    "atomic": set[str](),
    "results": {"visuals.records"},
    "run": {"config"},
    "networks": {"config"},
    "losses": {"config", "metrics.lpips", "metrics.ssim"},
    "data": {"config"},
    "check": {"config", "data"},
    "visuals": {"config", "metrics.METRICS"},
    "random_state": set[str](),
    "acceleration": {"config"},
    "models": {"config", "random_state", "data", "networks", "losses"},
    "metrics": {"config", "random_state", "data", "results.listed_pictures", "visuals.images"},
    "doctor": {"config", "metrics", "visuals.board", "models.game"},
    "validation": {"config", "data", "metrics", "visuals", "models"},
    "training": {
        *("config", "run", "acceleration", "random_state", "data", "losses", "visuals", "models.base", "models.game"),
        *("doctor", "metrics.METRICS", "validation"),
    },
    "reference_layout": {"networks"},
    "reference_weights": {"networks", "reference_layout"},
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


def room(path: Path) -> str:
    return path.relative_to(ROOT / "i2i").parts[0].removesuffix(".py")


def test_relative_imports_are_resolved(tmp_path: Path) -> None:
    names = set(imported_modules(ROOT / "i2i" / "networks" / "__init__.py"))
    assert "i2i.networks.unet.UNetGenerator" in names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_library_knows_nothing_of_its_programs(path: Path) -> None:
    assert not [name for name in imported_modules(path) if name.split(".")[0] in PROGRAMS]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = room(path)
    if own not in MAY_IMPORT:
        return
    allowed = [f"i2i.{other}." for other in {own, "errors", "progress", "atomic", *MAY_IMPORT[own]}]
    names = [name for name in imported_modules(path) if name.split(".")[0] == "i2i"]
    assert not [name for name in names if not f"{name}.".startswith(tuple(allowed))]


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
