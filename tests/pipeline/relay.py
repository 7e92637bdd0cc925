"""A TCP relay in front of several receivers, like a load balancer: it can move a connection to another."""

from __future__ import annotations

import contextlib
import select
import socket
import threading


class Relay:
    """Listens on 127.0.0.1, and passes each connection on to the receiver of the moment, byte for byte."""

    def __init__(self, receiver: str) -> None:
        self._receiver = receiver
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Relay:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # wakes accept()
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._cut()
        for thread in self._threads:
            thread.join(5)

    def move(self, receiver: str) -> None:
        """Cut every connection; those who connect again reach another receiver, as host:port."""
        self._receiver = receiver
        self._cut()

    def _start(self, run: object, *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _cut(self) -> None:
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                host, _, port = self._receiver.rpartition(":")
                try:
                    onward = socket.create_connection((host, int(port)), 5)
                except OSError:
                    connection.close()
                    continue
                self._open += [connection, onward]
                self._start(self._pump, connection, onward)

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError), one, other:
            while True:
                for ready in select.select([one, other], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (other if ready is one else one).sendall(data)
