/** What reading and setting an option makes of each answer of the kernel, with answers that a test makes up. */
import { readFileSync } from "node:fs";
import os from "node:os";
import { runInNewContext } from "node:vm";
import { describe, expect, it, vi } from "vitest";
import { SocketError } from "../../lib/socket/errors.ts";
import type { Handle, Native, OptionRow } from "../../lib/socket/native.ts";
import { loadNative } from "../../lib/socket/native.ts";
import {
  checkOptions,
  getRawOption,
  readOption,
  setRawOption,
  writeOption,
  writeOptions,
} from "../../lib/socket/option-access.ts";
import { optionIndex } from "../../lib/socket/option-values.ts";
import type { OptionName } from "../../lib/socket/options.ts";
import { catchError, withNative } from "../support/harness.ts";

const native = loadNative();
const handle = {} as Handle;

type Code = keyof typeof os.constants.errno;

const errno = (code: Code) => -os.constants.errno[code];

/** The addon, with a row that is changed so. */
function withRow(name: OptionName, changes: Partial<OptionRow>): Native {
  return {
    ...native,
    options: native.options.map((row) => (row.name === name ? { ...row, ...changes } : row)),
  };
}

/** The error of setting an option when setsockopt(2) returns this. */
function setError(name: OptionName, value: unknown, code: Code, addon: Native = native): Error {
  return catchError(() => writeOption(addon, name, value, () => errno(code))) as Error;
}

function getError(name: OptionName, code: Code, addon: Native = native): Error {
  return catchError(() => readOption(addon, name, () => errno(code))) as Error;
}

describe("a refused option", () => {
  it("is a SocketError with the option, the value and the page of the manual", () => {
    const error = setError("noDelay", true, "EINVAL");
    expect(error).toBeInstanceOf(SocketError);
    expect(error).toMatchObject({ code: "EINVAL", syscall: "setsockopt", errno: errno("EINVAL") });
    expect(error.message).toMatch(/: TCP_NODELAY true, tcp\(7\)$/);
    expect(getError("noDelay", "EINVAL").message).toMatch(/: TCP_NODELAY, tcp\(7\)$/);
    expect(getError("noDelay", "EINVAL")).toMatchObject({ syscall: "getsockopt" });
  });

  it("shows a text in quotes, and an object in one line", () => {
    expect(setError("congestion", "a b", "EINVAL").message).toContain(': TCP_CONGESTION "a b", ');
    const range = { low: 40_000, high: 50_000 };
    expect(setError("localPortRange", range, "EINVAL").message).toContain("{ low: 40000, high: 50000 }, ");
    // Wider than the line that inspect() breaks by itself.
    const filter = Array.from({ length: 20 }, () => [6, 0, 0, 262_144]);
    expect(setError("filter", filter, "EINVAL").message).toMatch(/SO_ATTACH_FILTER \[.*\], /);
  });

  it.each([
    "EPERM",
    "EACCES",
  ] as const)("of %s names the capability that it needs, if there is one", (code) => {
    expect(setError("noDelay", true, code, withRow("noDelay", { capability: "CAP_X" })).message).toMatch(
      /TCP_NODELAY true, it needs CAP_X$/,
    );
    expect(setError("noDelay", true, code).message).toMatch(/TCP_NODELAY true, tcp\(7\)$/);
  });

  it("of another errno does not", () => {
    const addon = withRow("noDelay", { capability: "CAP_X" });
    expect(setError("noDelay", true, "EINVAL", addon).message).toMatch(/tcp\(7\)$/);
  });

  it.each(["ENOPROTOOPT", "ENOTSUP"] as const)("of %s is one that is not supported here", (code) => {
    expect(setError("noDelay", true, code, withRow("noDelay", { since: "9.9" }))).toMatchObject({
      code: "ERR_OPTION_UNSUPPORTED",
      message: "noDelay (TCP_NODELAY) is not supported here: Linux has it since 9.9",
    });
    expect(setError("noDelay", true, code, withRow("noDelay", { ipv6Only: true }))).toMatchObject({
      code: "ERR_OPTION_UNSUPPORTED",
      message: "noDelay (TCP_NODELAY) is not supported here: it is an option of IPv6 sockets",
    });
  });

  it("that this build's headers do not know is not supported, whatever the errno", () => {
    const addon = withRow("noDelay", { inBuild: false });
    expect(setError("noDelay", true, "EINVAL", addon)).toMatchObject({ code: "ERR_OPTION_UNSUPPORTED" });
    expect(getError("noDelay", "EINVAL", addon)).toMatchObject({ code: "ERR_OPTION_UNSUPPORTED" });
  });
});

