"""Runs a command where it can reach nothing but this machine's loopback.

In a network namespace of its own, for servers that ask the network for newer versions of themselves
and have no setting against it. `unshare` has made the namespace; in a new one loopback is down.
"""

import fcntl
import os
import socket
import struct
import sys

# netdevice(7): the request that sets an interface's flags, and the flag that it is up.
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def prefix():
    """What to put before a command. Only root may make a network namespace without one of users."""
    users = [] if os.geteuid() == 0 else ["--map-current-user"]
    return ["unshare", "--net", *users, sys.executable, __file__]


def main():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
