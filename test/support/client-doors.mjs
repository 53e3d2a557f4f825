// In place of "selfconnect" in the code of docs/clients.md: its doors, with the guard of SELFCONNECT_GUARD. With "off" the
// client is the plain one.
import * as doors from "../../dist/index.js";

const guard = process.env.SELFCONNECT_GUARD;

export const connect = (options, onConnect) => doors.connect({ ...options, guard }, onConnect);
export const guardAgent = (agent) => doors.guardAgent(agent, { guard });
export const streamFactory = () => doors.streamFactory({ guard });
export const undiciConnect = (buildConnector) => doors.undiciConnect(buildConnector, {}, { guard });
