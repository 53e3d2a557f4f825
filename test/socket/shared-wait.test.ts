/** Many callers that wait on one watch, each with limits of its own. */
import os from "node:os";
import { describe, expect, it } from "vitest";
import { SharedWait } from "../../lib/socket/shared-wait.ts";

const NEVER_MS = 20_000;
const deadlineError = (elapsedMs: number) => Object.assign(new Error("late"), { elapsedMs });

/** A watch that the test fires: how often it was started and ended. */
function makeWait(isOver: (wait: SharedWait) => boolean = () => false) {
  const watch = { started: 0, ended: 0, fire: (_result: number) => {} };
  const wait: SharedWait = new SharedWait(
    (ready) => {
      watch.started++;
      watch.fire = ready;
      return () => void watch.ended++;
    },
    () => isOver(wait),
  );
  return { watch, wait };
}

const codeOf = (promise: Promise<void>) =>
  promise.then(
    () => "resolved",
    (error) => error.code ?? error.message,
  );

describe("SharedWait", () => {
  it("watches once for all, and ends the watch with the end", async () => {
    const { watch, wait } = makeWait();
    const waits = [wait.wait({ deadlineError }), wait.wait({ deadlineError, deadlineMs: NEVER_MS })];
    expect(watch).toMatchObject({ started: 1, ended: 0 });
    wait.end();
    expect(await Promise.all(waits.map(codeOf))).toEqual(["resolved", "resolved"]);
    expect(watch).toMatchObject({ started: 1, ended: 1 });
  });

  it("ends with an error for all", async () => {
    const { wait } = makeWait();
    const waits = [wait.wait({ deadlineError }), wait.wait({ deadlineError })].map(codeOf);
    wait.end(new Error("refused"));
    expect(await Promise.all(waits)).toEqual(["refused", "refused"]);
  });

  it("looks when it is fired: it goes on under the same watch, or is over", async () => {
    let isOver = false;
    const { watch, wait } = makeWait((self) => {
      if (isOver) self.end();
      return isOver;
    });
    const waiting = codeOf(wait.wait({ deadlineError }));
    watch.fire(0);
    expect(watch).toMatchObject({ started: 1, ended: 0 });
    isOver = true;
    watch.fire(0);
    expect(await waiting).toBe("resolved");
    expect(watch).toMatchObject({ started: 1, ended: 1 });
  });

  it("a watch that has failed for good is the end for all, unless the look finds it over", async () => {
    const { watch, wait } = makeWait();
    const waits = [wait.wait({ deadlineError }), wait.wait({ deadlineError })].map(codeOf);
    watch.fire(-os.constants.errno.EBADF);
    expect(await Promise.all(waits)).toEqual(["EBADF", "EBADF"]);
    const over = makeWait((self) => {
      self.end();
      return true;
    });
    const waiting = codeOf(over.wait.wait({ deadlineError }));
    over.watch.fire(-os.constants.errno.EBADF);
    expect(await waiting).toBe("resolved");
  });

  it("a look that throws is the end for all", async () => {
    const { watch, wait } = makeWait(() => {
      throw new Error("EBADF");
    });
    const waits = [wait.wait({ deadlineError }), wait.wait({ deadlineError })].map(codeOf);
    watch.fire(0);
    expect(await Promise.all(waits)).toEqual(["EBADF", "EBADF"]);
    expect(watch.ended).toBe(watch.started);
  });

  it("does not watch again when nobody waits any more", async () => {
    const abort = new AbortController();
    const { watch, wait } = makeWait(() => {
      abort.abort(new Error("enough"));
      return false;
    });
    const waiting = codeOf(wait.wait({ deadlineError, signal: abort.signal }));
    watch.fire(0);
    expect(await waiting).toBe("enough");
    watch.fire(0);
    expect(watch.ended, "no watch outlives its waiters").toBe(watch.started);
    const { started } = watch;
    watch.fire(0);
    expect(watch.started).toBe(started);
  });

  it("a deadline is for one caller, and says how long it waited", async () => {
    const { watch, wait } = makeWait();
    const patient = codeOf(wait.wait({ deadlineError }));
    const error = await wait.wait({ deadlineError, deadlineMs: 5 }).catch((caught) => caught);
    expect(error.elapsedMs).toBeGreaterThanOrEqual(4);
    expect(error.elapsedMs).toBeLessThan(NEVER_MS);
    expect(watch.ended, "somebody still waits").toBe(0);
    wait.end();
    expect(await patient).toBe("resolved");
  });

  it("the watch ends with the last who gives up, and begins again with the next", async () => {
    const { watch, wait } = makeWait();
    await codeOf(wait.wait({ deadlineError, deadlineMs: 0 }));
    expect(watch).toMatchObject({ started: 1, ended: 1 });
    const again = codeOf(wait.wait({ deadlineError }));
    expect(watch).toMatchObject({ started: 2, ended: 1 });
    wait.end();
    expect(await again).toBe("resolved");
  });

  it("leaves no timer and no listener behind", async () => {
    const { wait } = makeWait();
    const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const abort = new AbortController();
    const waiting = wait.wait({ deadlineError, deadlineMs: NEVER_MS, signal: abort.signal });
    wait.end();
    await waiting;
    expect(process.getActiveResourcesInfo().filter((name) => name === "Timeout")).toHaveLength(before);
  });

  it.each(["EAGAIN", "EMFILE"] as const)("a watch that cannot be had is %s of the caller", async (code) => {
    const wait = new SharedWait(
      () => -os.constants.errno[code],
      () => true,
    );
    await expect(wait.wait({ deadlineError })).rejects.toMatchObject({ code });
  });
});
