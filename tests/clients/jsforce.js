// What jsforce, a client that knows nothing of tidelock, makes of the sandbox. Argument: the sandbox's address.
const assert = require("node:assert/strict");
const jsforce = require("jsforce");

const address = process.argv[2];
const names = (result) => result.map((record) => record.Name);

async function connect() {
  const connection = new jsforce.Connection({
    instanceUrl: address,
    version: "60.0",
    callOptions: { client: "jsforce-test" },
    oauth2: { loginUrl: address, clientId: "tidelock-sandbox", clientSecret: "sandbox-secret" },
  });
  await connection.authorize({ grant_type: "client_credentials" });
  assert.equal(connection.instanceUrl, address);
  return connection;
}

async function collections(connection) {
  const accounts = connection.sobject("Account");
  const created = await accounts.create([{ Name: "Js 1" }, { Name: "" }, { Name: "Js 2", Tidelock_Id__c: "js-2" }]);
  assert.deepEqual(created.map((result) => result.success), [true, false, true]);
  const missing = created[1].errors[0];
  assert.equal(missing.statusCode ?? missing.errorCode, "REQUIRED_FIELD_MISSING");
  const nothing = await accounts.create([{ Name: "Js 3" }, { Name: "" }], { allOrNone: true });
  const codes = nothing.map((result) => result.errors[0].statusCode ?? result.errors[0].errorCode);
  assert.deepEqual(codes, ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]);
  const upserted = await accounts.upsert([{ Name: "Js Two", Tidelock_Id__c: "js-2" }, { Name: "Js 4", Tidelock_Id__c: "js-4" }], "Tidelock_Id__c");
  assert.deepEqual(upserted.map((result) => result.created), [false, true]);
  const updated = await accounts.update([{ Id: created[0].id, Name: "Js One" }, { Id: created[2].id, Tier__c: "Platinum" }]);
  assert.deepEqual(updated.map((result) => result.success), [true, false]);
  const found = await connection.query("SELECT Name FROM Account WHERE Name LIKE 'Js %' ORDER BY Name");
  assert.deepEqual(names(found.records), ["Js 4", "Js One", "Js Two"]);
  assert.deepEqual(names(await accounts.retrieve([created[0].id, created[2].id])), ["Js One", "Js Two"]);
  const destroyed = await accounts.destroy([created[0].id, created[0].id]);
  assert.deepEqual(destroyed.map((result) => result.success), [true, false]);
  return created[0].id;
}

async function queries(connection) {
  await fetch(`${address}/sandbox/faults`, {
    method: "PUT",
    body: JSON.stringify({ rules: [{ path: "/query", fault: { short_page: { records: 1 } } }] }),
  });
  const query = connection.query("SELECT Name, Owner.Name FROM Account WHERE Name LIKE 'Js %' ORDER BY Name");
  const { records } = await query.run({ autoFetch: true, maxFetch: 100 });
  assert.deepEqual(names(records), ["Js 4", "Js Two"]);
  assert.equal(records[0].Owner.Name, "Integration");
  await fetch(`${address}/sandbox/faults`, { method: "PUT", body: "{}" });
  const found = await connection.sobject("Account").find({ Name: { $like: "Js %" } }, ["Id", "Name"]).sort("-Name").limit(1);
  assert.deepEqual(names(found), ["Js Two"]);
  await assert.rejects(connection.query("SELECT Nothing FROM Account"), { errorCode: "INVALID_FIELD" });
}

async function windows(connection, deleted) {
  await fetch(`${address}/sandbox/clock`, { method: "POST", body: JSON.stringify({ advance_seconds: 120 }) });
  const { now } = await (await fetch(`${address}/sandbox/clock`)).json();
  const end = new Date(now.replace("+0000", "Z"));
  const start = new Date(end.getTime() - 20 * 60_000);
  const accounts = connection.sobject("Account");
  const told = await accounts.deleted(start.toISOString(), end.toISOString());
  assert(told.deletedRecords.some((record) => record.id === deleted));
  assert((await accounts.updated(start.toISOString(), end.toISOString())).ids.length >= 2);
}

async function bulk(connection) {
  const rows = Array.from({ length: 30 }, (_, n) => ({ LastName: n % 10 ? `Bulk ${n}\nline` : "", Email: `n${n}@example.com` }));
  const results = await connection.bulk2.loadAndWaitForResults({ object: "Contact", operation: "insert", input: rows, pollInterval: 50, pollTimeout: 20_000 });
  assert.deepEqual([results.successfulResults.length, results.failedResults.length, results.unprocessedRecords.length], [27, 3, 0]);
  const stream = await connection.bulk2.query("SELECT Id, LastName FROM Contact WHERE LastName LIKE 'Bulk %'", { pollInterval: 50, pollTimeout: 20_000 });
  assert.equal((await stream.toArray()).length, 27);
}

async function main() {
  const connection = await connect();
  assert.equal((await connection.identity()).username, "integration@sandbox.example");
  const { fields } = await connection.sobject("Contact").describe();
  assert.equal(fields.find((field) => field.name === "LastName").nillable, false);
  const deleted = await collections(connection);
  await queries(connection);
  await windows(connection, deleted);
  await bulk(connection);
  assert(connection.limitInfo.apiUsage.used > 0);
  const journal = await (await fetch(`${address}/sandbox/journal`)).json();
  assert(journal.entries.some((entry) => entry.client === "jsforce-test"));
  console.log("jsforce: all as with Salesforce");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
