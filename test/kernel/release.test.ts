/** lib/kernel/release.ts: the table of walks that the lab and the predictions share. */
import { describe, expect, it } from "vitest";
import { hasChange, isAtLeast, linuxWalk, namesWalk, WALKS } from "../../lib/kernel/release.ts";
import { hasPortRange, walkOf } from "../../lib/lab/experiment.ts";
import { supposeAlgorithm } from "../../lib/ports/algorithms.ts";

describe("versions", () => {
  it.each([
    ["6.12.107", "6.8", true],
    ["6.8", "6.8", true],
    ["6.7.12", "6.8", false],
    ["5.9.16", "5.18", false],
    ["6.1.176", "6.1.32", true],
    ["6.1.31", "6.1.32", false],
    // Debian 13 and kernels built by hand have no "-" after the patch level.
    ["6.12.48+deb13-amd64", "6.12.48", true],
    ["7.1.0-rc3", "7.1", true],
  ])("%s is at least %s: %s", (version, least, expected) => {
    expect(isAtLeast(version, least)).toBe(expected);
  });

  it("a stable series has a change from the listed release on, and a series that is not listed does not", () => {
    const hasIt = (release: string) => hasChange(release, "6.3", ["6.1.32"]);
    expect(["6.3.0", "6.1.32", "6.1.0-50-cloud-amd64", "6.12.1"].map(hasIt)).not.toContain(false);
    expect(["6.1.31", "6.2.16", "6.2.0-26-generic", "5.15.200", "6.1.0-rc3"].map(hasIt)).not.toContain(true);
  });
});

describe("the table of walks", () => {
  it.each([
    ["6.18.44", "large table", "linux-5.18"],
    ["5.18.0", "large table", "linux-5.18"],
    ["5.17.15", "large table", "linux-5.18"],
    ["5.17.8", "small table", "linux-5.12"],
    ["5.15.41", "large table", "linux-5.18"],
    ["5.15.40", "small table", "linux-5.12"],
    ["5.12.1", "small table", "linux-5.12"],
    ["5.11.22", "one hint", "linux-4.6"],
    ["5.10.223-212.873.amzn2.x86_64", "large table", "linux-5.18"],
    ["5.10.125", "large table", "linux-5.18"],
    ["5.10.120", "small table", "linux-5.12"],
    ["5.10.118", "one hint", "linux-4.6"],
    ["5.4.201", "large table", "linux-5.18"],
    ["5.4.200", "one hint", "linux-4.6"],
    // A name without a patch level has the latest patches of its series.
    ["5.10.0-32-amd64", "large table", "linux-5.18"],
    ["5.15.0-91-generic", "large table", "linux-5.18"],
    ["5.10.0-rc3", "one hint", "linux-4.6"],
    ["5.10.0", "large table", "linux-5.18"],
    ["5.15.0+", "large table", "linux-5.18"],
    ["4.19.0", "large table", "linux-5.18"],
    ["5.4", "large table", "linux-5.18"],
    ["4.19.248", "one hint", "linux-4.6"],
    ["5.10.1", "one hint", "linux-4.6"],
    ["4.18.0-553.el8.x86_64", "one hint", "linux-4.6"],
  ] as const)("%s walks by %s, and its predicted algorithm is %s", (release, walk, algorithm) => {
    expect(linuxWalk(release)).toBe(walk);
    expect(walkOf({ machine: "host", upstream: release, hasIpv6: true })).toBe(walk);
    expect(supposeAlgorithm("connect", release).name).toBe(algorithm);
  });

  it("names in words the releases with which each stable series begins, and what was not run", () => {
    for (const { stable, kernels } of WALKS) {
      const supported = stable.filter((release) => !/^4\.(9|14)\./.test(release));
      for (const release of supported) expect(kernels).toContain(release);
    }
    expect(supposeAlgorithm("connect", "5.10.120").kernels).toContain("read, not run");
  });

  it.each([
    ["6.18.44", true],
    ["5.18.0-1.el9", true],
    ["5.10.0-32-amd64", true],
    ["5.10.223-212.873.amzn2.x86_64", true],
    ["5.15.167.4-microsoft-standard-WSL2", true],
    ["5.16.3", true],
    ["4.18.0-553.el8.x86_64", false],
    ["5.14.0-427.el9.x86_64", false],
    ["5.4.17-2136.el8uek.x86_64", false],
    ["5.14.21-150500.55-default", false],
    ["5.3.18-150300.59-default", false],
    ["4.19.0.1-amd64", false],
    ["4.4.302", false],
  ])("%s names its walk: %s", (release, expected) => {
    expect(namesWalk(release)).toBe(expected);
  });

  it("returns null for kernels before 4.6 and for gVisor", () => {
    expect(linuxWalk("4.4.302")).toBeNull();
    expect(walkOf({ machine: "gvisor", upstream: "6.18.44", hasIpv6: true })).toBeNull();
  });

  it("has separate algorithms for bind(0) and for IP_LOCAL_PORT_RANGE", () => {
    expect(supposeAlgorithm("bind", "5.10.223").name).toBe("linux-bind");
    expect(supposeAlgorithm("range", "6.8.0").name).toBe("linux-6.8-range");
    expect(supposeAlgorithm("range", "6.1.176").name).toBe("linux-5.18");
    expect(hasPortRange({ machine: "qemu", upstream: "6.1.176", hasIpv6: true })).toBe(true);
  });
});
