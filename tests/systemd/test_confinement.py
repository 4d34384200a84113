"""What the service may do on its host, and what it may not, tried from within its own sandbox."""

import json

import pytest

from tests.systemd.service import PYTHON, Service

_PROBE = """
import ctypes, errno, json, mmap, os, pathlib, re, shutil, socket, subprocess, sys

def attempt(deed):
    try:
        deed()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def write(path):
    def deed():
        with open(path, "w") as file:
            file.write("x")
        os.unlink(path)
    return deed

def unshare(flag):
    def deed():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(flag) != 0:
            raise OSError(ctypes.get_errno(), "")
    return deed

def io_uring():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 1, ctypes.create_string_buffer(120)) < 0:  # io_uring_setup
        raise OSError(ctypes.get_errno(), "")

def status(key):
    with open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith(key))

home = sys.argv[1]
writable_and_executable = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
def own_program():
    path = home + "/program"
    with open(path, "w") as file:
        file.write("#!/usr/bin/python3\\n")
    os.chmod(path, 0o700)
    subprocess.run([path], check=True)

def in_memory():
    program = os.memfd_create("program")
    with open("/bin/sh", "rb") as shell:
        os.write(program, shell.read())
    subprocess.run([f"/proc/self/fd/{program}", "-c", "true"], pass_fds=[program], check=True)

def by_the_loader():
    with open("/usr/bin/python3", "rb") as python:
        loader = re.search(rb"/[a-z0-9/]+/ld-[-a-z0-9_.]+", python.read())[0]
    if subprocess.run([loader, "/bin/sh", "-c", "true"], stderr=subprocess.DEVNULL).returncode:
        raise PermissionError(errno.EACCES, "")

def as_library():
    path = home + "/library.so"
    shutil.copy(next(pathlib.Path("/usr/lib").rglob("libz.so.1")), path)
    try:
        ctypes.CDLL(path)
    except OSError:
        raise PermissionError(errno.EACCES, "") from None

def ask_dbus():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect("/run/dbus/system_bus_socket")

print("probe " + json.dumps({
    "write state": attempt(write(home + "/x")),
    "write runtime": attempt(write(os.environ["RUNTIME_DIRECTORY"] + "/x")),
    "write /etc": attempt(write("/etc/voicekeeper/x")),
    "write /opt": attempt(write("/opt/voicekeeper/x")),
    "write /var/lib": attempt(write("/var/lib/x")),
    "write /usr": attempt(write("/usr/local/bin/x")),
    "read key": attempt(lambda: open("/etc/voicekeeper/apixo-api-key").close()),
    "read shadow": attempt(lambda: open("/etc/shadow").close()),
    "list /root": attempt(lambda: os.listdir("/root")),
    "exec sh": attempt(lambda: subprocess.run(["/bin/sh", "-c", "true"], check=True)),
    "exec own": attempt(own_program),
    "exec in memory": attempt(in_memory),
    "exec by the loader": attempt(by_the_loader),
    "load own": attempt(as_library),
    "exec python": attempt(lambda: subprocess.run(["/usr/bin/python3", "-c", ""], check=True)),
    "map W+X": attempt(lambda: mmap.mmap(-1, 4096, prot=writable_and_executable)),
    "user namespace": attempt(unshare(0x10000000)),
    "mount namespace": attempt(unshare(0x00020000)),
    "net namespace": attempt(unshare(0x40000000)),
    "packet socket": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "netlink socket": attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    "inet socket": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()),
    "other processes": [pid for pid in os.listdir("/proc") if pid.isdigit()
                        and os.stat("/proc/" + pid).st_uid != os.getuid()],
    "io_uring": attempt(io_uring),
    "D-Bus": attempt(ask_dbus),
    "capabilities": status("CapEff") + status("CapBnd"),
    "no new privileges": status("NoNewPrivs"),
    "seccomp": status("Seccomp"),
}))
"""


@pytest.fixture(scope="module")
def found(service: Service) -> dict[str, object]:
    """What a program found that ran in place of the daemon."""
    service.fresh()
    service.stop()
    service.machine.write("/opt/voicekeeper/probe.py", _PROBE)
    service.drop_in(
        "[Service]\nType=oneshot\nRestart=no\nExecStart=\n"
        f"ExecStart={PYTHON} /opt/voicekeeper/probe.py /var/lib/voicekeeper\n"
    )
    service.systemctl("start")
    (line,) = [e["MESSAGE"] for e in service.journal() if e["MESSAGE"].startswith("probe ")]
    service.machine.run("rm", "/opt/voicekeeper/probe.py")
    found: dict[str, object] = json.loads(line.removeprefix("probe "))
    return found


@pytest.mark.parametrize("place", ["state", "runtime"])
def test_it_can_write_its_own_directory(found: dict[str, object], place: str) -> None:
    assert found[f"write {place}"] == "done"


@pytest.mark.parametrize("place", ["/etc", "/opt", "/var/lib", "/usr"])
def test_it_cannot_write_outside_of_its_own_directories(
    found: dict[str, object], place: str
) -> None:
    assert found[f"write {place}"] in ("EROFS", "EACCES")


@pytest.mark.parametrize("secret", ["read key", "read shadow", "list /root"])
def test_it_cannot_read_what_is_not_its_own(found: dict[str, object], secret: str) -> None:
    assert found[secret] == "EACCES"


@pytest.mark.parametrize(
    "program", ["exec sh", "exec own", "exec in memory", "exec by the loader", "load own"]
)
def test_it_cannot_execute_a_shell_or_what_it_wrote_itself(
    found: dict[str, object], program: str
) -> None:
    assert found[program] in ("EACCES", "EPERM")
    assert found["exec python"] == "done"


def test_it_cannot_have_memory_that_is_writable_and_executable(found: dict[str, object]) -> None:
    assert found["map W+X"] in ("EPERM", "EACCES")  # by systemd's filter, or by the kernel


@pytest.mark.parametrize("kind", ["user", "mount", "net"])
def test_it_cannot_make_namespaces(found: dict[str, object], kind: str) -> None:
    assert found[f"{kind} namespace"] == "EPERM"


def test_it_can_reach_the_internet_and_no_other_kind_of_network(found: dict[str, object]) -> None:
    assert found["inet socket"] == "done"
    assert (found["packet socket"], found["netlink socket"]) == ("EAFNOSUPPORT", "EAFNOSUPPORT")
    assert found["io_uring"] == "EPERM"  # which makes any socket, past the filter of calls


def test_it_has_no_privileges_and_can_gain_none(found: dict[str, object]) -> None:
    assert found["capabilities"] == "0" * 32
    assert (found["no new privileges"], found["seccomp"]) == ("1", "2")


def test_it_sees_no_process_of_another_user(found: dict[str, object]) -> None:
    assert found["other processes"] == []


def test_it_cannot_have_others_start_programs_of_its_users(found: dict[str, object]) -> None:
    """``loginctl enable-linger`` takes no right: logind starts what stands in the user's home."""
    assert found["D-Bus"] == "EACCES"
