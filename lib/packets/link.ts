/** Finds the IP packet in a captured frame, by the link type of the capture (tcpdump.org/linktypes.html). Pure. */

/** The IP packet behind the link-layer header: where it begins. */
export interface LinkPayload {
  readonly family: 4 | 6;
  readonly at: number;
}

/** LINKTYPE_ETHERNET, and what Capture returns. */
export const ETHERNET = 1;
/** The header of an Ethernet frame, without tags. */
export const ETHERNET_BYTES = 14;

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
/** 802.1Q, 802.1ad, and the older number of a tag in a tag: four bytes each before the EtherType. */
const TAGS = [0x8100, 0x88a8, 0x9100];
const MOST_TAGS = 4;
/** The number of AF_INET is 2 everywhere; of AF_INET6 it differs: Linux, NetBSD and OpenBSD, FreeBSD, macOS. */
const FAMILIES: Readonly<Record<number, 4 | 6>> = { 2: 4, 10: 6, 24: 6, 28: 6, 30: 6 };

type Find = (bytes: Uint8Array) => LinkPayload | string;

const LINKS: Readonly<Record<number, Find>> = {
  0: findByFamily,
  [ETHERNET]: (bytes) => findByEtherType(bytes, 12),
  12: findByVersion,
  14: findByVersion,
  101: findByVersion,
  108: findByFamily,
  113: (bytes) => findByEtherType(bytes, 14),
  228: findByVersion,
  229: findByVersion,
  276: (bytes) =>
    bytes.length < 20 ? cutOffText(bytes) : findPayload(bytes, (bytes[0]! << 8) | bytes[1]!, 20),
};

/** Whether frames of this link type can be read. */
export function isKnownLink(link: number): boolean {
  return link in LINKS;
}

/** Returns where the IP packet of a frame begins, or the reason why there is none. Never throws. */
export function findIp(bytes: Uint8Array, link: number): LinkPayload | string {
  return LINKS[link]?.(bytes) ?? `link type ${link} is not one that can be read`;
}

/** Ethernet and Linux cooked v1: an EtherType at the end of the header, after tags. */
function findByEtherType(bytes: Uint8Array, from: number): LinkPayload | string {
  for (let tags = 0, at = from; tags <= MOST_TAGS && at + 2 <= bytes.length; tags++, at += 4) {
    const etherType = (bytes[at]! << 8) | bytes[at + 1]!;
    if (!TAGS.includes(etherType)) return findPayload(bytes, etherType, at + 2);
  }
  return cutOffText(bytes);
}

function findPayload(bytes: Uint8Array, etherType: number, at: number): LinkPayload | string {
  if (TAGS.includes(etherType)) return findByEtherType(bytes, at + 2);
  if (etherType === IPV4 || etherType === IPV6) return { family: etherType === IPV4 ? 4 : 6, at };
  return `EtherType 0x${etherType.toString(16)} is not IP`;
}

/** BSD loopback: the address family in the byte order of the host that captured; its number is below 256. */
function findByFamily(bytes: Uint8Array): LinkPayload | string {
  if (bytes.length < 4) return cutOffText(bytes);
  const number = bytes[0]! | bytes[3]!;
  const family = FAMILIES[number];
  return family ? { family, at: 4 } : `address family ${number} is not IP`;
}

function findByVersion(bytes: Uint8Array): LinkPayload | string {
  const version = (bytes[0] ?? 0) >> 4;
  return version === 4 || version === 6 ? { family: version, at: 0 } : `IP version ${version} is not IP`;
}

function cutOffText({ length }: Uint8Array): string {
  return `${length} bytes are less than the link's header`;
}
