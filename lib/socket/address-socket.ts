/** The part of TcpSocket that has addresses. */
import type { Address, LocalAddress } from "./address.ts";
import { checkLocalAddress, readAddress } from "./address.ts";
import { addressBytes } from "./address-bytes.ts";
import { addressError } from "./connecting.ts";
import { errnoName, SocketError } from "./errors.ts";
import type { Handle } from "./native.ts";
import { loadNative } from "./native.ts";

/** TcpSocket is the only class that is made of it. */
export abstract class AddressSocket {
  /** @internal The handle of an open socket; throws ERR_SOCKET_CLOSED. */
  protected abstract get open(): Handle;
  /** @internal SO_ERROR: the error that has broken the connection, which is then failed; null without one. */
  protected abstract readBreak(): SocketError | null;

  /**
   * bind(2). Without a port ("10.0.0.1") or with port 0 the kernel picks one (autobind). Throws SocketError EADDRINUSE,
   * EADDRNOTAVAIL, EACCES …
   */
  bind(local: LocalAddress): this {
    const address = checkLocalAddress(local);
    const native = loadNative();
    const bytes = addressBytes(address, native);
    const result = native.bind(this.open, bytes);
    if (result >= 0) return this;
    throw addressError(native, this.open, result, { syscall: "bind", local: address });
  }

  /**
   * getsockname(2). The port is 0 before bind and connect. After a refused connect Linux still returns the port that
   * the connect used; other kernels may not.
   */
  getsockname(): Address {
    const result = readAddress(loadNative(), this.open, "getsockname");
    if (typeof result === "number") throw new SocketError(result, { syscall: "getsockname" });
    return result;
  }

  /**
   * getpeername(2). Throws SocketError ENOTCONN while there is no peer; once the connection is broken, the error that
   * broke it (SO_ERROR: ECONNRESET), and the state is then "failed".
   */
  getpeername(): Address {
    const result = readAddress(loadNative(), this.open, "getpeername");
    if (typeof result !== "number") return result;
    const broken = errnoName(result) === "ENOTCONN" ? this.readBreak() : null;
    throw broken ?? new SocketError(result, { syscall: "getpeername" });
  }

  /** @internal getsockname(2) and getpeername(2); an address is absent when its call fails. */
  protected readAddresses(): { local?: Address; peer?: Address } {
    const native = loadNative();
    const local = readAddress(native, this.open, "getsockname");
    const peer = readAddress(native, this.open, "getpeername");
    return { ...(typeof local === "object" && { local }), ...(typeof peer === "object" && { peer }) };
  }
}
