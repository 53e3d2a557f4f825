/** The methods by which a client gets its local port. */
import { checkChoice } from "../socket/misuse.ts";

/** The system calls by which the kernel picks a local port. */
export type Method =
  /** connect(2) on an unbound socket. */
  | "connect"
  /** bind(2) with port 0. */
  | "bind"
  /** IP_BIND_ADDRESS_NO_PORT, bind(2) with port 0, then connect(2): the port is picked there. */
  | "late-bind"
  /** IP_LOCAL_PORT_RANGE over the whole ephemeral range, then connect(2). */
  | "range";

/** Every method. */
export const METHODS: readonly Method[] = ["connect", "bind", "late-bind", "range"];

/** Throws ERR_UNKNOWN_METHOD with the near miss. */
export function checkMethod(method: Method): void {
  checkChoice("ERR_UNKNOWN_METHOD", "a method", method, METHODS);
}
