// What salesforce-pubsub-api-client, a client that knows nothing of tidelock, makes of the sandbox's Pub/Sub API. Arguments: the sandbox's address,
// and that of its Pub/Sub API. The client speaks TLS only, and is told to take the certificate that the sandbox has made.
const assert = require("node:assert/strict");

const address = process.argv[2];
const pubSubEndpoint = process.argv[3].replace("http://", "");
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const json = { "content-type": "application/json" };

async function logIn() {
  const body = "grant_type=client_credentials&client_id=tidelock-sandbox&client_secret=sandbox-secret";
  const granted = await (await fetch(`${address}/services/oauth2/token`, { method: "POST", body })).json();
  // The client takes no other scheme; it never goes there.
  const instanceUrl = granted.instance_url.replace("http://", "https://");
  return { accessToken: granted.access_token, instanceUrl, organizationId: granted.id.split("/").at(-2) };
}

async function connect(session) {
  const { default: PubSubApiClient } = await import(process.env.PUBSUB_CLIENT);
  const settings = { authType: "user-supplied", pubSubEndpoint, rejectUnauthorizedSsl: false, ...session };
  const client = new PubSubApiClient(settings, silent);
  await client.connect();
  return client;
}

// The events of a subscription, and what else it tells, as they come.
function collect(begin) {
  const told = [];
  let wake = () => {};
  begin((subscription, type, data) => {
    told.push({ type, data });
    wake();
  });
  return async (type, count = 1) => {
    const found = () => told.filter((one) => one.type === type);
    const deadline = Date.now() + 10_000;
    while (found().length < count) {
      const late = new Promise((resolve) => setTimeout(resolve, Math.max(1, deadline - Date.now())));
      await Promise.race([new Promise((resolve) => (wake = resolve)), late]);
      if (Date.now() >= deadline) {
        throw new Error(`no ${count} × ${type}: ${JSON.stringify(told.map((one) => one.type))} ${told.find((one) => one.data instanceof Error)?.data.stack}`);
      }
    }
    return found().map((one) => one.data);
  };
}

async function api(session, method, path, body, headers = {}) {
  const authorization = `Bearer ${session.accessToken}`;
  const options = { method, headers: { ...json, authorization, ...headers }, body: body && JSON.stringify(body) };
  const answer = await fetch(`${address}/services/data/v60.0/${path}`, options);
  const text = await answer.text();
  assert.ok(answer.ok, text);
  return text && JSON.parse(text);
}

