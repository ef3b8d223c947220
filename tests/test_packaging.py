import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_package_is_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT / "src").parts) for path in (ROOT / "src/fa_repro").rglob("__init__.py")
    }
    assert listed == found | {"fa_repro.configs"}


def test_every_extra_that_a_message_or_a_config_names_is_one():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "configs").rglob("*.yaml"), ROOT / "README.md"]
    named = {extra for file in files for extra in re.findall(r"fa-repro\[(.+?)\]", file.read_text())}
    assert "captum" in named and named <= extras.keys()


def test_configs_are_found_in_a_source_tree_that_is_not_installed(tmp_path):
    installed = "sys.meta_path[:] = [f for f in sys.meta_path if '__editable__' not in getattr(f, '__module__', '')]"
    program = f"import sys; {installed}; import fa_repro.configs; print(fa_repro.configs.__file__)"

    def run(source):
        words = [sys.executable, "-c", program]
        return subprocess.run(words, capture_output=True, text=True, env={"PYTHONPATH": str(source)}, cwd=tmp_path)

    assert run(ROOT / "src").stdout.strip() == str(ROOT / "configs" / "__init__.py")
    alone = tmp_path / "src" / "fa_repro"  # with no configs/ beside it
    alone.mkdir(parents=True)
    (alone / "__init__.py").write_text((ROOT / "src/fa_repro/__init__.py").read_text())
    assert "No module named 'fa_repro.configs'" in run(alone.parent).stderr


@pytest.mark.slow
def test_the_wheel_ships_every_config_and_module(tmp_path):
    words = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run([sys.executable, *words], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"fa_repro/configs/{p.relative_to(ROOT / 'configs')}" for p in (ROOT / "configs").rglob("*.yaml")}
    modules = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src/fa_repro").rglob("*.py")}
    assert configs | modules <= shipped
