// "Ada King-Lovelace" becomes "ada-king-lovelace": a field transform, one text per value.

const pageName = {
  name: "page_name",
  doc: "Small letters and digits with dashes between them: what stands in addresses of pages.",
  role: "field-transform",
  inputs: ["text"],
  output: "text",
  deterministic: true,
  // f(f(x)) = f(x), so it may run in both directions of a pair.
  idempotent: true,
  reverse: "",
  paramsSchema: JSON.stringify({
    type: "object",
    properties: { separator: { type: "string", pattern: "^[-_.]$", description: "- by default" } },
    additionalProperties: false,
  }),
  examples: [
    { params: "{}", input: '"Ada King-Lovelace"', output: '"ada-king-lovelace"' },
    { params: '{"separator":"_"}', input: '"  Zoë & Søn  "', output: '"zoe_son"' },
    { params: "{}", input: "null", output: "null" },
    { params: "{}", input: '"???"', output: '{"error":"nothing-left"}' },
  ],
};

export const meta = {
  describe: () => ({ name: "page_name", version: "0.1.0", functions: [pageName], extra: "{}" }),
};

export const simpleTransform = {
  // One answer per value: {tag: "ok", val: text or null} or {tag: "err", val: {code, message}}.
  apply(context, name, params, kind, values) {
    const separator = JSON.parse(params).separator ?? "-";
    return values.map((value) => (value == null ? ok(null) : slugOf(value, separator)));
  },
};

function slugOf(text, separator) {
  const letters = text.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase().replace(/ø/g, "o");
  const words = letters.split(/[^a-z0-9]+/).filter((word) => word !== "");
  // Messages end up in logs: never the value.
  return words.length > 0 ? ok(words.join(separator)) : err("nothing-left", "it has no letter or digit");
}

const ok = (val) => ({ tag: "ok", val });
const err = (code, message) => ({ tag: "err", val: { code, message } });
