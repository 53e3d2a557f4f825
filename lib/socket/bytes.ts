/** The bytes that a call is given: what is not a Uint8Array, or has lost its memory, is ERR_INVALID_BYTES. */
import { types } from "node:util";
import { invalidArgument } from "./misuse.ts";

/** Returns the bytes that `method` was given. Throws a TypeError ERR_INVALID_BYTES that says what to pass instead. */
export function checkBytes(bytes: Uint8Array, method: string): Uint8Array {
  if (!types.isUint8Array(bytes)) {
    throw invalidArgument("ERR_INVALID_BYTES", `${method} needs a Uint8Array: ${fixFor(bytes)}`);
  }
  if (bytes.length === 0 && isDetached(bytes)) {
    const message = `${method} was given a Uint8Array whose buffer was detached by a transfer: pass a copy`;
    throw invalidArgument("ERR_INVALID_BYTES", message);
  }
  return bytes;
}

/** Throws ERR_INVALID_BYTES when the caller has detached or resized a buffer that a call still uses. */
export function assertLength(bytes: Uint8Array, length: number, method: string): void {
  if (bytes.length === length) return;
  const message = `the buffer was detached or resized while ${method} waited: leave it alone until then`;
  throw invalidArgument("ERR_INVALID_BYTES", message);
}

/** Without ArrayBuffer.prototype.detached, which Node 20 does not have: a detached buffer admits no new view. */
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
  return `${value === null ? "null" : typeof value} is none`;
}
