/** Renders an audit as OpenMetrics text, which node_exporter's textfile collector also reads. */
import type { Audit } from "../audit/audit.ts";
import { escapeLabel } from "./escape.ts";

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly samples: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[];
}

/** An audit as OpenMetrics text, which ends with "# EOF". */
export function auditMetrics(found: Audit): string {
  return `${metricsOf(found).flatMap(familyLines).join("\n")}\n# EOF\n`;
}

function metricsOf(found: Audit): Metric[] {
  const labels = ({ local, owner }: Audit["listeners"][number] | Audit["joined"][number]) => ({
    address: local.host,
    family: `ipv${local.family}`,
    port: String(local.port),
    command: owner?.command ?? "",
  });
  const single = (value: number) => [{ labels: {}, value }];
  return [
    {
      name: "selfconnect_listener_at_risk",
      help: "Whether a listener inside the ephemeral range may lose its port to a self-connect.",
      samples: removeDuplicates(
        found.listeners.map((one) => ({ labels: labels(one), value: one.isAtRisk ? 1 : 0 })),
      ),
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
      name: "selfconnect_clean",
      help: "Whether nothing is at risk and nothing is joined to itself.",
      samples: single(found.isClean ? 1 : 0),
    },
  ];
}

/** Listeners that share a port (SO_REUSEPORT) become one sample: a metric must not repeat the same labels. */
function removeDuplicates(samples: Metric["samples"]): Metric["samples"] {
  return [...new Map(samples.map((sample) => [JSON.stringify(sample.labels), sample])).values()];
}

function familyLines({ name, help, samples }: Metric): string[] {
  if (samples.length === 0) return [];
  const lines = samples.map(({ labels, value }) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escapeLabel(text)}"`);
    return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
  });
  return [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, ...lines];
}
