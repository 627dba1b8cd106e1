"""Build for pip and for colcon (ament_python); metadata is in pyproject.toml."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

PACKAGE = "mm_nav"
NODES = ("simulator", "inference", "navigator", "guard", "nav2_bridge")


def shared_files() -> list[tuple[str, list[str]]]:
    """Return (target folder, files) of everything that is installed beside the Python code."""
    marker = Path("build") / PACKAGE
    marker.parent.mkdir(exist_ok=True)
    marker.touch()
    found = [
        ("share/ament_index/resource_index/packages", [str(marker)]),
        (f"share/{PACKAGE}", ["package.xml", "LICENSE"]),
    ]
    for top in ("launch", "config", "worlds", "models", "interfaces/mm_nav_interfaces/msg"):
        folders: dict[Path, list[str]] = {}
        for path in sorted(Path(top).rglob("*")):
            # Checkpoints and the networks of the ablation are for training, which is done in a checkout.
            if path.is_file() and not {"__pycache__", "ablation"} & set(path.parts) and path.suffix != ".pt":
                folders.setdefault(path.parent, []).append(str(path))
        found += [(f"share/{PACKAGE}/{folder}", files) for folder, files in folders.items()]
    return found


setup(
    # Humble's setuptools (59) does not read pyproject.toml.
    name=PACKAGE,
    version=ElementTree.parse("package.xml").getroot().findtext("version"),
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed", "evaluation/templates/*.j2", "replay/templates/*"]},
    # Only the above: setuptools takes folders of templates for packages and warns at every build.
    include_package_data=False,
    data_files=shared_files(),
    entry_points={
        "console_scripts": [
            "mm-nav = mm_nav.cli.main:main",
            # For `ros2 run mm_nav mm_nav_<node>`; a pip install puts them on the PATH, so they carry a prefix.
            *(f"mm_nav_{node} = mm_nav.ros.{node}_node:main" for node in NODES),
        ]
    },
)
