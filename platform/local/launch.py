"""Becomes another program that ends when its parent does, if asked as a user other than root.

    python -I -S launch.py PARENT_PID DEATH_SIGNAL direct|userns|nobody PROGRAM [ARGUMENT ...]

A small program of its own instead of `preexec_fn`: code between fork and exec is unsafe in a
process with threads. PostgreSQL refuses to run as root, hence the identities:

direct  as we are.
userns  root inside a user namespace of its own, where it is called 1000. Files stay root's.
nobody  where the kernel refuses namespaces. The process keeps the one capability that lets it
        pass closed folders (a repository below /root), for access(2) too: nothing has to be copied
        or opened up.

Ends with 71 and one line on stderr where the kernel refuses.
"""

import ctypes
import os
import pwd
import sys

REFUSED = 71
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 4
CLONE_NEWUSER = 0x10000000
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2

libc = ctypes.CDLL(None, use_errno=True)


def call(result: int, what: str) -> None:
    """Raise OSError where a call of the C library says that it failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def write(path: str, text: str) -> None:
    """Write a file of /proc in one call, as the kernel wants it."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def end_with_parent(number: int) -> None:
    """Ask the kernel for this signal when our parent ends. Raise OSError where it refuses."""
    call(libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def enter_user_namespace() -> None:
    """Go into a new user namespace in which our user is called 1000."""
    user, group = os.geteuid(), os.getegid()
    call(libc.unshare(CLONE_NEWUSER), "unshare")
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"1000 {user} 1")
    write("/proc/self/gid_map", f"1000 {group} 1")


def become_nobody() -> None:
    """Drop root, keeping only the right to pass folders that are closed to others."""
    nobody = pwd.getpwnam("nobody")
    # By default access(2) leaves aside the capabilities of anyone but root (capabilities(7)), and
    # PostgreSQL looks for its own program by it. Without CAP_SETPCAP the kernel refuses; folders
    # that are open to others work even so.
    libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    call(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl")
    os.setgroups([])
    os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
    os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
    # The narrower right first; containers often have only the wider one.
    if not (keep_capability(CAP_DAC_READ_SEARCH) or keep_capability(CAP_DAC_OVERRIDE)):
        keep_capability(None)


def keep_capability(number: int | None) -> bool:
    """Keep this one capability (or none) over exec; return whether the kernel agreed."""
    mask = 0 if number is None else 1 << number
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    # Two blocks (capabilities 0 to 31, 32 to 63) of: effective, permitted, inheritable.
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    wider = (ctypes.c_uint32 * 6)()
    call(libc.capget(header, wider), "capget")
    if mask & ~wider[1]:
        return False
    call(libc.capset(header, data), "capset")
    if number is not None:
        call(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0), "prctl")
    return True


def main() -> None:
    """Do what the arguments say; return never."""
    parent, death_signal, identity = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    try:
        if identity == "userns":
            enter_user_namespace()
        elif identity == "nobody":
            become_nobody()
        # After the change of identity, which clears it.
        end_with_parent(death_signal)
    except (OSError, KeyError) as error:
        sys.stderr.write(f"cannot start as {identity}: {error}\n")
        sys.exit(REFUSED)
    if os.getppid() != parent:  # the parent died before the line above
        sys.exit(REFUSED)
    os.execv(sys.argv[4], sys.argv[4:])  # noqa: S606


if __name__ == "__main__":
    main()
