// Whether a postal code has its country's form: a validator, one JSON object per record.

const FORMS = {
  AT: /^\d{4}$/,
  CA: /^[A-Z]\d[A-Z] ?\d[A-Z]\d$/,
  CH: /^\d{4}$/,
  DE: /^\d{5}$/,
  FR: /^\d{5}$/,
  GB: /^[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}$/,
  NL: /^\d{4} ?[A-Z]{2}$/,
  US: /^\d{5}(-\d{4})?$/,
};

const postalCode = {
  name: "postal_code_form",
  doc: "Refuses postal codes that do not have the form of the record's country; countries that it does not know pass.",
  role: "validator",
  inputs: [],
  output: "",
  deterministic: true,
  idempotent: false,
  reverse: "",
  paramsSchema: JSON.stringify({
    type: "object",
    properties: {
      field: { type: "string", description: "The postal code's field; postal_code by default" },
      country_field: { type: "string", description: "The field of the country's two letters; country by default" },
    },
    additionalProperties: false,
  }),
  examples: [
    { params: "{}", input: '{"country":"DE","postal_code":"10115"}', output: "[]" },
    {
      params: "{}",
      input: '{"country":"DE","postal_code":"1011"}',
      output: '[{"field":"postal_code","code":"bad-postal-code"}]',
    },
    { params: '{"field":"zip"}', input: '{"country":"US","zip":"94103-1234"}', output: "[]" },
    { params: "{}", input: '{"country":"US","postal_code":null}', output: "[]" },
  ],
};

export const meta = {
  describe: () => ({ name: "postal_code_form", version: "0.1.0", functions: [postalCode], extra: "{}" }),
};

export const simpleValidator = {
  // One list per record of {field, code, message}; an empty list = the record is valid.
  check(context, name, params, records) {
    const { field = "postal_code", country_field = "country" } = JSON.parse(params);
    return records.map((text) => {
      const record = JSON.parse(text);
      const form = FORMS[record[country_field]];
      const code = record[field];
      if (form === undefined || code == null || form.test(code)) {
        return [];
      }
      // Messages end up in logs: never the value.
      return [{ field, code: "bad-postal-code", message: "it does not have the form of its country" }];
    });
  },
};
