"""The messages of `make` on machines where something is missing, wrong or old, and the files that it changes.

A machine is a directory: a copy of the files that `make` reads, and a PATH with stand-ins for cargo, apt-get, pg_config and the like, which
log their calls. Nothing is compiled, installed or fetched.
"""

import glob
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from make_commands import ROOT

# Programs of the machine that runs the tests.
TOOLS = """awk basename bash cat chmod comm cp cut date dirname env find grep head id install ls make mkdir mktemp mv paste printf readlink rm
    sed sh sort stat tail tee test touch tr uname wc""".split()

NOBODY = 65534

PG_CONFIG = """#!/bin/sh
case $1 in
    --version) echo "PostgreSQL {version}" ;;
    --bindir) echo "{root}/bin" ;;
    --includedir-server) echo "{root}/include" ;;
    --pkglibdir) echo "{root}/lib" ;;
    --sharedir) echo "{root}/share" ;;
    --pgxs) echo "{root}/lib/pgxs/src/makefiles/pgxs.mk" ;;
esac
"""
CARGO = """case "$*" in
    --version) echo "cargo {version} (0f1d2c3b4 2026-01-01)" ;;
    -vV) echo "host: x86_64-unknown-linux-gnu" ;;
    metadata*) echo '{{"target_directory":"'"${{CARGO_TARGET_DIR:-$PWD/target}}"'"}}' ;;
    build*)
        directory=${{CARGO_TARGET_DIR:-$PWD/target}}/release
        mkdir -p "$directory" && echo "$*" > "$directory/libaws_lambda_fdw.so"
        echo '{{"reason":"compiler-artifact","filenames":["'"$directory"'/libaws_lambda_fdw.so"]}}' ;;
esac"""

# Otherwise `make deps` writes a file in /etc, which keeps Debian from making a cluster.
WHERE_DEBIAN_HAS_A_SERVER = pytest.mark.skipif(
    not glob.glob("/usr/lib/postgresql/*/bin/postgres"), reason="Debian's server would be installed as the first"
)


