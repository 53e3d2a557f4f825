// What of other people's work the package contains: their licences, and a bill of materials. build.mjs calls it with
// what esbuild has bundled, so that neither names what is not in there. Both are the same for the same package-lock.json.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Headers that the addon is compiled with; esbuild does not see them. */
const COMPILED_IN = ["node-addon-api", "node-api-headers"];

/** Writes dist/THIRD-PARTY-NOTICES.md and dist/sbom.cdx.json. */
export function writeNotices(metafiles) {
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
  const names = [...new Set([...metafiles.flatMap(bundledPackages), ...COMPILED_IN])].sort();
  const parts = names.map((name) => ({
    name,
    ...packages[`node_modules/${name}`],
    isCompiledIn: COMPILED_IN.includes(name),
  }));
  writeFileSync("dist/THIRD-PARTY-NOTICES.md", notices(parts));
  writeFileSync("dist/sbom.cdx.json", `${JSON.stringify(billOfMaterials(parts), null, 2)}\n`);
}

/** The packages of node_modules/ that are in a bundle. */
function bundledPackages({ outputs }) {
  const inputs = Object.values(outputs).flatMap((output) => Object.keys(output.inputs));
  return inputs.flatMap((input) => /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []);
}

function notices(parts) {
  const rows = parts.map(({ name, version, license, isCompiledIn }) => {
    return `| ${name} | ${version} | ${license} | ${isCompiledIn ? "the addon, compiled in" : "the command line, bundled"} |`;
  });
  const texts = parts.map(({ name, version }) => `## ${name} ${version}\n\n${licenceText(name)}\n`);
  return `# Third-party notices

selfconnect contains these packages. None is installed beside it.

| package | version | licence | where |
|---|---|---|---|
${rows.join("\n")}

${texts.join("\n")}`;
}

/** Fails where a package has no licence text: most licences ask that it goes with every copy. */
function licenceText(name) {
  const folder = path.join("node_modules", name);
  const file = readdirSync(folder).find((one) => /^licen[cs]e(\.(md|txt))?$/i.test(one));
  if (!file) throw new Error(`${name} has no licence text: find it, or leave the package out`);
  return readFileSync(path.join(folder, file), "utf8")
    .trim()
    .replace(/^#.*\n+/, "");
}

/** CycloneDX 1.6, without a date and a serial number, so that the same build has the same bytes. */
function billOfMaterials(parts) {
  const { name, version, license, description } = JSON.parse(readFileSync("package.json", "utf8"));
  const own = componentOf({ name, version, license });
  const components = parts.map((part) => ({
    ...componentOf(part),
    scope: "required",
    hashes: [hashOf(part)],
    properties: [{ name: "selfconnect:where", value: part.isCompiledIn ? "addon" : "command line" }],
  }));
  const refs = components.map((component) => component["bom-ref"]);
  return {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: { component: { ...own, description } },
    components,
    dependencies: [{ ref: own["bom-ref"], dependsOn: refs }, ...refs.map((ref) => ({ ref, dependsOn: [] }))],
  };
}

function componentOf({ name, version, license }) {
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  return { type: "library", "bom-ref": purl, name, version, licenses: [{ license: { id: license } }], purl };
}

/** npm's integrity is base64, CycloneDX's is hexadecimal. */
function hashOf({ integrity }) {
  const [algorithm, digest] = integrity.split("-");
  return {
    alg: algorithm.toUpperCase().replace("SHA", "SHA-"),
    content: Buffer.from(digest, "base64").toString("hex"),
  };
}
