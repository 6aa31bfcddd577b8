// Runs probes, all at once, and prints how each went as one line of JSON. Ends the process.

import { setTimeout as sleep } from "node:timers/promises";
import assert from "node:assert/strict";

const SECONDS_MAX = 40;

async function ran(client, [probe, run]) {
  const began = Date.now();
  const late = new AbortController();
  let [ok, detail] = [true, ""];
  try {
    const limit = sleep(SECONDS_MAX * 1000, undefined, { signal: late.signal });
    await Promise.race([run(), limit.then(() => assert.fail(`no result in ${SECONDS_MAX} s`))]);
  } catch (error) {
    [ok, detail] = [false, `${error.name}: ${error.message}`];
  }
  late.abort();
  const seconds = Math.round((Date.now() - began) / 100) / 10;
  console.log(JSON.stringify({ client, probe, ok, seconds, detail: detail.slice(0, 300) }));
  return ok;
}

/// Exits with 1 if a probe fails. A probe is a function that throws when it does.
export async function report(client, probes) {
  const results = await Promise.all(Object.entries(probes).map((probe) => ran(client, probe)));
  process.exit(results.every(Boolean) ? 0 : 1);
}
