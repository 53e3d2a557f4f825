/** How a local port is asked for. */
export type Method =
  /** connect(2) on a socket without a name. */
  | "connect"
  /** bind(2) with port 0. */
  | "bind"
  /** IP_BIND_ADDRESS_NO_PORT, bind(2) with port 0, then connect(2): the port is picked there. */
  | "late-bind"
  /** IP_LOCAL_PORT_RANGE over the whole ephemeral range, then connect(2). */
  | "range";

/** Every way to ask for a local port. */
export const METHODS: readonly Method[] = ["connect", "bind", "late-bind", "range"];
