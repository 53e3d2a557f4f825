// The clients of docs/clients.md for `npm run check:wide`: npm fetches them at exact versions into a cache, and their code
// is that of the page. Plain JavaScript, because test/wide.mjs uses it.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fetchVersions } from "./runtimes.mjs";

const PAGE = new URL("../../docs/clients.md", import.meta.url);

/** What the clients need besides themselves: a retry policy, and the servers that have no Debian package. */
const COMPANIONS = ["axios-retry@4.5.0", "socket.io@4.8.4"];

/** The rows of the page's table. */
export function readClients() {
  const rows = readFileSync(PAGE, "utf8").matchAll(
    /^\| \[(.+?)\]\(.*?\) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$/gm,
  );
  return [...rows].map(([, name, version, way, server, retries]) => ({
    name,
    version,
    isPreload: way === "preload",
    service: serviceOf(name, server),
    retries: retries.startsWith("yes"),
  }));
}

/** A server from Debian has its own name; one in Node that of its client. */
function serviceOf(name, server) {
  const isDebian = /^[a-z]+$/.test(server);
  return isDebian ? server : server === "node:http" ? "http" : name;
}

/** The folder that has the clients in its node_modules; npm fetches them if they are not in the cache. */
export function fetchClients() {
  const versions = readClients().filter(({ version }) => /^\d/.test(version));
  const packages = [...versions.map(({ name, version }) => `${name}@${version}`), ...COMPANIONS];
  return fetchVersions("clients", packages);
}

/** The page's code for a client. */
export function codeOf(name) {
  const fence = `\`\`\`js client=${name}\n`;
  const page = readFileSync(PAGE, "utf8");
  const start = page.indexOf(fence) + fence.length;
  if (start < fence.length) throw new Error(`docs/clients.md has no code for ${name}`);
  return page.slice(start, page.indexOf("```", start));
}

/**
 * Writes the page's code for a client as a module that exports `client`, in a new folder beside the packages. `doors` is
 * the module in place of selfconnect.
 */
export function writeClient(folder, name, { host, port, doors }) {
  const module = path.join(mkdtempSync(path.join(folder, "run-")), "client.mjs");
  const code = codeOf(name).replace('"selfconnect"', JSON.stringify(doors));
  const constants = `const host = ${JSON.stringify(host)}, port = ${port};\n`;
  writeFileSync(module, `${constants}${code}export { client };\n`);
  return module;
}
