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


CLOSED = ("EROFS", "EACCES")
REFUSED = ("EACCES", "EPERM")

EXPECTED: dict[str, dict[str, tuple[object, ...]]] = {
    "it writes its own directories, and nothing outside of them": {
        **dict.fromkeys(("write state", "write runtime"), ("done",)),
        **dict.fromkeys(("write /etc", "write /opt", "write /var/lib", "write /usr"), CLOSED),
    },
    "it cannot read what is not its own": dict.fromkeys(
        ("read key", "read shadow", "list /root"), ("EACCES",)
    ),
    "it executes Python, but no shell and nothing that it wrote itself": {
        "exec python": ("done",),
        **dict.fromkeys(("exec sh", "exec own", "exec in memory"), REFUSED),
        **dict.fromkeys(("exec by the loader", "load own"), REFUSED),
        "map W+X": REFUSED,  # by systemd's filter, or by the kernel
    },
    "it can make no namespaces": dict.fromkeys(
        ("user namespace", "mount namespace", "net namespace"), ("EPERM",)
    ),
    "it can reach the internet and no other kind of network": {
        "inet socket": ("done",),
        **dict.fromkeys(("packet socket", "netlink socket"), ("EAFNOSUPPORT",)),
        "io_uring": ("EPERM",),  # which makes any socket, past the filter of calls
    },
    "it has no privileges and can gain none": {
        "capabilities": ("0" * 32,),
        "no new privileges": ("1",),
        "seccomp": ("2",),
    },
    "it sees no process of another user, nor has D-Bus start one": {
        "other processes": ([],),
        "D-Bus": ("EACCES",),  # ``loginctl enable-linger`` takes no right
    },
}


@pytest.mark.parametrize("rule", EXPECTED)
def test_the_service_is_confined(found: dict[str, object], rule: str) -> None:
    expected = EXPECTED[rule]
    assert {deed: end for deed, end in found.items() if deed in expected} == {
        deed: found[deed] if found[deed] in ends else ends for deed, ends in expected.items()
    }
