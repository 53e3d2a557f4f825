// What Stryker leaves alone: the texts of messages. They are words for people, tests assert codes and properties, and
// a text is recognized by its spaces: codes, names of system calls and keys have none, and stay in.
export const strykerPlugins = [
  {
    kind: "Ignore",
    name: "message-texts",
    value: {
      shouldIgnore(path) {
        const texts = [];
        if (path.isStringLiteral()) texts.push(path.node.value);
        if (path.isTemplateLiteral()) texts.push(...path.node.quasis.map((part) => part.value.raw));
        return texts.some((text) => text.includes(" ")) ? "the text of a message" : undefined;
      },
    },
  },
];
