//! The article's snippets: every key is accepted, has its effect, or is named in a warning, and stands in the schema.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tidelock::change::End;
use tidelock::config::planned::{Metric, Threshold};
use tidelock::config::{CaptureMethod, Check, Mappings, Nulls, OnInvalid, Problem, Rule, codes, schema};

use super::{accepted, base, merge, pair};

fn seed(name: &str) -> Value {
    let text = std::fs::read_to_string(format!("tests/config/seed/{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The endpoints of 01 and 13 are complete but for what the article leaves to a dialogue.
fn over_bare_base(name: &str) -> Value {
    merge(
        &json!({"source": {"name": "crm"}, "target": {"name": "erp", "credentials": {"host": "db.example"}}}),
        &seed(name),
    )
}

/// Keys of the seeds that have an effect; every other one has to be named in a warning.
const EFFECTIVE: &[&str] = &[
    "index_recommendation",
    "retention_days",
    "parallelism",
    "validation_rules",
    "type",
    "object",
    "table",
    "credentials",
    "connection_name",
    "sync_type",
    "source",
    "target",
    "source_to_target",
    "target_to_source",
    "conflict_resolution",
    "strategy",
    "timestamp_field",
    "field_rules",
    "sync_hub",
    "system",
    "objects",
    "transformation",
    "handle_nulls",
    "field_selection",
    "include_fields",
    "exclude_fields",
    "retry_strategy",
    "fallback",
    "batch_size",
    "change_detection",
    "detection_window_seconds",
    "enabled",
    "level",
    "log_level",
    "max_update_count",
    "mode",
    "polling_interval_seconds",
];

/// Every value of a snippet: its pointer and the keys on the way.
fn leaves(value: &Value, pointer: &str, keys: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let mut below = |key: &str, value: &Value| {
        let mut keys = keys.to_vec();
        keys.push(key.to_owned());
        leaves(value, &format!("{pointer}/{key}"), &keys, found);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| below(key, value)),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.push((pointer.to_owned(), keys.to_vec()));
        }
    }
}

/// Whatever has no effect is named in a warning, and nothing else is.
fn check_warnings(name: &str, warnings: &[Problem]) {
    let mut found = Vec::new();
    leaves(&seed(name), "", &[], &mut found);
    for (pointer, keys) in found {
        let effective = keys.iter().any(|key| EFFECTIVE.contains(&key.as_str()));
        let named = warnings.iter().any(|warning| {
            warning.code == codes::NO_EFFECT
                && (pointer == warning.at.pointer || pointer.starts_with(&format!("{}/", warning.at.pointer)))
        });
        assert!(effective != named, "{name}: {pointer} effective {effective}, named {named}");
    }
    for warning in warnings {
        assert!(warning.at.line >= 1 && !warning.is_error());
    }
}

fn names(mappings: &Mappings) -> Vec<(&str, &str)> {
    match mappings {
        Mappings::Listed(listed) => listed.iter().map(|one| (one.source.as_str(), one.target.as_str())).collect(),
        Mappings::SameNames { .. } => Vec::new(),
    }
}

#[test]
fn s01_basic_bidirectional() {
    let loaded = accepted(&over_bare_base("01-basic-bidirectional"));
    let pair = &loaded.config.pairs[0];
    assert!(pair.source_to_target && pair.target_to_source);
    assert_eq!((pair.source.system_type.as_str(), pair.source.collection.as_str()), ("salesforce", "Account"));
    assert_eq!((pair.target.system_type.as_str(), pair.target.collection.as_str()), ("postgres", "accounts"));
    let expected = [("Id", "sf_id"), ("Name", "account_name"), ("Industry", "industry_type")];
    assert_eq!(names(&pair.mappings), expected);
    check_warnings("01-basic-bidirectional", &loaded.warnings);
    let no_login = |warning: &Problem| warning.code == codes::MISSING_KEY && warning.message.contains("Salesforce org");
    assert!(loaded.warnings.iter().any(no_login));
}

#[test]
fn s02_one_way_and_s03_bidirectional() {
    let (one_way, warnings) = pair(&seed("02-one-way"));
    assert!(one_way.source_to_target && !one_way.target_to_source);
    check_warnings("02-one-way", &warnings);
    let (two_way, warnings) = pair(&seed("03-bidirectional-lww"));
    assert!(two_way.source_to_target && two_way.target_to_source);
    assert_eq!(two_way.conflict.default, Rule::LATER);
    check_warnings("03-bidirectional-lww", &warnings);
}

#[test]
fn s04_hub_and_spoke() {
    let systems = json!({"systems": {
        "postgres_data_hub": {"type": "postgres", "url": "${DATABASE_URL}"},
        "salesforce": {"type": "salesforce"}, "netsuite": {"type": "netsuite"}, "zendesk": {"type": "zendesk"},
    }});
    let loaded = accepted(&merge(&systems, &seed("04-hub-and-spoke")));
    let pairs = &loaded.config.pairs;
    let names: Vec<&str> = pairs.iter().map(|pair| &*pair.name).collect();
    let expected = [
        "salesforce.Account",
        "salesforce.Contact",
        "netsuite.Customer",
        "netsuite.Contact",
        "zendesk.Organization",
        "zendesk.User",
    ];
    assert_eq!(names, expected);
    assert_eq!((&*pairs[0].source.name, &*pairs[0].target.name), ("salesforce", "postgres_data_hub"));
    assert_eq!((pairs[0].source.collection.as_str(), pairs[0].target.collection.as_str()), ("Account", "Account"));
    check_warnings("04-hub-and-spoke", &loaded.warnings);
    let unmapped = loaded.warnings.iter().filter(|warning| warning.code == codes::UNMAPPED_OBJECT).count();
    assert_eq!(unmapped, 6, "each object without a mapping is named");
}

#[test]
fn s05_transformations() {
    let (pair, warnings) = pair(&seed("05-field-mappings-transformation"));
    let Mappings::Listed(listed) = &pair.mappings else { panic!("listed") };
    assert!(listed[0].forward.is_empty() && listed[1].forward.is_empty(), "none is no function");
    assert_eq!(listed[2].forward[0].name, "format_phone");
    assert_eq!(listed[2].forward[0].params, "{}");
    assert_eq!(listed[2].forward[0].at.pointer, "/field_mappings/2/transformation");
    assert_eq!(listed[2].reverse, None);
    check_warnings("05-field-mappings-transformation", &warnings);
}

#[test]
fn s06_field_level_priority() {
    let over = merge(&json!({"sync_type": "bidirectional"}), &seed("06-conflict-field-level-priority"));
    let (pair, warnings) = pair(&over);
    assert_eq!(pair.conflict.default, Rule::LATER);
    assert_eq!(pair.conflict.fields["email"], Rule::Prefer(End::Source));
    assert_eq!(pair.conflict.fields["billing_address"], Rule::Prefer(End::Target));
    assert_eq!(pair.conflict.fields["phone"], Rule::LATER);
    check_warnings("06-conflict-field-level-priority", &warnings);
}

#[test]
fn s07_error_handling() {
    let (pair, warnings) = pair(&seed("07-error-handling-full"));
    assert_eq!(pair.retry.max_attempts, 5);
    assert!((pair.retry.backoff_factor - 1.5).abs() < f64::EPSILON);
    assert_eq!(pair.retry.initial_delay, Duration::from_secs(30));
    assert_eq!(pair.planned.notifications.threshold, Threshold::Critical);
    assert_eq!(pair.planned.notifications.channels.len(), 2);
    check_warnings("07-error-handling-full", &warnings);
}

#[test]
fn s08_performance_settings() {
    let (pair, warnings) = pair(&seed("08-performance-settings"));
    assert_eq!(pair.batch_size, 1000);
    assert_eq!(pair.capture, CaptureMethod::DatabaseTriggers);
    assert_eq!(pair.parallelism, 5);
    assert!(pair.index_recommendation);
    check_warnings("08-performance-settings", &warnings);
}

#[test]
fn s09_field_selection() {
    let (pair, warnings) = pair(&seed("09-field-selection"));
    let fields = ["Id", "Name", "Email", "Phone", "LastModifiedDate"];
    assert_eq!(names(&pair.mappings), fields.map(|name| (name, name)));
    check_warnings("09-field-selection", &warnings);
}

#[test]
fn s10_validation_rules() {
    let (pair, warnings) = pair(&seed("10-validation-rules"));
    let rules = &pair.validation_rules;
    assert_eq!((&rules[0].check, rules[0].on_error), (&Check::EmailFormat, OnInvalid::RejectRecord));
    let pattern = Check::Regex("^\\+[1-9]\\d{1,14}$".to_owned());
    assert_eq!((&rules[1].check, rules[1].on_error), (&pattern, OnInvalid::StandardizeFormat));
    check_warnings("10-validation-rules", &warnings);
}

#[test]
fn s11_monitoring() {
    let loaded = accepted(&merge(&base(), &seed("11-monitoring")));
    assert_eq!(loaded.config.log_level.as_deref(), Some("info"));
    let monitoring = &loaded.config.pairs[0].planned.monitoring;
    assert_eq!(monitoring.metrics, [Metric::Latency, Metric::ErrorRate, Metric::Throughput]);
    assert_eq!(monitoring.alerting.latency_threshold_ms, Some(5000));
    assert_eq!(monitoring.alerting.consecutive_failures_threshold, Some(3));
    assert_eq!(monitoring.retention_days, Some(30));
    check_warnings("11-monitoring", &loaded.warnings);
}

#[test]
fn s12_loop_prevention() {
    let (pair, warnings) = pair(&seed("12-loop-prevention"));
    let loops = pair.loop_prevention.unwrap();
    assert_eq!((loops.window, loops.max_update_count), (Duration::from_secs(60), 2));
    check_warnings("12-loop-prevention", &warnings);
}

#[test]
fn s13_connection() {
    let loaded = accepted(&over_bare_base("13-connection"));
    let pair = &loaded.config.pairs[0];
    assert_eq!(&*pair.name, "SF_Postgres_Accounts");
    assert_eq!(pair.source.credentials.other["auth_type"].expose(), "oauth2");
    assert_eq!(pair.source.credentials.other["instance_url"].expose(), "https://yourinstance.salesforce.com");
    let target = &pair.target.credentials;
    assert_eq!(target.host.as_deref(), Some("your-postgres-host.example.com"));
    assert_eq!((target.port, target.database.as_deref()), (Some(5432), Some("customer_data")));
    assert_eq!(target.schema.as_deref(), Some("public"));
    check_warnings("13-connection", &loaded.warnings);
}

#[test]
fn s14_mapping_options() {
    let (pair, warnings) = pair(&seed("14-field-mappings-options"));
    assert_eq!(pair.nulls, Nulls::Preserve);
    assert_eq!(names(&pair.mappings).len(), 5);
    check_warnings("14-field-mappings-options", &warnings);
}

#[test]
fn s15_sync_settings() {
    let (pair, warnings) = pair(&seed("15-sync-settings"));
    assert!(pair.target_to_source);
    assert_eq!(pair.capture, CaptureMethod::DatabaseTriggers);
    assert_eq!(pair.polling_interval, Duration::from_secs(30));
    assert_eq!(pair.conflict.default, Rule::LATER);
    assert_eq!(pair.conflict.timestamp_field.as_deref(), Some("LastModifiedDate"));
    check_warnings("15-sync-settings", &warnings);
}

#[test]
fn s16_error_handling_and_monitoring() {
    let loaded = accepted(&merge(&base(), &seed("16-error-handling-monitoring")));
    assert_eq!(loaded.config.log_level.as_deref(), Some("info"));
    let pair = &loaded.config.pairs[0];
    assert_eq!((pair.retry.max_attempts, pair.retry.initial_delay), (3, Duration::from_secs(1)));
    assert_eq!(pair.planned.notifications.email, ["data-team@yourcompany.com"]);
    assert_eq!(pair.planned.notifications.slack.as_deref(), Some("#data-sync-alerts"));
    assert_eq!(pair.planned.monitoring.dashboard_enabled, Some(true));
    check_warnings("16-error-handling-monitoring", &loaded.warnings);
}

/// The article's example, put together from its five parts.
#[test]
fn the_whole_example_of_the_article() {
    let parts = [
        "13-connection",
        "14-field-mappings-options",
        "15-sync-settings",
        "16-error-handling-monitoring",
        "12-loop-prevention",
        "10-validation-rules",
        "08-performance-settings",
    ];
    let whole = parts.iter().fold(json!({}), |whole, name| merge(&whole, &seed(name)));
    let loaded = accepted(&whole);
    assert_eq!(loaded.config.pairs.len(), 1);
    assert_eq!(&*loaded.config.pairs[0].name, "SF_Postgres_Accounts");
}

#[test]
fn every_key_of_the_seeds_stands_in_the_schema() {
    let schema = schema();
    let mut known = BTreeSet::new();
    collect_properties(schema, &mut known);
    for path in super::golden::json_files("tests/config/seed") {
        let seed: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let mut found = Vec::new();
        leaves(&seed, "", &[], &mut found);
        for key in found.into_iter().flat_map(|(_, keys)| keys) {
            assert!(key.parse::<usize>().is_ok() || known.contains(&key), "{key} of {}", path.display());
        }
    }
}

fn collect_properties(schema: &Value, known: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                known.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| collect_properties(value, known));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_properties(value, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_schema_is_closed_titled_and_described() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "tidelock configuration");
    assert_eq!(schema["additionalProperties"], false);
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        if definition.get("properties").is_some() {
            assert_eq!(definition["additionalProperties"], false, "{name}");
            for (key, property) in definition["properties"].as_object().unwrap() {
                assert!(property.get("description").is_some(), "{name}.{key} has no description");
            }
        }
        assert!(definition.get("description").is_some() || name == "SyncKeys", "{name} has no description");
    }
    assert!(!schema.to_string().contains("$at"), "places are no business of users");
    assert!(schema["properties"]["field_mappings"]["description"].is_string(), "flattened keys are there");
}
