/** Checks the bytes that a call receives: another type than Uint8Array, or a detached buffer, is ERR_INVALID_BYTES. */
import { inspect, types } from "node:util";
import { invalidArgument } from "./misuse.ts";

/** Returns `bytes`. Throws a TypeError ERR_INVALID_BYTES with what to pass to `method` instead. */
export function checkBytes(bytes: Uint8Array, method: string): Uint8Array {
  if (!types.isUint8Array(bytes)) {
    throw invalidArgument("ERR_INVALID_BYTES", `${method} needs a Uint8Array: ${fixFor(bytes)}`);
  }
  if (bytes.length === 0 && isDetached(bytes)) {
    const message = `${method} got a Uint8Array whose buffer was detached by a transfer: pass a copy`;
    throw invalidArgument("ERR_INVALID_BYTES", message);
  }
  return bytes;
}

/** Throws ERR_INVALID_BYTES when the caller detached or resized a buffer that a call still uses. */
export function assertLength(bytes: Uint8Array, length: number, method: string): void {
  if (bytes.length === length) return;
  const message = `the buffer was detached or resized while ${method} waited: do not touch it until then`;
  throw invalidArgument("ERR_INVALID_BYTES", message);
}

/** Creates a view, which fails on a detached buffer. Node 20 has no ArrayBuffer.prototype.detached. */
function isDetached(bytes: Uint8Array): boolean {
  try {
    new Uint8Array(bytes.buffer);
    return false;
  } catch {
    return true;
  }
}

function fixFor(value: unknown): string {
  if (typeof value === "string") return "pass new TextEncoder().encode(text) instead of a string";
  if (types.isAnyArrayBuffer(value)) return "pass new Uint8Array(buffer) instead of the buffer itself";
  if (ArrayBuffer.isView(value)) {
    const { name } = value.constructor;
    return `pass new Uint8Array(view.buffer, view.byteOffset, view.byteLength) instead of the ${name}`;
  }
  if (Array.isArray(value)) return "pass Uint8Array.from(numbers), or writev(buffers) for several buffers";
  return `${value === null ? "null" : typeof value} is not one`;
}

/** Throws ERR_INVALID_BYTES unless it is an array of Uint8Arrays. */
export function checkBuffers(buffers: readonly Uint8Array[], method: string): void {
  if (!Array.isArray(buffers)) {
    const given = types.isUint8Array(buffers) ? "one Uint8Array" : inspect(buffers, { depth: 0 });
    throw invalidArgument("ERR_INVALID_BYTES", `${method} needs an array of Uint8Arrays, not ${given}`);
  }
  for (const buffer of buffers) checkBytes(buffer, method);
}
