"""Python's socket, a new one for each attempt. Arguments: port, milliseconds."""
import json
import socket
import sys
import time

peer = ("127.0.0.1", int(sys.argv[1]))
started_ns = time.monotonic_ns()
ends_ns = started_ns + int(sys.argv[2]) * 1_000_000
count = 0
while time.monotonic_ns() < ends_ns:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.connect(peer)
        sys.exit("something listens there")
    except ConnectionRefusedError:
        count += 1
    finally:
        one.close()
print(json.dumps({"count": count, "elapsedNs": time.monotonic_ns() - started_ns}))
