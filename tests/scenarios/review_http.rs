//! What waits for a person, over HTTP: the same JSON as the commands, and decisions that the running service carries out.

use serde_json::{Value, json};

use super::Kind;
use super::review::{contested, text};

struct Api {
    client: reqwest::Client,
    root: String,
}

type Said = (u16, Value);

impl Api {
    fn new(address: &str) -> Self {
        Self { client: crate::harness::http(), root: format!("http://{address}/api/v1/reviews") }
    }

    async fn said(request: reqwest::RequestBuilder) -> Said {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Said {
        Self::said(self.client.get(format!("{}{path}", self.root))).await
    }

    async fn post(&self, path: &str, body: Value) -> Said {
        Self::said(self.client.post(format!("{}{path}", self.root)).json(&body)).await
    }

    /// A request as a page of another site may send it from somebody's browser.
    async fn post_form(&self, path: &str) -> Said {
        Self::said(self.client.post(format!("{}{path}", self.root)).body("{}")).await
    }
}

pub async fn http_tells_and_decides(kinds: (Kind, Kind)) {
    let setup = contested(kinds).await;
    let mut service = setup.tidelock.serve();
    service.ready().await;
    let api = Api::new(&service.address().await);
    let (status, page) = api.get("?kind=conflict&pair=customers&limit=1").await;
    assert_eq!((status, &page["counts"]), (200, &json!({"conflict": 1})));
    let listed = setup.waiting();
    assert_eq!(page["reviews"][0], listed, "the JSON of the command line");
    assert_eq!(page["next"], listed["id"]);
    let (_, after) = api.get(&format!("?after={}", listed["id"])).await;
    assert_eq!((&after["reviews"], &after["next"]), (&json!([]), &Value::Null));
    let one = format!("/{}", listed["id"]);
    assert_eq!(api.get(&one).await.1, setup.review(0, &["show", &listed["id"].to_string()]).lines[0]);
    let body = json!({"take": "source", "version": listed["version"], "actor": "eve"});
    let (status, kept) = api.post(&format!("{one}/resolve"), body).await;
    assert_eq!((status, &kept["verdict"]), (202, &Value::Null), "{kept}");
    setup.target.await_value("SELECT full_name FROM clients WHERE client_id = 1", "s").await;
    assert_eq!(service.stop(), 0, "{}", service.log());
    setup.settled().await;
}

pub async fn http_refuses_what_cannot_be_meant(kinds: (Kind, Kind)) {
    let setup = contested(kinds).await;
    let id = setup.waiting()["id"].to_string();
    let mut service = setup.tidelock.serve();
    service.ready().await;
    let api = Api::new(&service.address().await);
    let (resolve, retry) = (format!("/{id}/resolve"), format!("/{id}/retry"));
    for (expected, (status, body)) in [
        (404, api.get("/99").await),
        (400, api.get("/x").await),
        (400, api.get("?kind=none").await),
        (400, api.get("?none=1").await),
        (400, api.post(&resolve, json!({})).await),
        (400, api.post(&resolve, json!({"take": "both"})).await),
        (400, api.post(&resolve, json!({"take": "source", "none": 1})).await),
        (400, api.post(&retry, json!({"take": "source"})).await),
        (404, api.post("/99/resolve", json!({"take": "source"})).await),
        (400, api.post_form(&retry).await),
    ] {
        assert_eq!(status, expected, "{body}");
        assert!(text(&body["error"], "code").starts_with("http."), "{body}");
    }
    assert_eq!(setup.review(0, &["show", &id]).lines[0]["decisions"], json!([]), "nothing is kept of it");
    assert_eq!(service.stop(), 0);
}