describe.runIf(process.platform === "linux")("an option with a list of names", () => {
  const valuesOf = (name: string) =>
    readFileSync(`/proc/sys/net/ipv4/${name}`, "utf8").trim().split(/\s+/).join(", ");

  it("shows those that there are, and those that are allowed", () => {
    const available = `use one of net.ipv4.tcp_available_congestion_control (${valuesOf("tcp_available_congestion_control")})`;
    const allowed = `use one of net.ipv4.tcp_allowed_congestion_control (${valuesOf("tcp_allowed_congestion_control")})`;
    const ends = (code: Code) => setError("congestion", "vegas", code).message.split('"vegas", ')[1];
    expect(ends("ENOENT")).toBe(available);
    for (const code of ["EPERM", "EACCES"] as const) expect(ends(code)).toBe(`${allowed}, or CAP_NET_ADMIN`);
    expect(ends("EINVAL")).toBe("tcp(7)");
  });

  it("of protocols says that a module may be missing", () => {
    const ends = (code: Code) => setError("upperLayerProtocol", "tls", code).message.split('"tls", ')[1];
    expect(ends("ENOENT")).toMatch(/^use one of net\.ipv4\.tcp_available_ulp.*, or load its module$/);
    expect(ends("EINVAL")).not.toContain("tcp_available_ulp");
  });
});

it("the address of a connection that netfilter did not redirect", () => {
  expect(getError("originalDestination", "ENOENT").message).toMatch(
    /: SO_ORIGINAL_DST, this connection was not redirected by netfilter \(REDIRECT, DNAT\)$/,
  );
  expect(getError("originalDestination", "EINVAL").message).not.toContain("redirected");
  expect(getError("noDelay", "ENOENT").message).toMatch(/tcp\(7\)$/);
});

describe("setting several", () => {
  it("calls in their order, and leaves out what is undefined", () => {
    const calls: [number, unknown][] = [];
    const call = (row: number, value: BigInt64Array | Uint8Array) => calls.push([row, value[0]]);
    writeOptions(native, { keepAlive: true, noDelay: undefined, mark: 7 } as object, call);
    expect(calls).toEqual([
      [optionIndex(native.options, "keepAlive"), 1n],
      [optionIndex(native.options, "mark"), 7n],
    ]);
  });

  it("ends at the first that fails", () => {
    const call = vi.fn(() => errno("EINVAL"));
    expect(() => writeOptions(native, { keepAlive: true, noDelay: true }, call)).toThrow("SO_KEEPALIVE");
    expect(call).toHaveBeenCalledTimes(1);
  });

  it("names the other keys that the object may have, in a near miss", () => {
    const near = expect.objectContaining({ message: expect.stringContaining('did you mean "namespace"?') });
    const misspelt = { namespac: 1 } as object;
    expect(() => writeOptions(native, misspelt, () => 0, ["namespace"])).toThrow(near);
    expect(() => checkOptions("f()", native, misspelt, ["namespace"])).toThrow(near);
    expect(() => writeOptions(native, misspelt, () => 0)).not.toThrow(near);
  });

  it("is checked before, without the values of other keys", () => {
    expect(() => checkOptions("f()", native, { noDelay: undefined } as object)).not.toThrow();
    const wrong = { noDelay: 1 } as object;
    expect(() => checkOptions("f()", native, wrong)).toThrow("noDelay");
    expect(() =>
      checkOptions("f()", native, { ...wrong, other: 1 } as object, ["other", "noDelay"]),
    ).not.toThrow();
    expect(catchError(() => checkOptions("f()", native, 5 as never))).toMatchObject({
      code: "ERR_INVALID_OPTIONS",
      message: expect.stringContaining("f()"),
    });
    expect(catchError(() => checkOptions("f()", native, null as never, ["other"]))).toMatchObject({
      message: expect.stringContaining("other"),
    });
  });
});

