// Settles a conflict in favour of the side that says something: a conflict resolver, one JSON object per record.

const keepFilled = {
  name: "keep_filled",
  doc: "A value beats an empty one; of two values the newer one stays; where nobody knows which is newer, a person decides.",
  role: "conflict-resolver",
  inputs: [],
  output: "",
  deterministic: true,
  idempotent: false,
  reverse: "",
  paramsSchema: JSON.stringify({ type: "object", additionalProperties: false }),
  examples: [
    {
      params: "{}",
      input: '{"base":{"city":"Ulm"},"source":{"city":""},"target":{"city":"Bonn"}}',
      output: '{"city":"Bonn"}',
    },
    {
      params: "{}",
      input: JSON.stringify({
        base: { city: "Ulm" },
        source: { city: "Kiel" },
        target: { city: "Bonn" },
        source_modified: "2026-01-02T00:00:00Z",
        target_modified: "2026-01-01T00:00:00Z",
      }),
      output: '{"city":"Kiel"}',
    },
    {
      params: "{}",
      input: '{"base":{"city":"Ulm"},"source":{"city":"Kiel"},"target":{"city":"Bonn"}}',
      output: '"review"',
    },
  ],
};

export const meta = {
  describe: () => ({ name: "keep_filled", version: "0.1.0", functions: [keepFilled], extra: "{}" }),
};

export const simpleResolver = {
  // One text per conflict: a JSON object of the merged values of its `fields`, or null for a person.
  resolve(context, name, params, conflicts) {
    return conflicts.map((text) => JSON.stringify(settle(JSON.parse(text))));
  },
};

function settle({ source, target, source_modified, target_modified, fields }) {
  const newer = newerSide(source_modified, target_modified);
  const merged = {};
  for (const field of fields) {
    const [ours, theirs] = [source?.[field], target?.[field]];
    if (isEmpty(ours) || isEmpty(theirs)) {
      merged[field] = (isEmpty(ours) ? theirs : ours) ?? null;
    } else if (newer === undefined) {
      return null;
    } else {
      merged[field] = newer === "source" ? ours : theirs;
    }
  }
  return merged;
}

function newerSide(source, target) {
  const [ours, theirs] = [Date.parse(source ?? ""), Date.parse(target ?? "")];
  if (Number.isNaN(ours) || Number.isNaN(theirs) || ours === theirs) {
    return undefined;
  }
  return ours > theirs ? "source" : "target";
}

const isEmpty = (value) => value == null || value === "";