async function beside(method, path, body) {
  const answer = await fetch(`${address}/sandbox/${path}`, { method, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert.ok(answer.ok, text);
  return text && JSON.parse(text);
}

async function changes(session, client) {
  await beside("PUT", "keepalive", { ms: 200 });
  const next = collect((callback) => client.subscribe("/data/AccountChangeEvent", callback));
  const all = collect((callback) => client.subscribe("/data/ChangeEvents", callback, 2));
  await next("grpcKeepAlive");
  await all("grpcKeepAlive");
  const fields = { Name: "Acme", BillingCity: "Prague", AnnualRevenue: 1000, Renewal__c: "2026-02-28", Active__c: true };
  const { id } = await api(session, "POST", "sobjects/Account", fields, { "sforce-call-options": "client=js-test" });
  const [created] = await next("event");
  const header = created.payload.ChangeEventHeader;
  assert.deepEqual([header.entityName, header.recordIds, header.changeType, header.sequenceNumber], ["Account", [id], "CREATE", 1]);
  assert.equal(header.changeOrigin, "com/salesforce/api/rest/60.0;client=js-test");
  assert.deepEqual([header.changedFields, header.nulledFields, header.diffFields], [[], [], []]);
  assert.ok(Math.abs(header.commitTimestamp - Date.now()) < 60_000 && header.commitUser.startsWith("005"), JSON.stringify(header));
  const { payload } = created;
  assert.deepEqual([payload.Name, payload.AnnualRevenue, payload.Active__c, payload.Phone], ["Acme", 1000, true, null]);
  assert.deepEqual([payload.BillingAddress.City, payload.BillingAddress.Street], ["Prague", null]);
  assert.equal(new Date(payload.Renewal__c).toISOString(), "2026-02-28T00:00:00.000Z");

  await beside("PATCH", `records/Account/${id}`, { Phone: "1", AnnualRevenue: null, BillingCity: "Brno" });
  const update = (await next("event", 2))[1].payload;
  assert.equal(update.ChangeEventHeader.changeType, "UPDATE");
  assert.equal(update.ChangeEventHeader.changeOrigin, "");
  const changed = [...update.ChangeEventHeader.changedFields].sort();
  assert.deepEqual(changed, ["AnnualRevenue", "BillingAddress.City", "LastModifiedById", "LastModifiedDate", "Phone"]);
  assert.deepEqual(update.ChangeEventHeader.nulledFields, ["AnnualRevenue"]);
  assert.deepEqual([update.Name, update.Phone, update.BillingAddress.City], [null, "1", "Brno"]);

  // Equal changes of one transaction are one event; the second channel was asked for two events only.
  const more = await api(session, "POST", "composite/sobjects", { records: ["a", "b"].map((Name) => ({ attributes: { type: "Account" }, Name })) });
  const ids = more.map((result) => result.id);
  const records = ids.map((Id) => ({ attributes: { type: "Account" }, Id, Industry: "Energy" }));
  await api(session, "PATCH", "composite/sobjects", { records });
  const merged = (await next("event", 5))[4].payload.ChangeEventHeader;
  assert.deepEqual([merged.recordIds, merged.changedFields], [ids, ["LastModifiedDate", "Industry"]]);
  await beside("DELETE", `records/Account/${id}`);
  await beside("POST", `records/Account/${id}/undelete`);
  const types = (await next("event", 7)).slice(5).map((event) => event.payload.ChangeEventHeader.changeType);
  assert.deepEqual(types, ["DELETE", "UNDELETE"]);
  assert.equal((await all("event", 2)).length, 2);
  client.requestAdditionalEvents("/data/ChangeEvents", 3);
  assert.equal((await all("event", 5)).length, 5);
  return created.replayId;
}

async function refused(client, session, first) {
  const other = await connect(session);
  const again = collect((callback) => other.subscribeFromReplayId("/data/AccountChangeEvent", callback, 6, first));
  const events = await again("event", 6);
  assert.equal(events[0].payload.ChangeEventHeader.changeType, "UPDATE", "it begins behind the replay id");
  other.close();
  const lost = async (begin) => (await collect(begin)("error"))[0];
  const corrupted = await lost((callback) => client.subscribeFromReplayId("/data/ContactChangeEvent", callback, 1, 5));
  assert.equal(corrupted.code, 3);
  assert.equal(corrupted.metadata.get("error-code")[0], "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted");
  await assert.rejects(new Promise((_, reject) => client.subscribe("/data/NothingChangeEvent", (_s, type, data) => type === "error" && reject(data))), { code: 5 });
  const stranger = await connect({ ...session, accessToken: "wrong" });
  const denied = await lost((callback) => stranger.subscribe("/data/AccountChangeEvent", callback));
  assert.equal(denied.code, 16);
  stranger.close();
}

async function gaps(client) {
  await beside("PUT", "faults", {
    rules: [
      { method: "PUBLISH", nth: 1, fault: "gap_event" },
      { method: "PUBLISH", nth: 2, fault: "overflow_event" },
    ],
  });
  const next = collect((callback) => client.subscribe("/data/ContactChangeEvent", callback, 10));
  await next("grpcKeepAlive");
  const { id } = await beside("POST", "records/Contact", { LastName: "King" });
  await beside("PATCH", `records/Contact/${id}`, { FirstName: "Ada" });
  await beside("PATCH", `records/Contact/${id}`, { FirstName: "Eve" });
  // Until it has the topic's schema, the client hands over what comes next in the order in which its questions for it are answered.
  const events = (await next("event", 3)).sort((a, b) => a.replayId - b.replayId);
  const headers = events.map((event) => event.payload.ChangeEventHeader);
  assert.deepEqual(headers.map((header) => header.changeType), ["GAP_CREATE", "GAP_OVERFLOW", "UPDATE"]);
  assert.deepEqual([headers[0].recordIds, headers[1].recordIds], [[id], ["000000000000000AAA"]]);
  assert.deepEqual({ ...events[2].payload.Name }, { LastName: null, FirstName: "Eve", Salutation: null });
}

async function main() {
  const session = await logIn();
  const client = await connect(session);
  const first = await changes(session, client);
  await refused(client, session, first);
  await gaps(client);
  client.close();
  console.log("salesforce-pubsub-api-client: change events, bitmaps, flow control, replay, gaps and refusals as it expects them");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
