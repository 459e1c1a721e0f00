// Runs official storyboards against one server with the official runner, and prints what became of each step as JSON.
//
//   node run.mjs URL PROTOCOL KEY STORYBOARD.yaml...
import { createRequire } from "node:module";

const { loadStoryboardFile, runStoryboard } = createRequire(import.meta.url)("@adcp/sdk/testing");

const [url, protocol, key, ...files] = process.argv.slice(2);

// What the runner logs goes to standard error; standard output is the result alone.
console.log = console.info = console.debug = (...said) => console.error(...said);

// The runner takes "asap" for the moment at which it sends a step, so that a replay is another call than the first.
const FIXED_START = "2099-01-01T00:00:00Z";

function adapted(storyboard) {
  const changes = [];
  if (storyboard.requires_capability) {
    delete storyboard.requires_capability; // the runner skips the gate without asking the server
    changes.push("capability gate removed");
  }
  if (storyboard.id === "idempotency") {
    for (const step of storyboard.phases.flatMap((phase) => phase.steps))
      if (step.sample_request?.start_time === "asap") step.sample_request.start_time = FIXED_START;
    changes.push("start_time fixed");
  }
  return changes;
}

const options = {
  protocol,
  auth: { type: "bearer", token: key },
  allow_http: true,
  // The account of the storyboards' own requests; the runner puts one of its own in some of them otherwise.
  context: { account: { brand: { domain: "acmeoutdoor.example" }, operator: "pinnacle-agency.example" } },
  test_kit: { auth: { api_key: key, probe_task: "get_media_buy_delivery" } },
};

function told(step) {
  const wrong = (step.validations ?? []).filter((validation) => !validation.passed);
  return {
    id: step.step_id,
    task: step.task,
    result: step.skipped ? "skipped" : step.passed ? "passed" : "failed",
    reason: step.skipped ? (step.skip_reason ?? step.skip?.reason ?? null) : null,
    detail: step.skipped ? (step.skip?.detail ?? null) : (step.error ?? null),
    wrong: wrong.map(({ check, path, error, description }) => ({ check, path, error: error ?? description })),
  };
}

const results = [];
for (const file of files) {
  const storyboard = loadStoryboardFile(file);
  const changes = adapted(storyboard);
  const result = await runStoryboard(url, storyboard, options);
  const phases = result.phases.map((phase) => ({
    optional: storyboard.phases.find(({ id }) => id === phase.phase_id)?.optional ?? false,
    steps: phase.steps.map(told),
  }));
  const broken = (result.assertions ?? []).filter((assertion) => !assertion.passed);
  results.push({
    id: storyboard.id,
    changes,
    passed: result.overall_passed,
    broken: broken.map(({ assertion_id, error, description }) => `${assertion_id}: ${error ?? description}`),
    phases,
  });
}
process.stdout.write(JSON.stringify(results), () => process.exit(0));
