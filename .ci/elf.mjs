// elf(5): what a shared object needs of the machine that loads it.
import { readFileSync } from "node:fs";

/** The numbers of e_machine by Node's name of the architecture. */
const MACHINES = { 62: "x64", 183: "arm64" };
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const [DT_NEEDED, DT_STRTAB, DT_VERNEED, DT_VERNEEDNUM] = [1, 5, 0x6ffffffe, 0x6fffffff];
const SYMBOL_TABLE = 2;

/**
 * Reads a shared object of 64 bits, little endian: its architecture, the libraries that it needs, the versions of symbols
 * that it asks of them ("GLIBC_2.28"), and whether it has a symbol table beyond the one that the loader reads.
 */
export function readElf(file) {
  const bytes = readFileSync(file);
  if (bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1)
    throw new Error(`${file} is not ELF of 64 bits, little endian`);
  const word = (at) => Number(bytes.readBigUInt64LE(at));
  const segments = Array.from(
    { length: bytes.readUInt16LE(56) },
    (_, i) => word(32) + i * bytes.readUInt16LE(54),
  );
  const isOf = (type) => (at) => bytes.readUInt32LE(at) === type;
  const offsetOf = (address) => {
    const at = segments
      .filter(isOf(PT_LOAD))
      .find((one) => address >= word(one + 16) && address < word(one + 16) + word(one + 32));
    return address - word(at + 16) + word(at + 8);
  };
  const dynamic = segments.find(isOf(PT_DYNAMIC));
  const entries = Array.from({ length: word(dynamic + 32) / 16 }, (_, i) => {
    const at = word(dynamic + 8) + i * 16;
    return [word(at), word(at + 8)];
  });
  const tagged = (tag) => entries.find(([one]) => one === tag)?.[1];
  const names = offsetOf(tagged(DT_STRTAB));
  const text = (offset) => bytes.toString("latin1", names + offset, bytes.indexOf(0, names + offset));
  const needed = entries.filter(([tag]) => tag === DT_NEEDED).map(([, offset]) => text(offset));
  const versions = [];
  let need = tagged(DT_VERNEED) && offsetOf(tagged(DT_VERNEED));
  for (let i = 0; i < (tagged(DT_VERNEEDNUM) ?? 0); i++) {
    let version = need + bytes.readUInt32LE(need + 8);
    for (let k = 0; k < bytes.readUInt16LE(need + 2); k++) {
      versions.push(text(bytes.readUInt32LE(version + 8)));
      version += bytes.readUInt32LE(version + 12);
    }
    need += bytes.readUInt32LE(need + 12);
  }
  const sections = Array.from(
    { length: bytes.readUInt16LE(60) },
    (_, i) => word(40) + i * bytes.readUInt16LE(58),
  );
  const isStripped = !sections.some((at) => bytes.readUInt32LE(at + 4) === SYMBOL_TABLE);
  return {
    architecture: MACHINES[bytes.readUInt16LE(18)] ?? "other",
    needed,
    versions,
    isStripped,
    bytes: bytes.length,
  };
}

/** The highest version of a family of symbols, such as "GLIBC": "2.28"; "" where none is asked for. */
export function highestVersion(versions, family) {
  const numbers = versions
    .filter((version) => version.startsWith(`${family}_`))
    .map((version) => version.slice(family.length + 1))
    .sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
  return numbers.at(-1) ?? "";
}
