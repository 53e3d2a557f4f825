/** The row of the benchmark that compares the audit with ss. */
import { describe, expect, it } from "vitest";
import { auditRows, planAudit } from "../../benchmarks/audit.ts";
import { Ledger } from "../../benchmarks/ledger.ts";

describe("the row of the audit", () => {
  /** Of 100,000 sockets: the CPU time of the audit, and of ss, in seconds. */
  function auditRow(auditSeconds: number, ssSeconds: number) {
    const ledger = new Ledger();
    const { audit, ss } = planAudit(100_000, 6);
    for (let round = 0; round < 6; round++) {
      ledger.add(audit, { count: 100_000, elapsedNs: auditSeconds * 1e9, cost: null });
      ledger.add(ss, { count: 100_000, elapsedNs: ssSeconds * 1e9, cost: null });
    }
    return auditRows(ledger.results(), 1_000_000)[0]!;
  }

  it("is the audit's CPU time to that of ss, at most 1", () => {
    const what = "CPU time of the audit of 100,000 sockets, to ss -tanp";
    expect(auditRow(1, 2)).toMatchObject({ what, value: 0.5, verdict: "reached", because: null });
    expect(auditRow(2.5, 2)).toMatchObject({ what, value: 1.25, verdict: "missed" });
  });

  it("has no bound where a low limit of open files allows fewer sockets, and says how many and why", () => {
    const ledger = new Ledger();
    const { audit, ss } = planAudit(18_480, 6);
    for (const plan of [audit, ss]) ledger.add(plan, { count: 18_480, elapsedNs: 1e9, cost: null });
    expect(auditRows(ledger.results(), 1024)).toMatchObject([
      {
        what: "CPU time of the audit of 18,480 sockets, to ss -tanp",
        bound: null,
        verdict: "reported",
        because: "100000 not tried: the hard limit of open files is 1024",
      },
    ]);
  });

  it("is skipped, with the reason, where there is no namespace", () => {
    const ledger = new Ledger();
    ledger.miss(planAudit(100_000, 6).audit, "unshare: unshare failed: Operation not permitted");
    const because = "audit, 100,000 sockets: unshare: unshare failed: Operation not permitted";
    expect(auditRows(ledger.results(), 1_000_000)).toMatchObject([{ verdict: "skipped", because }]);
  });
});
