/** IP_BIND_ADDRESS_NO_PORT when each port is in use towards one peer: bind(address, 0) finds none, connect() does. */
import { TcpSocket } from "../../socket/socket.ts";
import type { Experiment } from "../experiment.ts";
import { walkOf } from "../experiment.ts";
import type { Instruments } from "../instruments.ts";
import { completeConnect, loopback, outcomeOf } from "../instruments.ts";
import { lackOfLateBind } from "../option-state.ts";

const PORTS = 8;
const LINUX = "without: EADDRINUSE from bind(); with: a port in use";

export const lateBindFull: Experiment = {
  name: "late-bind-full",
  question:
    "Every port is connected to one peer: which call finds a port for another peer, without late bind and with it?",
  expected: (subject) => (walkOf(subject) ? LINUX : null),
  run: async (instruments) => {
    const lack = lackOfLateBind();
    using listener = instruments.listenOutside();
    return await instruments.withRange(instruments.findPorts(PORTS), async () => {
      const held = await useUp(instruments, listener);
      try {
        const without = await bindThenConnect(instruments, false);
        const later = lack ?? (await bindThenConnect(instruments, true));
        return {
          answer: `without: ${without}; with: ${later}`,
          counts: { ports: PORTS, connected: held.length },
        };
      } finally {
        for (const socket of held) socket.reset();
      }
    });
  },
};

/** Connects to the listener until no port is left towards it. */
async function useUp({ range }: Instruments, listener: TcpSocket): Promise<TcpSocket[]> {
  const held: TcpSocket[] = [];
  for (let port = range.low; port <= range.high; port++) {
    const socket = TcpSocket.open(4);
    held.push(socket);
    await completeConnect(socket, listener.getsockname());
  }
  return held;
}

async function bindThenConnect(instruments: Instruments, bindAddressNoPort: boolean): Promise<string> {
  using socket = TcpSocket.open(4, { bindAddressNoPort });
  const bound = await outcomeOf(() => socket.bind(loopback(0)) && "bound");
  if (bound !== "bound") return `${bound} from bind()`;
  const dead = loopback(instruments.findPortOutside());
  const outcome = await outcomeOf(async () => (await completeConnect(socket, dead)) && "connected");
  return outcome === "ECONNREFUSED" ? "a port in use" : `${outcome} from connect()`;
}
