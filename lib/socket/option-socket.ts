/** The part of TcpSocket that reads and sets socket options. */
import { AddressSocket } from "./address-socket.ts";
import { loadNative } from "./native.ts";
import { getRawOption, readOption, setRawOption, writeOption, writeOptions } from "./option-access.ts";
import type { OptionName, SocketOptions } from "./options.ts";

/** TcpSocket is the only class that is made of it. */
export abstract class OptionSocket extends AddressSocket {
  abstract reset(): void;

  /**
   * getsockopt(2). Throws ERR_UNKNOWN_OPTION, ERR_OPTION_WRITE_ONLY, ERR_OPTION_UNSUPPORTED; SocketError with any other
   * errno, such as ENOTCONN.
   */
  getsockopt<N extends OptionName>(name: N): SocketOptions[N] {
    const native = loadNative();
    return readOption(native, name, (row, into) => native.getsockopt(this.open, row, into));
  }

  /**
   * setsockopt(2). Throws ERR_UNKNOWN_OPTION, ERR_OPTION_VALUE, ERR_OPTION_READ_ONLY, ERR_OPTION_UNSUPPORTED;
   * SocketError with any other errno, such as EPERM.
   */
  setsockopt<N extends OptionName>(name: N, value: SocketOptions[N]): this {
    const native = loadNative();
    writeOption(native, name, value, (row, from) => native.setsockopt(this.open, row, from));
    return this;
  }

  /**
   * getsockopt(2) of an option that the table lacks: `level` and `name` are numbers of socketConstants(). Returns what
   * the kernel wrote, up to `length` bytes. Throws ERR_OPTION_CONSTANT, ERR_OPTION_VALUE; SocketError ENOPROTOOPT …
   */
  rawGetsockopt(level: number, name: number, length: number): Uint8Array {
    return getRawOption(loadNative(), this.open, level, name, length);
  }

  /** setsockopt(2) of an option that the table lacks, in the kernel's own bytes. Throws as rawGetsockopt() does. */
  rawSetsockopt(level: number, name: number, bytes: Uint8Array): this {
    setRawOption(loadNative(), this.open, level, name, bytes);
    return this;
  }

  /** @internal setsockopt(2) for each option in the order given. The socket is reset when it throws. */
  protected setAll(options: Partial<SocketOptions>, otherKeys?: readonly string[]): this {
    const native = loadNative();
    try {
      writeOptions(native, options, (row, from) => native.setsockopt(this.open, row, from), otherKeys);
      return this;
    } catch (error) {
      this.reset();
      throw error;
    }
  }
}
