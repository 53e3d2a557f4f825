/** Drivers of one's own and scans: the cells and rows that they add. */
import { expect, it } from "vitest";
import { planAskedCells, planAskedRatios } from "../../benchmarks/asked.ts";
import { checkMeasurement, runCell } from "../../benchmarks/cell.ts";
import { Ledger } from "../../benchmarks/ledger.ts";
import { computeBenchRows } from "../../benchmarks/rows.ts";
import { AFTER, ROUND } from "../../benchmarks/trials.ts";
import { benchBound, benchCellTexts, benchFigure } from "../../lib/report/bench.ts";

const NO_SCAN = { threads: [], ranges: [] };
const sockets = { few: "few", many: "many", because: null };

it("a scan adds a cell for each value that a round has not", () => {
  const range = { low: 40_000, high: 40_127 };
  const cells = planAskedCells([], { threads: [1, 2, 4], ranges: [range] });
  expect(cells.map(({ name }) => name)).toEqual([
    "selfconnect fresh, 4 threads",
    "selfconnect reuse, 4 threads",
    "C, one socket again, 4 processes",
    "selfconnect fresh until joined, range 40000-40127",
    "selfconnect reuse until joined, range 40000-40127",
  ]);
  expect(cells[1]!.settings).toEqual(["reuse", "4"]);
  expect(cells[3]!.namespace).toMatchObject(range);
});

it("a driver of one's own has a row, with its ratio", () => {
  const drivers = [{ name: "mine", command: "./mine" }];
  const ledger = new Ledger();
  const reuse = ROUND.find(({ name }) => name === "selfconnect reuse")!;
  for (let round = 0; round < 6; round++) {
    ledger.add(reuse, { count: 300, elapsedNs: 1e9, cost: null });
    ledger.add(planAskedCells(drivers, NO_SCAN)[0]!, { count: 100, elapsedNs: 1e9, cost: null });
  }
  const asked = planAskedRatios(drivers, NO_SCAN);
  const rows = computeBenchRows(ledger.results(), { bytes: null, text: "" }, sockets, asked);
  expect(rows.find(({ what }) => what === "fastest strategy to mine")).toMatchObject({
    value: 3,
    verdict: "reported",
  });
});

it("a driver of one's own is run with its own arguments before the port and the milliseconds", async () => {
  const command = `printf '{"count":%s,"elapsedNs":%s}'`;
  const [plan] = planAskedCells([{ name: "mine", command }], NO_SCAN);
  const measured = await runCell([...plan!.command!, "77", "300"], [], 1000, AbortSignal.timeout(20_000));
  expect(measured).toMatchObject({ count: 77, elapsedNs: 300 });
});

it.each([
  ["echo done", 'printed "done 1 2" instead of one object'],
  ["true", 'printed "" instead of one object'],
  ["echo 1 #", 'printed "1" instead of one object'],
])("what %j prints is no measurement, and the reason quotes it", async (command, reason) => {
  const [plan] = planAskedCells([{ name: "mine", command }], NO_SCAN);
  const run = runCell([...plan!.command!, "1", "2"], [], 1000, AbortSignal.timeout(20_000));
  await expect(run).rejects.toThrow(reason);
});

it("a measurement without a count or a time is refused", () => {
  const measured = { count: 1, elapsedNs: 1, cost: null };
  expect(() => checkMeasurement(measured)).not.toThrow();
  expect(() => checkMeasurement({ ...measured, count: undefined as never })).toThrow("count is undefined");
  expect(() => checkMeasurement({ ...measured, elapsedNs: "1 s" as never })).toThrow("elapsedNs 1 s");
});

it("a stop and the memory of a connection are figures with a unit", () => {
  const ledger = new Ledger();
  const stop = AFTER.find(({ trial }) => trial === "stop")!;
  const held = AFTER.find(({ trial }) => trial === "held")!;
  ledger.add(stop, { count: 50, elapsedNs: 6e6, cost: null });
  ledger.add(held, { count: 1900, elapsedNs: 1e9, growthBytes: 4300, cost: null });
  const { cells } = ledger.results();
  expect(benchCellTexts(cells.get(stop.name)!)[1]).toBe("6.0 ms");
  expect(benchCellTexts(cells.get(held.name)!)[1]).toBe("4.2 KiB");
  const rows = computeBenchRows(ledger.results(), { bytes: null, text: "" }, sockets);
  const stopRow = rows.find(({ what }) => what === `stop while no SYN is answered, ${stop.name}`);
  const heldRow = rows.find(({ what }) => what.endsWith(held.name));
  expect([benchFigure(stopRow!), benchBound(stopRow!), stopRow!.verdict]).toEqual([
    "6.0 ms",
    "at most 5 ms",
    "missed",
  ]);
  expect([benchFigure(heldRow!), heldRow!.verdict]).toEqual(["4.2 KiB", "reported"]);
});
