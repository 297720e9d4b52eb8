//! `tidelock sandbox salesforce` as a process of a test's own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::RwLock;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::Tidelock;

/// A running sandbox; ended when dropped.
pub struct Sandbox {
    process: Child,
    /// What it said at its start: address and credentials.
    pub said: Value,
    /// For requests of a test's own.
    pub client: Client,
    token: RwLock<String>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Sandbox {
    /// Starts one on a port of its own.
    pub async fn start(tidelock: &Tidelock, arguments: &[&str]) -> Self {
        let mut command = tidelock.command(&["sandbox", "salesforce", "--port", "0", "--json"]);
        let mut process = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let sandbox = Self { process, said, client: super::http(), token: RwLock::default() };
        sandbox.log_in().await;
        sandbox
    }

    async fn log_in(&self) {
        let text = |name: &str| self.said[name].as_str().unwrap();
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            text("client_id"),
            text("client_secret")
        );
        let request = self.client.post(self.url("/services/oauth2/token")).body(body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["instance_url"], self.said["url"]);
        *self.token.write().unwrap() = answer["access_token"].as_str().unwrap().to_owned();
    }

    /// An address of it.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.said["url"].as_str().unwrap())
    }

    /// A request of the API.
    pub fn api(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = self.url(&format!("/services/data/v60.0/{path}"));
        self.client.request(method.parse().unwrap(), url).bearer_auth(&*self.token.read().unwrap())
    }

    /// How many records there are.
    pub async fn count(&self, object: &str) -> u64 {
        let answer = self.asked("GET", &format!("query?q=SELECT+COUNT()+FROM+{object}"), None).await;
        answer["totalSize"].as_u64().unwrap()
    }

    /// Sets the script of faults.
    pub async fn script(&self, script: Value) {
        let answer = self.client.put(self.url("/sandbox/faults")).body(script.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    /// What a request of the API is answered with. A session that a fault has ended begins anew.
    pub async fn asked(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let request = || {
            let request = self.api(method, path);
            if let Some(body) = body { request.json(body) } else { request }
        };
        let mut answer = request().send().await.unwrap();
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.log_in().await;
            answer = request().send().await.unwrap();
        }
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The records of a query, each with its fields in the query's order as text.
    pub async fn rows(&self, soql: &str) -> Vec<Vec<Option<String>>> {
        let mut path = format!("query?q={}", soql.replace('%', "%25").replace('+', "%2B").replace(' ', "+"));
        let list = soql.split_once(" FROM ").unwrap().0.trim_start_matches("SELECT ").to_owned();
        let names: Vec<&str> = list.split(", ").collect();
        let mut rows = Vec::new();
        loop {
            let page = self.asked("GET", &path, None).await;
            for record in page["records"].as_array().unwrap_or_else(|| panic!("{page}")) {
                let text = |name: &&str| match &record[*name] {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    other => Some(other.to_string()),
                };
                rows.push(names.iter().map(text).collect());
            }
            match page["nextRecordsUrl"].as_str() {
                Some(next) => next.trim_start_matches("/services/data/v60.0/").clone_into(&mut path),
                None => return rows,
            }
        }
    }

    /// What a test asks of the sandbox beside the API.
    pub async fn beside(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = self.client.request(method.parse().unwrap(), self.url(&format!("/sandbox/{path}")));
        let answer = request.body(body.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Creates a record as somebody else, and returns its id.
    pub async fn create(&self, object: &str, fields: Value) -> String {
        let made = self.beside("POST", &format!("records/{object}"), &fields).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Changes a record as somebody else.
    pub async fn edit(&self, object: &str, id: &str, fields: Value) {
        self.beside("PATCH", &format!("records/{object}/{id}"), &fields).await;
    }

    /// Deletes a record as somebody else; `hard` for good.
    pub async fn delete(&self, object: &str, id: &str, hard: bool) {
        self.beside("DELETE", &format!("records/{object}/{id}?hard={hard}"), &Value::Null).await;
    }

    /// Requests since the journal was last begun anew, all of them and those that write.
    pub async fn requests(&self) -> (u64, u64) {
        let told = self.beside("GET", "journal", &Value::Null).await;
        let counts = told["counts"].as_object().unwrap_or_else(|| panic!("{told}"));
        let of = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or(0);
        let writes = counts.keys().filter(|name| is_write(name)).map(|name| of(name)).sum();
        let asked = counts.keys().filter(|name| !name.contains(" sandbox"));
        (asked.map(|name| of(name)).sum(), writes)
    }

    /// Requests of one kind, such as `POST jobs/ingest`, since the journal was last begun anew.
    pub async fn asked_for(&self, kind: &str) -> u64 {
        let told = self.beside("GET", "journal", &Value::Null).await;
        told["counts"][kind].as_u64().unwrap_or(0)
    }

    /// The endpoint of a configuration for an object.
    pub fn endpoint(&self, object: &str, more: &Value) -> Value {
        let mut endpoint = json!({"type": "salesforce", "name": "crm", "object": object, "credentials": {
            "auth_type": "oauth2", "grant": "client_credentials", "instance_url": self.said["url"],
            "pubsub_endpoint": self.said["pubsub_endpoint"],
            "client_id": self.said["client_id"], "client_secret": self.said["client_secret"]}});
        for (key, value) in more.as_object().into_iter().flatten() {
            endpoint[key] = value.clone();
        }
        endpoint
    }
}

/// Whether requests of this kind, as the journal counts them, change records.
fn is_write(kind: &str) -> bool {
    let (method, of) = kind.split_once(' ').unwrap();
    let collections =
        of.starts_with("composite") && (["PATCH", "DELETE"].contains(&method) || kind == "POST composite/sobjects");
    collections || kind == "POST jobs/ingest"
}