describe("an option by number", () => {
  it.each([
    ["level", -1, 1],
    ["level", 1.5, 1],
    ["level", 2 ** 31, 1],
    ["name", 1, -1],
    ["name", 1, "2" as unknown as number],
  ])("a wrong %s is ERR_OPTION_CONSTANT (%s, %s)", (what, level, name) => {
    const wrong = {
      code: "ERR_OPTION_CONSTANT",
      message: expect.stringMatching(`^${what} .* is not a constant`),
    };
    expect(catchError(() => getRawOption(native, handle, level, name, 4))).toMatchObject(wrong);
    expect(catchError(() => setRawOption(native, handle, level, name, new Uint8Array(4)))).toMatchObject(
      wrong,
    );
  });

  it("passes the lowest and the highest number, and returns as many bytes as the kernel wrote", () => {
    const rawGetsockopt = vi.fn((_handle, _level, _name, bytes: Uint8Array) => bytes.fill(7).length - 1);
    const addon = { ...native, rawGetsockopt } as Native;
    expect(getRawOption(addon, handle, 0, 2 ** 31 - 1, 4)).toEqual(new Uint8Array([7, 7, 7]));
    expect(rawGetsockopt.mock.calls[0]!.slice(0, 3)).toEqual([handle, 0, 2 ** 31 - 1]);
  });

  it.each([-1, 1.5, 2 ** 20 + 1, Number.NaN])("a length of %d is ERR_OPTION_VALUE", (length) => {
    expect(catchError(() => getRawOption(native, handle, 1, 1, length))).toMatchObject({
      code: "ERR_OPTION_VALUE",
    });
  });

  it.each([0, 2 ** 20])("a length of %d is possible", (length) => {
    const addon = { ...native, rawGetsockopt: (_handle, _level, _name, bytes) => bytes.length } as Native;
    expect(getRawOption(addon, handle, 1, 1, length)).toHaveLength(length);
  });

  it("takes bytes only", () => {
    const setError = catchError(() => setRawOption(native, handle, 1, 1, [1] as never));
    expect(setError).toMatchObject({ code: "ERR_OPTION_VALUE" });
  });

  it("that is refused names every constant with this number", async () => {
    const refuse = () => errno("EINVAL");
    const addon: Native = { ...native, rawGetsockopt: refuse, rawSetsockopt: refuse };
    await withNative({ constants: { ONE: 7, OTHER: 7, THIRD: 8 } }, async () => {
      const getError = catchError(() => getRawOption(addon, handle, 6, 7, 4));
      expect(getError).toMatchObject({ code: "EINVAL", syscall: "getsockopt" });
      expect((getError as Error).message).toMatch(/: level 6, option 7 \(one of ONE, OTHER\)$/);
      const setError = catchError(() => setRawOption(addon, handle, 6, 9, new Uint8Array(4)));
      expect(setError).toMatchObject({ code: "EINVAL", syscall: "setsockopt" });
      expect((setError as Error).message).toMatch(/: level 6, option 9$/);
    });
  });

  it("that is accepted throws nothing", () => {
    const addon: Native = { ...native, rawSetsockopt: () => 0 };
    expect(() => setRawOption(addon, handle, 0, 0, new Uint8Array(0))).not.toThrow();
  });
});

it("an option that can only be set is not read", () => {
  const addon = withRow("noDelay", { access: "write-only" });
  const call = vi.fn(() => 0);
  expect(catchError(() => readOption(addon, "noDelay", call))).toMatchObject({
    code: "ERR_OPTION_WRITE_ONLY",
    message: "noDelay (TCP_NODELAY) can only be set",
  });
  expect(call).not.toHaveBeenCalled();
});

it("an option is read as the kernel wrote it, also when that is nothing", () => {
  const call = vi.fn((_row: number, memory: BigInt64Array | Uint8Array) => {
    memory[0] = 1n as never;
    return 1;
  });
  expect(readOption(native, "noDelay", call)).toBe(true);
  expect(call.mock.calls[0]![0]).toBe(optionIndex(native.options, "noDelay"));
  expect(readOption(native, "congestion", () => 0)).toBe("");
  expect(() => writeOption(native, "noDelay", true, () => 0)).not.toThrow();
});

describe("a value of the wrong type", () => {
  const wrong: readonly [name: OptionName, value: unknown][] = [
    ["localPortRange", undefined],
    ["localPortRange", 5],
    ["localPortRange", { low: 1 }],
    ["localPortRange", { low: "1", high: "2" }],
    ["pathMtuDiscovery", Object.create(null)],
    ["pathMtuDiscovery", Symbol("want")],
  ];

  it.each(wrong)("of %s is ERR_OPTION_VALUE, which names the option: %o", (name, value) => {
    const error = catchError(() => writeOption(native, name, value, () => 0));
    expect(error).toMatchObject({ code: "ERR_OPTION_VALUE", message: expect.stringContaining(name) });
  });

  it("of a raw option is named, with what to use", () => {
    expect(() => setRawOption(native, handle, 1, 9, "on" as never)).toThrow(
      /cannot be 'on': use a Uint8Array/,
    );
  });
});

it("bytes may be of another realm, as in the tests of jest", () => {
  const bytes = runInNewContext("new Uint8Array(16)") as Uint8Array;
  const set = vi.fn(() => 0);
  writeOption(native, "fastOpenKey", bytes, set);
  writeOption(native, "md5Signature", { peer: "127.0.0.1:9", key: bytes }, set);
  setRawOption({ ...native, rawSetsockopt: set }, handle, 1, 9, bytes);
  expect(set).toHaveBeenCalledTimes(3);
});
