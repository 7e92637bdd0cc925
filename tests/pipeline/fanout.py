"""Passes on what one app sends to several receivers, so that the same traffic goes over every path."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc


class FanOut(grpc.GenericRpcHandler):
    """An OTLP/gRPC receiver that answers a request when every receiver behind it has taken it, byte for byte."""

    def __init__(self, receivers: Sequence[str]) -> None:
        """Listen on 127.0.0.1 until the `with` block ends.

        Args:
            receivers: as host:port.
        """
        self._channels = [grpc.insecure_channel(receiver) for receiver in receivers]
        self._pool = ThreadPoolExecutor(4, "fan-out")
        self._server = grpc.server(self._pool)
        self._server.add_generic_rpc_handlers([self])
        self.otlp = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> FanOut:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0.2).wait()
        self._pool.shutdown()
        for channel in self._channels:
            channel.close()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def pass_on(request: bytes, context: grpc.ServicerContext) -> bytes:
            answers = [channel.unary_unary(details.method).future(request, timeout=10) for channel in self._channels]
            try:
                return [answer.result() for answer in answers][-1]
            except grpc.RpcError as refused:
                context.abort(refused.code(), refused.details())

        return grpc.unary_unary_rpc_method_handler(pass_on)