class Machine:
    def __init__(self, directory):
        self.directory = directory
        self.checkout, self.bin, self.log = directory / "checkout", directory / "bin", directory / "calls"
        self.user = None
        self.environment = {"PATH": str(self.bin), "HOME": str(directory / "home"), "LIBCLANG_PATH": str(directory)}
        self.bin.mkdir()
        self.log.touch()
        (self.checkout / "src").mkdir(parents=True)
        (self.checkout / "src/lib.rs").write_text("\n")
        for file in ("Makefile", "Cargo.toml", "Cargo.lock", *(path.name for path in ROOT.glob("*.control"))):
            shutil.copy(ROOT / file, self.checkout)
        shutil.copytree(ROOT / "sql", self.checkout / "sql")
        shutil.copytree(ROOT / "tests/harness", self.checkout / "tests/harness", ignore=shutil.ignore_patterns("__pycache__"))
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        (directory / "libclang.so").touch()
        self.program("cc", "cat > /dev/null")
        for tool in ("python3", "apt-cache"):
            self.program(tool)
        self.program("objcopy", 'for last; do :; done; echo made > "$last"')
        self.program("cargo", CARGO.format(version="1.95.0"))
        self.postgresql(15)

    def program(self, name, script="", path=None):
        """Puts a stand-in on the PATH, or elsewhere, that logs its calls."""
        path = pathlib.Path(path or self.bin / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n')
        path.chmod(0o755)
        return path

    def postgresql(self, version, on_the_path=True):
        """Installs one; returns its pg_config."""
        root = self.directory / f"postgresql-{version}"
        for directory in ("bin", "include", "lib", "share/extension"):
            (root / directory).mkdir(parents=True)
        (root / "include/postgres.h").touch()
        pg_config = root / "bin/pg_config"
        pg_config.write_text(PG_CONFIG.format(version=f"{version}.9", root=root))
        pg_config.chmod(0o755)
        if on_the_path:
            (self.bin / "pg_config").symlink_to(pg_config)
        return pg_config

    def make(self, *arguments, **environment):
        """Runs make. Returns its status and its output, without make's own error message."""
        command = [str(self.bin / "make"), "--no-print-directory", *arguments]
        done = subprocess.run(
            command, cwd=self.checkout, env={**self.environment, **environment}, user=self.user,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.returncode, re.sub(r"^make.*\n", "", done.stdout, flags=re.MULTILINE)

    def refused(self, *arguments, **environment):
        """The output of a make that fails, and has neither compiled nor installed anything."""
        before = self.files()
        self.log.write_text("")
        status, said = self.make(*arguments, **environment)
        assert status != 0, said
        assert not re.search(r"^(cargo build|apt-get|sudo) ", self.calls(), re.MULTILINE), self.calls()
        assert self.files() == before
        return said

    def calls(self):
        return self.log.read_text()

    def files(self):
        return {path for path in self.directory.rglob("*") if path != self.log}

    def of_a_user(self):
        """Makes another user than root the owner."""
        if os.getuid() == 0:
            self.user = NOBODY
            for path in (self.directory, *self.directory.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def under_sudo(self):
        """As root under sudo, in another user's checkout."""
        if os.getuid() == 0:
            os.chown(self.checkout, NOBODY, NOBODY)
        else:
            (self.bin / "id").unlink()
            self.program("id", "echo 0")
        self.environment["SUDO_USER"] = "ada"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_builds_installs_and_asks_for_nothing_of_tests(machine):
    status, said = machine.make()
    assert status == 0, said
    assert said == "==> compiling, the first time about six minutes on two cores\n"
    assert (machine.checkout / "target/pg15/aws_lambda_fdw.so").exists()
    # Neither a server nor pg_regress nor a Python that can make a virtual environment is on this machine.
    machine.program("python3", "exit 1")
    status, said = machine.make("install")
    assert status == 0, said
    root = machine.directory / "postgresql-15"
    assert (root / "lib/aws_lambda_fdw.so").exists()
    assert (root / "share/extension/aws_lambda.control").exists()
    assert not re.search("^(apt-get|sudo|python3) ", machine.calls(), re.MULTILINE)


def test_says_what_is_missing_and_installs_nothing(machine):
    (machine.directory / "libclang.so").unlink()
    (machine.directory / "postgresql-15/include/postgres.h").unlink()
    machine.program("cc", "cat > /dev/null; exit 1")
    missing = "a C compiler with libc headers, PostgreSQL's server headers, libclang"
    # Not a Debian, and then one, with a PostgreSQL of its own that packages can't complete, and with none.
    assert f"Missing for PG_CONFIG=pg_config, which is not a Debian package's: {missing}.\n" == machine.refused()
    (machine.bin / "pg_config").unlink()
    assert f"Missing: {missing}.\n" == machine.refused()
    machine.program("apt-get")
    machine.program("apt-cache", 'echo "  Depends: postgresql-15"')
    sudo = "" if os.getuid() == 0 else "sudo "
    said = machine.refused()
    assert re.fullmatch(
        rf"Missing: {missing}.\nTo install it: {sudo}apt-get install --no-install-recommends "
        r"gcc libc6-dev libclang-dev postgresql-server-dev-\d+\n",
        said,
    ), said


def test_a_machine_without_lists_of_packages(machine):
    (machine.directory / "libclang.so").unlink()
    machine.program("apt-get")
    machine.program("apt-cache", "exit 100")
    (machine.bin / "pg_config").unlink()
    said = machine.refused()
    packages = r"libclang-dev postgresql-server-dev-(all|\d+)"
    assert re.search(rf"apt-get update && (sudo )?apt-get install --no-install-recommends {packages}$", said)


def test_no_rust(machine):
    (machine.bin / "cargo").unlink()
    said = machine.refused()
    assert said == "cargo, Rust's build tool, is not on the PATH.\nGet Rust 1.95 or later from https://rustup.rs\n"
    (machine.directory / "home/.cargo").mkdir(parents=True)
    (machine.directory / "home/.cargo/env").touch()
    assert f"It is installed: . {machine.directory}/home/.cargo/env\n" in machine.refused()


def test_old_rust_of_the_distribution(machine):
    machine.program("cargo", CARGO.format(version="1.85.1"))
    said = machine.refused()
    assert said == f"Rust 1.85.1 ({machine.bin}/cargo) is too old: get 1.95 from https://rustup.rs\n"


@pytest.mark.parametrize(
    ("toolchain", "command"),
    [("stable-x86_64", "rustup update stable"), ("1.85.1-x86_64", "rustup update stable && rustup default stable")],
)
def test_old_rust_of_rustup(machine, toolchain, command):
    machine.program("cargo", CARGO.format(version="1.85.1"))
    machine.program("rustup", f'echo "{toolchain} (default)"')
    assert machine.refused().splitlines()[0] == f"Rust 1.85.1 is too old, 1.95 is needed: {command}"


def test_rustup_without_a_toolchain(machine):
    machine.program("rustup")
    machine.program("cargo", "echo 'error: rustup could not choose a version of cargo to run' >&2; exit 1")
    assert machine.refused() == (
        "cargo does not run: rustup default stable\nIt says: error: rustup could not choose a version of cargo to run\n"
    )


@pytest.mark.parametrize("target", ["all", "build", "test", "demo", "unit", "venv"])
def test_sudo_make(machine, target):
    machine.under_sudo()
    (machine.bin / "cargo").unlink()
    assert machine.refused(target) == "Run make without sudo; only make install needs it.\n"


@WHERE_DEBIAN_HAS_A_SERVER
def test_sudo_make_deps_installs_and_needs_no_rust(machine):
    machine.under_sudo()
    (machine.bin / "cargo").unlink()
    (machine.bin / "pg_config").unlink()
    machine.program("apt-get")
    _, said = machine.make("deps")
    assert "Still missing" in said
    calls = [call for call in machine.calls().splitlines() if call.startswith("apt-get ")]
    assert calls[0] == "apt-get update"
    assert re.match(r"apt-get install -y .*\bpostgresql-server-dev-\d+", calls[1])


@pytest.mark.skipif(os.getuid() != 0, reason="root builds in containers")
def test_root_builds(machine):
    assert machine.make()[0] == 0


@pytest.mark.parametrize("target", ["all", "test", "deps"])
def test_pg_config_that_is_none(machine, target):
    def said_of(pg_config):
        return machine.refused(target, f"PG_CONFIG={pg_config}").splitlines()[0]

    assert said_of("/nowhere/pg_config") == "PG_CONFIG=/nowhere/pg_config does not exist."
    assert said_of("pg_config_of_old") == "PG_CONFIG=pg_config_of_old is not on the PATH."
    there = machine.directory / "postgresql-15/bin"
    assert said_of(there) == f"PG_CONFIG={there} is a directory, and takes a program: PG_CONFIG={there}/pg_config"
    text = machine.directory / "postgresql-15/include/postgres.h"
    assert said_of(text) == f"PG_CONFIG={text} is not executable."
    other = machine.program("initdb", "echo initdb 15.9")
    assert said_of(other) == f'PG_CONFIG={other} is no pg_config: asked for --version, it says "initdb 15.9".'


def test_pg_config_of_a_version_that_is_not_supported(machine):
    old = machine.postgresql(12, on_the_path=False)
    assert "PostgreSQL 12.9 is not supported." in machine.refused(f"PG_CONFIG={old}")


def test_cargo_target_dir_is_honoured(machine):
    elsewhere = machine.directory / "elsewhere"
    status, said = machine.make(CARGO_TARGET_DIR=str(elsewhere))
    assert status == 0, said
    assert (elsewhere / "release/libaws_lambda_fdw.so").exists()
    assert (machine.checkout / "target/pg15/aws_lambda_fdw.so").exists()
    assert not (machine.checkout / "target/release").exists()


def test_crates_without_a_network(machine):
    fails = """case "$*" in
    tree*) exit 101 ;;
    fetch*) i=0; while [ $i -lt 340 ]; do i=$((i + 1)); echo "warning: spurious network error ($i tries remaining)"; done
        printf 'error: failed to download from `https://index.crates.io/config.json`\\n\\nCaused by:\\n' >&2
        printf '  [6] Could not resolve host: index.crates.io\\n' >&2; exit 101 ;;
esac
"""
    machine.program("cargo", fails + CARGO.format(version="1.95.0"))
    status, said = machine.make()
    assert status != 0
    assert "[6] Could not resolve host: index.crates.io" in said
    assert "Is there a network? Then again: make" in said
    assert len(said.splitlines()) <= 2 + 5, said
    assert "cargo build" not in machine.calls()
    # Where all that building needs was fetched before, it builds.
    machine.program("cargo", fails.replace("tree*)", "no-tree)") + CARGO.format(version="1.95.0"))
    assert machine.make()[0] == 0


@WHERE_DEBIAN_HAS_A_SERVER
def test_packages_without_a_network(machine):
    machine.program("sudo", 'exec "$@"')
    machine.program(
        "apt-get",
        """case $1 in
    update) echo "W: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease" >&2 ;;
    *) i=0; while [ $i -lt 340 ]; do i=$((i + 1)); printf "Ign:$i http://deb.debian.org\\nErr:$i http://deb.debian.org\\n"
            echo "E: Failed to fetch http://deb.debian.org/debian/pool/main/p$i.deb"; done >&2; exit 100 ;;
esac""",
    )
    (machine.bin / "pg_config").unlink()
    status, said = machine.make("deps")
    assert status != 0
    errors = [line for line in said.splitlines() if not line.startswith("==> ")]
    assert [line[:2] for line in errors[:-1]] == ["E:"] * 5, said
    assert errors[-1].startswith("apt-get could not install ") and errors[-1].endswith("Is there a network? Then again: make deps")


class TestInstall:
    def test_says_where_the_library_was_built_for(self, machine):
        other = machine.postgresql(16, on_the_path=False)
        assert machine.make()[0] == 0
        machine.under_sudo()
        assert machine.refused("install", f"PG_CONFIG={other}").splitlines() == [
            f"target was built for PostgreSQL 15: run make PG_CONFIG={other} to install it for 16.",
            f"Or, for the other: sudo make install PG_CONFIG={machine.bin}/pg_config",
        ]

    def test_without_a_pg_config_on_the_path_of_root(self, machine):
        pg_config = machine.directory / "postgresql-15/bin/pg_config"
        (machine.bin / "pg_config").unlink()
        assert machine.make(f"PG_CONFIG={pg_config}")[0] == 0
        machine.under_sudo()
        said = machine.refused("install")
        assert said.splitlines()[0] == "There is no pg_config on root's PATH, so nothing is installed."
        assert said.endswith(f"make install PG_CONFIG={pg_config}\n")
        assert machine.make("install", f"PG_CONFIG={pg_config}")[0] == 0

    def test_before_make(self, machine):
        machine.under_sudo()
        assert machine.refused("install") == "Nothing is built yet for PostgreSQL 15: run make first.\n"

    def test_after_the_source_changed(self, machine):
        assert machine.make()[0] == 0
        later = (machine.checkout / "target/pg15/aws_lambda_fdw.so").stat().st_mtime + 1
        os.utime(machine.checkout / "src/lib.rs", (later, later))
        machine.under_sudo()
        assert machine.refused("install") == "target/pg15/aws_lambda_fdw.so is older than src/lib.rs: run make first.\n"

    @pytest.mark.parametrize("variable", ["PKGLIBDIR", "EXTENSIONDIR"])
    def test_with_a_directory_that_is_not_known(self, machine, variable):
        assert machine.make()[0] == 0
        machine.under_sudo()
        for empty in ("", "share/extension"):
            assert "does not say where PostgreSQL 15 has its" in machine.refused("install", f"{variable}={empty}")

    def test_of_a_pg_config_that_does_not_know_its_directories(self, machine):
        assert machine.make()[0] == 0
        pg_config = machine.directory / "postgresql-15/bin/pg_config"
        pg_config.write_text("#!/bin/sh\n[ $1 = --version ] && echo PostgreSQL 15.9\n")
        machine.under_sudo()
        assert "does not say where PostgreSQL 15 has its" in machine.refused("install")

    def test_where_the_user_may_not_write(self):
        # A directory that other users can access.
        with tempfile.TemporaryDirectory(dir="/tmp") as directory:
            machine = Machine(pathlib.Path(directory))
            machine.of_a_user()
            assert machine.make()[0] == 0
            share = machine.directory / "postgresql-15/share"
            for path in (share, share / "extension"):
                path.chmod(0o555)
            status, said = machine.make("install")
            assert status != 0
            last = said.splitlines()[-1]
            assert last == f"{share}/extension is not ours to write: sudo make install PG_CONFIG={machine.bin}/pg_config"
            # The library is installed first, and is not left there alone.
            assert list((machine.directory / "postgresql-15/lib").iterdir()) == []

    def test_below_another_root(self, machine):
        status, said = machine.make("install", f"DESTDIR={machine.directory}/stage", "PKGLIBDIR=/lib", "EXTENSIONDIR=/extension")
        assert status == 0, said
        assert (machine.directory / "stage/lib/aws_lambda_fdw.so").exists()
        assert (machine.directory / "stage/extension/aws_lambda.control").exists()
