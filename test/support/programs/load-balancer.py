# What a load balancer between sockets and network does (Cilium): cgroup/connect4 rewrites SERVICE:PORT to
# 127.0.0.1:BACKEND, cgroup/getpeername4 rewrites it back.   load-balancer.py CGROUP SERVICE PORT BACKEND
import ctypes, os, socket, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
PROG_LOAD, PROG_ATTACH, CGROUP_SOCK_ADDR, CONNECT4, GETPEERNAME4 = 5, 8, 18, 10, 29


def bpf(command, attributes):
    memory = ctypes.create_string_buffer(attributes, 128)
    result = libc.syscall(BPF_SYSCALL, command, memory, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def load(instructions, kind):
    code = b"".join(struct.pack("<BBhi", *each) for each in instructions)
    memory, license = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    head = (CGROUP_SOCK_ADDR, len(instructions), ctypes.addressof(memory), ctypes.addressof(license))
    return bpf(PROG_LOAD, struct.pack("<IIQQIIQII16sII", *head, 0, 0, 0, 0, 0, b"balancer", 0, kind))


def signed(word):
    return word - (1 << 32) if word >= 1 << 31 else word


def word_of(host):
    return signed(struct.unpack("<I", socket.inet_aton(host))[0])


# struct bpf_sock_addr: user_ip4 is at 4, user_port at 24; r0 = 1 lets the call go on.
def rewrite(host, port, to_host, to_port):
    match = [(0x61, 0x12, 4, 0), (0x56, 0x02, 6, word_of(host)), (0x61, 0x12, 24, 0), (0x56, 0x02, 4, socket.htons(port))]
    store = [(0xB4, 0x03, 0, word_of(to_host)), (0x63, 0x31, 4, 0), (0xB4, 0x03, 0, socket.htons(to_port)), (0x63, 0x31, 24, 0)]
    return match + store + [(0xB7, 0, 0, 1), (0x95, 0, 0, 0)]


group = os.open(sys.argv[1], os.O_RDONLY)
service, port, backend = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for kind, code in (
    (CONNECT4, rewrite(service, port, "127.0.0.1", backend)),
    (GETPEERNAME4, rewrite("127.0.0.1", backend, service, port)),
):
    bpf(PROG_ATTACH, struct.pack("<IIII", group, load(code, kind), kind, 0))
