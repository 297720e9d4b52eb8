//! The pairs over HTTP: where they stand, their switches, plans, audits and comparisons on demand, and the past of a record.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Kind, Setup};

struct Api {
    client: reqwest::Client,
    root: String,
}

impl Api {
    async fn said(request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        Self::said(self.client.get(format!("{}{path}", self.root)).bearer_auth("secret")).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        Self::said(self.client.post(format!("{}{path}", self.root)).bearer_auth("secret").json(&body)).await
    }

    /// Waits until the pair is in a phase.
    async fn awaits(&self, phase: &str) {
        while self.get("/pairs/customers").await.1["phase"] != phase {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub async fn http_tells_and_switches_pairs(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"sync_type": "bidirectional", "server": {"token": "secret"}}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada'), (2, 'Bob')").await;
    let mut service = setup.tidelock.serve();
    let api = Api { client: crate::harness::http(), root: format!("http://{}/api/v1", service.address().await) };
    api.awaits("live").await;
    let (status, all) = api.get("/pairs").await;
    let pair = &all["pairs"][0];
    assert_eq!((status, &pair["pair"], &pair["sync_type"]), (200, &json!("customers"), &json!("bidirectional")));
    assert_eq!((&pair["counts"]["written_target"], &pair["total"]["links"]), (&json!(2), &json!(2)), "{pair}");
    paused_and_looked_at(&setup, &api).await;
    assert_eq!(api.post("/pairs/customers/resume", json!({})).await.0, 200);
    setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 1", "Ida").await;
    setup.source.await_value("SELECT name FROM customers WHERE id = 3", "Cid").await;
    compared_and_explained(&setup, &api).await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}

async fn paused_and_looked_at(setup: &Setup, api: &Api) {
    let paused = api.post("/pairs/customers/pause", json!({})).await;
    assert_eq!(paused, (200, json!({"pair": "customers", "paused": true})));
    api.awaits("paused").await;
    setup.source.execute("UPDATE customers SET name = 'Ida' WHERE id = 1").await;
    setup.target.execute("INSERT INTO clients (client_id, full_name) VALUES (3, 'Cid')").await;
    let (status, plan) = api.post("/pairs/customers/plan", json!({})).await;
    assert_eq!((status, &plan["target"]["updates"], &plan["source"]["creates"]), (200, &json!(1), &json!(1)), "{plan}");
    let (status, audit) = api.post("/pairs/customers/audit", json!({})).await;
    assert_eq!((status, &audit["different"], &audit["missing_in_source"]), (200, &json!(1), &json!(1)), "{audit}");
    assert_eq!(setup.target.value("SELECT full_name FROM clients WHERE client_id = 1").await.as_deref(), Some("Ada"));
}

async fn compared_and_explained(setup: &Setup, api: &Api) {
    let (status, asked) = api.post("/pairs/customers/resync", json!({"keys": ["1"], "from": "source"})).await;
    assert_eq!((status, &asked["resync"]), (202, &json!(true)), "{asked}");
    let outcome = loop {
        let (_, told) = api.get(&format!("/pairs/customers/resync/{}", asked["request"])).await;
        if !told["outcome"].is_null() {
            break told["outcome"].clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&outcome["looked_at"], &outcome["written_target"]), (&json!(1), &json!(0)), "{outcome}");
    let (status, past) = api.get("/history?pair=customers&key=1").await;
    assert_eq!((status, past["history"].as_array().unwrap().len()), (200, 2), "{past}");
    assert_eq!(past, setup.tidelock.run(&["explain", "customers", "1", "--config", "sync.json", "--json"]).lines[0]);
}

pub async fn http_refuses_strangers_and_nonsense(kinds: (Kind, Kind)) {
    let setup = Setup::new(kinds).await;
    setup.tables().await;
    setup.configure(json!({"server": {"token": "secret"}}));
    let mut service = setup.tidelock.serve();
    let api = Api { client: crate::harness::http(), root: format!("http://{}/api/v1", service.address().await) };
    api.awaits("live").await;
    for path in ["pause", "resume", "resync", "plan", "audit"] {
        refuses(&api, path).await;
    }
    assert_eq!(Api::said(api.client.get(format!("{}/pairs", api.root))).await.0, 401);
    assert_eq!(api.get("/pairs/others").await.0, 404);
    assert_eq!(api.get("/history?pair=customers").await.0, 400);
    assert_eq!(api.get("/history?pair=customers&key=9").await.0, 404);
    let both = api.post("/pairs/customers/resync", json!({"keys": ["1"], "filter": "true"})).await;
    assert_eq!((both.0, &both.1["error"]["code"]), (400, &json!("resync.refused")));
    assert_eq!(api.get("/pairs/customers").await.1["phase"], "live", "none of that did anything");
    assert_eq!(service.stop(), 0, "{}", service.log());
}

async fn refuses(api: &Api, path: &str) {
    let url = format!("{}/pairs/customers/{path}", api.root);
    let stranger = Api::said(api.client.post(&url).json(&json!({}))).await;
    assert_eq!((stranger.0, &stranger.1["error"]["code"]), (401, &json!("http.unauthorized")), "{path}");
    // As a page of another site may send it from somebody's browser.
    let form = Api::said(api.client.post(&url).bearer_auth("secret").body("{}")).await;
    assert_eq!((form.0, &form.1["error"]["code"]), (400, &json!("http.bad_request")), "{path}");
    assert_eq!(api.post(&format!("/pairs/others/{path}"), json!({})).await.0, 404, "{path}");
    assert_eq!(api.post(&format!("/pairs/customers/{path}"), json!({"sneaky": 1})).await.0, 400, "{path}");
}
