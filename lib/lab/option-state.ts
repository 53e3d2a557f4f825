/** Whether a kernel has an option: one that does not know it refuses it, or takes it and does nothing. */
import type { OptionName, SocketOptions } from "../socket/options.ts";
import { TcpSocket } from "../socket/socket.ts";
import { supported } from "../socket/supported.ts";
import type { Subject } from "./experiment.ts";
import { ABSENT, WITHOUT_EFFECT } from "./experiment.ts";
import type { Instruments } from "./instruments.ts";
import { loopback } from "./instruments.ts";

/** The answer for a kernel without this option; null where it has it. */
type Lack = typeof ABSENT | typeof WITHOUT_EFFECT | null;

/** gVisor takes every option of the level IPPROTO_IP. */
export function expectedLack({ machine }: Subject): string {
  return machine === "gvisor" ? WITHOUT_EFFECT : ABSENT;
}

/** setsockopt(2), then a connect: whether IP_LOCAL_PORT_RANGE is refused, ignored or obeyed. */
export async function lackOfPortRange(instruments: Instruments): Promise<Lack> {
  const port = instruments.findPort();
  const localPortRange = { low: port, high: port };
  if (!isAccepted("localPortRange", { localPortRange })) return ABSENT;
  const { localPort } = await instruments.connectOnce(loopback(instruments.findPortOutside()), {
    options: { localPortRange },
  });
  return localPort === port ? null : WITHOUT_EFFECT;
}

/** setsockopt(2), then bind(2) to port 0: whether IP_BIND_ADDRESS_NO_PORT is refused, ignored or obeyed. */
export function lackOfLateBind(): Lack {
  if (!isAccepted("bindAddressNoPort", { bindAddressNoPort: true })) return ABSENT;
  using socket = TcpSocket.open(4, { bindAddressNoPort: true });
  return socket.bind(loopback(0)).getsockname().port === 0 ? null : WITHOUT_EFFECT;
}

/** Whether this kernel takes the option, be it that it cannot be read back. */
function isAccepted(name: OptionName, options: Partial<SocketOptions>): boolean {
  if (supported(name)) return true;
  try {
    TcpSocket.open(4, options).close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_OPTION_UNSUPPORTED") return false;
    throw error;
  }
}
