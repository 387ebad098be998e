"""The wheel: everything that stands in the three folders, under marlspec and nowhere else, and able to judge."""

import configparser
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
FOLDERS = ("reference", "properties", "games")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return Path(path)


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return archive.namelist()


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def sources(folder):
    """Every file of a folder but what Python leaves behind."""
    return [path for path in sorted((ROOT / folder).rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_wheel_holds_every_file_of_a_folder_as_it_is(unpacked, folder):
    files = sources(folder)
    assert any(path.name == "__init__.py" for path in files)
    for path in files:
        packed = unpacked / "marlspec" / path.relative_to(ROOT)
        assert packed.read_bytes() == path.read_bytes()


def test_the_wheel_holds_the_package_itself_with_its_types_and_templates(names):
    for name in ("__init__.py", "cli.py", "errors.py", "pytest_plugin.py", "py.typed", "properties/page.html.j2"):
        assert f"marlspec/{name}" in names


def test_the_wheel_holds_nothing_else(names):
    expected = {f"marlspec/{path.relative_to(ROOT).as_posix()}" for folder in FOLDERS for path in sources(folder)}
    expected |= {f"marlspec/{path.name}" for path in (ROOT / "src" / "marlspec").iterdir() if path.is_file()}
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == expected
    assert len(names) == len(set(names)), "no file is packed twice"
    assert {name.split("/")[0].split("-")[0] for name in names} == {"marlspec"}


def test_entry_points_name_functions_that_exist(unpacked):
    (folder,) = unpacked.glob("marlspec-*.dist-info")
    parser = configparser.ConfigParser()
    parser.read(folder / "entry_points.txt")
    assert parser["console_scripts"]["marlspec"] == "marlspec.cli:main"
    assert parser["pytest11"]["marlspec"] == "marlspec.pytest_plugin"
    for entry in Distribution.at(folder).entry_points:
        assert entry.load() is not None


def test_metadata_names_licence_python_and_what_it_needs(unpacked):
    (folder,) = unpacked.glob("marlspec-*.dist-info")
    assert (folder / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    metadata = Distribution.at(folder).metadata
    assert metadata["Requires-Python"] == ">=3.11"
    needed = {re.split("[<>=]", line)[0] for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert needed >= {"torch", "hypothesis", "numpy", "pytest", "jinja2", "rich", "scipy", "jaxtyping"}
    assert not needed & {"torchrl", "beartype", "ruff", "mypy"}


def test_the_unpacked_wheel_judges_a_target_and_writes_its_page(unpacked, tmp_path):
    target = ROOT / "tests" / "targets" / "sound.py"
    code = "import marlspec; print(marlspec.__file__); from marlspec.cli import main; main()"
    arguments = ["check", f"{target}:total", "--role", "vdn_mixer", "--sizes", "2x3", "--examples", "48"]
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--html", "page.html"],
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(str(unpacked))
    assert "mixer.monotone" in (tmp_path / "page.html").read_text(encoding="utf-8")
