/** `selfconnect`: sockets, the guard and the loop. Other subjects have doors of their own: package.json, exports. */
export * from "./guard/index.ts";
export * from "./loop/index.ts";
export * from "./socket/index.ts";
