"""Readers of streams for bench/compare.py: they take everything and look at nothing."""
import os
import socket
import struct
import threading

CONTENT = b"protobuf:dnstap.Dnstap"


def control(kind: int, content: bytes = b"") -> bytes:
    """A control frame of Frame Streams."""
    fields = struct.pack("!I", kind) + (struct.pack("!II", 1, len(content)) + content if content else b"")
    return struct.pack("!II", 0, len(fields)) + fields


def take(listener: socket.socket, tap: bool) -> None:
    """Serves one writer after the other, for ever."""
    buffer = bytearray(1 << 20)
    while True:
        connection, _ = listener.accept()
        with connection:
            if tap:
                connection.recv(len(control(4, CONTENT)), socket.MSG_WAITALL)
                connection.sendall(control(1, CONTENT))
            while connection.recv_into(buffer):
                pass


def take_datagrams(socket_: socket.socket) -> None:
    """Takes datagrams, for ever."""
    buffer = bytearray(1 << 16)
    while True:
        socket_.recv_into(buffer)


def streams(folder: str) -> dict[str, str]:
    """Opens a reader for every kind: the kind and its [[stream]]. Their threads end with this process."""
    def serve(target, *arguments) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()

    tap, journal = (os.path.join(folder, name) for name in ("tap.sock", "journal.sock"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(tap)
    listener.listen()
    serve(take, listener, True)
    tcp = socket.create_server(("127.0.0.1", 0))
    serve(take, tcp, False)
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagrams.bind(journal)
    serve(take_datagrams, datagrams)
    places = {
        "dnstap": f"unix:{tap}",
        "rpz": "file:/dev/null",
        "cef": "file:/dev/null",
        "syslog": "tcp:{}:{}".format(*tcp.getsockname()),
        "json": "file:/dev/null",
        "journald": f"unix:{journal}",
    }
    return {kind: f'[[stream]]\nkind = "{kind}"\nto = "{to}"\n' for kind, to in places.items()}
