// The rule of plugins/testing/us_phone in JavaScript: what the easy way costs in QuickJS (benches/plugins).

const keypad = {};
for (const [digit, letters] of Object.entries({ 2: "abc", 3: "def", 4: "ghi", 5: "jkl", 6: "mno", 7: "pqrs", 8: "tuv", 9: "wxyz" })) {
  for (const letter of letters) keypad[letter] = digit;
}

const usPhone = {
  name: "us_phone",
  doc: "A number of North America as +1 and ten digits.",
  role: "field-transform",
  inputs: ["text"],
  output: "text",
  deterministic: true,
  idempotent: true,
  reverse: "",
  paramsSchema: '{"type":"object","additionalProperties":false}',
  examples: [
    { params: "{}", input: '"(206) 342-8631 x7"', output: '"+12063428631"' },
    { params: "{}", input: '"n/a"', output: '{"error":"invalid-phone"}' },
  ],
};

export const meta = {
  describe: () => ({ name: "us_phone", version: "0.1.0", functions: [usPhone], extra: "{}" }),
};

export const simpleTransform = {
  apply: (context, name, params, kind, values) => values.map((value) => (value == null ? ok(null) : number(value))),
};

function number(text) {
  const written = text.match(/^[^x#]*/)[0].toLowerCase();
  if (/[^0-9a-z +\-.\/()]/.test(written)) return invalid;
  let digits = written.replace(/[a-z]/g, (letter) => keypad[letter]).replace(/[^0-9]/g, "");
  if (digits.length === 11 && digits[0] === "1") digits = digits.slice(1);
  return /^[2-9]\d\d[2-9]\d{6}$/.test(digits) ? ok("+1" + digits) : invalid;
}

const ok = (val) => ({ tag: "ok", val });
const invalid = { tag: "err", val: { code: "invalid-phone", message: "the value is no number of North America" } };
