/** Renders audits as OpenMetrics text, which node_exporter's textfile collector also reads. */
import type { HostAudit } from "../audit/all-namespaces.ts";
import type { Audit } from "../audit/audit.ts";
import { isDangerous } from "../audit/audit.ts";
import type { AnsweredDestination, AnsweredSocket, AuditAnswer } from "../fleet/audit-answer.ts";
import type { FleetAudit } from "../fleet/fleet-audit.ts";
import { formatAddress } from "../socket/address.ts";
import { escapeLabel } from "./escape.ts";

type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** An audit as OpenMetrics text, which ends with "# EOF". What is unknown has no sample. */
export function auditMetrics(found: Audit): string {
  return render(metricsOf(found, {}));
}

/** The audits of all network namespaces, each with the number of its namespace as a label; this one has "". */
export function hostAuditMetrics({ own, others, verdict }: HostAudit): string {
  const namespaces = [
    { found: own, namespace: "" },
    ...others.map((found) => ({ found, namespace: String(found.namespace) })),
  ];
  const each = namespaces.map(({ found, namespace }) => metricsOf(found, { namespace }));
  const merged = each[0]!.map((metric, index) =>
    metric.name === CLEAN
      ? cleanMetric(verdict, {})
      : { ...metric, samples: each.flatMap((metrics) => metrics[index]!.samples) },
  );
  return render(merged);
}

/** The audits of a fleet, each sample with the label `host`; of a host that did not answer only that. */
export function fleetAuditMetrics({ hosts }: FleetAudit): string {
  const each = hosts.flatMap(({ host, audit }) => (audit ? [metricsOf(audit, { host })] : []));
  const merged = (each[0] ?? []).map((metric, index) => {
    return { ...metric, samples: each.flatMap((metrics) => metrics[index]!.samples) };
  });
  const answered = hosts.map(({ host, audit }) => ({ labels: { host }, value: audit ? 1 : 0 }));
  return render([
    { name: "selfconnect_host_answered", help: "Whether the worker of a host answered.", samples: answered },
    ...merged,
  ]);
}

const CLEAN = "selfconnect_clean";

function metricsOf(found: Audit | AuditAnswer, common: Labels): Metric[] {
  const labels = ({ local, owner }: AnsweredSocket) => ({
    ...common,
    address: local.host,
    family: `ipv${local.family}`,
    port: String(local.port),
    command: owner?.command ?? "",
  });
  const single = (value: number) => [{ labels: common, value }];
  const path = ({ local, peer }: AnsweredDestination) => ({
    ...common,
    address: local.host,
    peer: formatAddress(peer),
  });
  return [
    {
      name: "selfconnect_listener_at_risk",
      help: "Whether a listener inside the ephemeral range may lose its port to a self-connect.",
      samples: found.listeners
        .filter(({ risk }) => risk !== "unknown")
        .map((one) => ({ labels: labels(one), value: isDangerous(one.risk) ? 1 : 0 })),
    },
    {
      name: "selfconnect_port_at_risk",
      help: "Whether a server on a port that was asked for may lose it to a self-connect.",
      samples: found.ports
        .filter(({ risk }) => risk !== "unknown")
        .map(({ port, risk }) => ({
          labels: { ...common, port: String(port) },
          value: isDangerous(risk) ? 1 : 0,
        })),
    },
    {
      name: "selfconnect_joined_sockets",
      help: "Sockets that are joined to themselves.",
      samples: single(found.joined.length),
    },
    {
      name: "selfconnect_leftover_sockets",
      help: "TIME-WAIT sockets that self-connects left behind.",
      samples: single(found.leftovers.length),
    },
    {
      name: "selfconnect_knocking_clients",
      help: "Clients whose SYN to an ephemeral port of this host is unanswered.",
      samples: single(found.knocking.length),
    },
    {
      name: "selfconnect_destination_ports_in_use",
      help: "Ephemeral ports in use from a local address to a peer; reported from a tenth of them on.",
      samples: found.destinations.map((one) => ({ labels: path(one), value: one.portsInUse })),
    },
    {
      name: "selfconnect_destination_ports",
      help: "Ephemeral ports that connect(2) can pick from a local address to a peer.",
      samples: found.destinations.map((one) => ({ labels: path(one), value: one.ports })),
    },
    cleanMetric(found.verdict, common),
  ];
}

function cleanMetric(verdict: Audit["verdict"], labels: Labels): Metric {
  return {
    name: CLEAN,
    help: "Whether nothing is at risk, joined to itself or left behind; absent when that is unknown.",
    samples: verdict === "unknown" ? [] : [{ labels, value: verdict === "clean" ? 1 : 0 }],
  };
}

function render(metrics: readonly Metric[]): string {
  return `${metrics.flatMap(familyLines).join("\n")}\n# EOF\n`;
}

/** Listeners that share a port (SO_REUSEPORT) become one sample, the worst: a metric must not repeat its labels. */
function mergeSamples(samples: readonly Sample[]): Sample[] {
  const merged = new Map<string, Sample>();
  for (const sample of samples) {
    const key = JSON.stringify(sample.labels);
    const other = merged.get(key);
    if (!other || other.value < sample.value) merged.set(key, sample);
  }
  return [...merged.values()];
}

function familyLines({ name, help, samples }: Metric): string[] {
  if (samples.length === 0) return [];
  const lines = mergeSamples(samples).map(({ labels, value }) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escapeLabel(text)}"`);
    return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
  });
  return [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, ...lines];
}
