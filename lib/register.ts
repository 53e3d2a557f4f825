/** `node --import selfconnect/register app.js`: the entry that guards a whole program. */
import "./guard/register.ts";
