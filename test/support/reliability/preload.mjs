// Builds the library that makes the addon's system calls fail, and arms it: see faults.c.
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readSync, writeFileSync, writeSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { CALLS, OPERATIONS, ROWS } from "./calls.mjs";

/** The words before the counters, in struct Control of faults.c. */
const WORDS = ["row", "error", "skip", "times", "matched", "injected"];
const COUNTERS = 64;
const BYTES = 4 * (WORDS.length + COUNTERS);
const FOR_EVER = 2 ** 31 - 1;

/** Compiles the library into `folder` with the C compiler, $CC or cc. Returns its path. */
export function buildPreload(folder) {
  mkdirSync(folder, { recursive: true });
  const [wrappers, library] = ["wrappers.c", "faults.so"].map((name) => path.join(folder, name));
  writeFileSync(wrappers, wrappersText());
  writeFileSync(path.join(folder, "rows.h"), rowsText());
  const source = fileURLToPath(new URL("faults.c", import.meta.url));
  const flags = ["-shared", "-fPIC", "-O1", "-fno-builtin", "-pthread", `-I${folder}`];
  execFileSync(process.env.CC || "cc", [...flags, "-o", library, source, wrappers, "-ldl"], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  return library;
}

function rowsText() {
  const rows = (list, key) => list.map((one) => `{${one[key]}, ${one.row}}`).join(", ");
  const numbered = ROWS.filter(({ number }) => number !== undefined);
  const operations = ROWS.filter(({ operation }) => operation !== undefined);
  return [
    `#define NUMBER_ROWS ${rows(numbered, "number")}`,
    `#define OPERATION_ROWS ${rows(operations, "operation")}`,
    `enum { kInstall = ${OPERATIONS.IORING_OP_FIXED_FD_INSTALL.operation} };\n`,
  ].join("\n");
}

/** A wrapper for each name of each call. It includes no header, whose declarations would differ in their types. */
function wrappersText() {
  const shared = [
    "int find_fault(int row, const void* caller);",
    "void* find_real(const char* name);",
    "void note_map(void* memory, int fd, long offset);",
    "int* __errno_location(void);",
  ];
  const wrappers = ROWS.filter(({ name }) => CALLS[name]?.parameters).flatMap(wrapperText);
  return `${[...shared, ...wrappers].join("\n")}\n`;
}

function wrapperText(row) {
  const { returns, parameters, failure, symbols } = row;
  return symbols.map(
    (symbol) => `${returns} ${symbol}(${parameters}) {
  static ${returns} (*real)(${parameters});
  if (!real) real = (${returns} (*)(${parameters}))find_real("${symbol}");
  const int error = find_fault(${row.row}, __builtin_return_address(0));
  if (error != 0) {
    ${row.isDoneFirst ? `real(${row.arguments});` : ""}
    *__errno_location() = error;
    return ${failure === "errno" ? "error" : failure};
  }
  ${returns} result = real(${row.arguments});
  ${row.after ? `${row.after};` : ""}
  return result;
}`,
  );
}

/** Memory that a program with the library shares with this process. */
export class Faults {
  #fd;
  #path;

  /** Makes the file, or opens the one that a test made. */
  constructor(file, isNew = true) {
    this.#path = file;
    if (isNew) writeFileSync(file, new Uint8Array(BYTES));
    this.#fd = openSync(file, "r+");
    if (isNew) this.disarm();
  }

  /** What a program needs in its environment. */
  environment(library) {
    return { LD_PRELOAD: library, FAULTS_FILE: this.#path };
  }

  /** From now on the calls after the first `skip` of this row fail, `times` times (absent: for ever). */
  arm(row, code, skip = 0, times = FOR_EVER) {
    this.#write(-1, 0, 0, 0, 0, 0);
    this.#write(row.row, os.constants.errno[code] ?? LINUX_ERRNOS[code], skip, times, 0, 0);
  }

  disarm() {
    this.#write(-1, 0, 0, 0, 0, this.injected());
  }

  /** How many calls failed since arm(). */
  injected() {
    return this.#words()[WORDS.indexOf("injected")];
  }

  /** How many calls of each row the addon has made since clear(). */
  seen() {
    return this.#words().slice(WORDS.length);
  }

  clear() {
    writeSync(this.#fd, new Uint8Array(4 * COUNTERS), 0, 4 * COUNTERS, 4 * WORDS.length);
  }

  close() {
    closeSync(this.#fd);
  }

  /** The row last: what it fails with must stand there before it is armed. */
  #write(row, ...rest) {
    const words = new Int32Array([row, ...rest]);
    writeSync(this.#fd, new Uint8Array(words.buffer, 4), 0, 4 * rest.length, 4);
    writeSync(this.#fd, new Uint8Array(words.buffer, 0, 4), 0, 4, 0);
  }

  #words() {
    const words = new Int32Array(BYTES / 4);
    readSync(this.#fd, new Uint8Array(words.buffer), 0, BYTES, 0);
    return words;
  }
}

/** Errnos of Linux that Node has no number for. */
const LINUX_ERRNOS = { EBADFD: 77, EBADR: 53, EHOSTDOWN: 112, ENONET: 64 };

/** The number of an errno. */
export function errnoOf(code) {
  return os.constants.errno[code] ?? LINUX_ERRNOS[code];
}
