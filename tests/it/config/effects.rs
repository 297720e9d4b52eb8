//! What the keys come to: the typed configuration of the accepted golden files, and single keys.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tidelock::change::{End, Ends};
use tidelock::config::{CaptureMethod, Config, Deletes, Mappings, Nulls, OnError, Rule, codes};

use super::{accepted, base, codes_of, load, load_value, merge, pair, refused};

fn golden(name: &str) -> Config {
    load(Path::new(&format!("tests/config/ok/{name}.json"))).unwrap().config
}

#[test]
fn defaults() {
    let config = golden("minimal");
    let pair = &config.pairs[0];
    assert_eq!(&*pair.name, "minimal", "the file's name");
    assert!(pair.source_to_target && !pair.target_to_source, "one_way");
    assert_eq!((&*pair.source.name, &*pair.target.name), ("source", "target"));
    assert_eq!(pair.source.credentials.path.as_deref(), Some(Path::new("tests/config/ok/a.db")));
    assert!(matches!(&pair.mappings, Mappings::SameNames { exclude } if exclude.is_empty()));
    assert_eq!((pair.capture, pair.batch_size, pair.copy_batch_size), (CaptureMethod::DatabaseTriggers, 1000, 5000));
    assert_eq!((pair.deletes, pair.nulls), (Deletes::Propagate, Nulls::Preserve));
    assert_eq!((pair.conflict.default, pair.conflict.timestamp_field.as_deref()), (Rule::LATER, None));
    assert_eq!((pair.retry.max_attempts, pair.retry.initial_delay), (5, Duration::from_secs(1)));
    assert_eq!(pair.retry.max_delay, Duration::from_secs(300));
    assert_eq!(pair.polling_interval, Duration::from_secs(30));
    assert_eq!(config.state_url, "sqlite://tests/config/ok/tidelock.db");
    assert_eq!(config.plugins.dir, Path::new("tests/config/ok/plugins"));
    assert_eq!(config.server.listen, "127.0.0.1:7070");
    assert!(config.server.token.is_none() && config.log_level.is_none());
    assert_eq!(golden("jsonc").pairs[0].target.credentials.path.as_deref(), Some(Path::new("tests/config/ok/b.db")));
}

#[test]
fn the_example_of_the_design() {
    let config = golden("design");
    let pair = &config.pairs[0];
    assert_eq!(pair.source.credentials.password.as_ref().unwrap().expose(), "hunter2-hunter2");
    assert!(!format!("{config:?}").contains("hunter2"), "I12");
    assert_eq!((pair.source.filter.as_deref(), pair.target.filter.as_deref()), (Some("country = 'US'"), None));
    let key = pair.key.as_ref().unwrap();
    assert_eq!((key.source.as_slice(), key.target.as_slice()), (&["id".to_owned()][..], &["crm_id".to_owned()][..]));
    assert_eq!(pair.match_on, ["email"]);
    let Mappings::Listed(listed) = &pair.mappings else { panic!("listed") };
    assert_eq!(listed[1].forward[0].params, r#"{"region":"US"}"#);
    assert_eq!(listed[2].on_error, OnError::KeepOriginal);
    let names =
        |calls: &[tidelock::config::TransformCall]| calls.iter().map(|call| call.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&listed[3].forward), ["trim", "title_case"]);
    assert_eq!(names(listed[3].reverse.as_ref().unwrap()), ["trim"]);
    assert!(listed[4].source_to_target && !listed[4].target_to_source);
    assert_eq!(listed[4].default, Some(json!("basic")));
    assert_eq!(listed[4].value_map, [("true".to_owned(), json!("gold"))]);
    let lookup = listed[6].lookup.as_ref().unwrap();
    let ends = lookup.ends.as_ref().unwrap();
    assert_eq!((&*lookup.pair, ends.source.0, &*ends.target.1.collection), ("users", End::Source, "people"));
    assert_eq!(config.pairs.iter().map(|pair| pair.looked_up).collect::<Vec<_>>(), [false, true]);
    assert_eq!(pair.soft_delete.as_deref(), Some("deleted_at"));
    assert_eq!(pair.deletes, Deletes::SoftDelete);
    assert_eq!(pair.conflict.default, Rule::Prefer(End::Target));
}

#[test]
fn a_hub_becomes_pairs_and_the_nearest_key_wins() {
    let config = golden("hub");
    let of = |name: &str| config.pairs.iter().find(|pair| &*pair.name == name).unwrap();
    let account = of("salesforce.Account");
    assert_eq!((account.source.collection.as_str(), account.target.collection.as_str()), ("Account", "accounts"));
    assert!(account.target_to_source, "from the top");
    assert_eq!(account.conflict.default, Rule::Prefer(End::Target), "the hub's name");
    assert_eq!((account.batch_size, account.copy_batch_size), (1000, 5000));
    let contact = of("salesforce.Contact");
    assert_eq!(contact.target.collection, "Contact");
    assert!(matches!(contact.mappings, Mappings::SameNames { .. }));
    let orgs = of("orgs");
    assert!(!orgs.target_to_source, "from the system");
    assert_eq!((orgs.batch_size, orgs.copy_batch_size), (20, 20), "from the mapping");
    assert_eq!((orgs.source.name.as_ref(), orgs.source.collection.as_str()), ("support", "organizations"));
    assert_eq!(of("support.users").batch_size, 10);
}

#[test]
fn a_lookup_in_a_hub_names_a_mapping_of_its_system_or_a_pair() {
    let file = |name: &str| json!({"type": "sqlite", "path": format!("{name}.db")});
    let contact = |of: &str| json!({"hub": "contacts", "field_mappings": [{"source": "account", "target": "account_id", "lookup": of}]});
    let config = accepted(&json!({
        "systems": {"hub": file("hub"), "crm": file("crm"), "desk": file("desk")}, "sync_hub": "hub",
        "connected_systems": [
            {"system": "crm", "mappings": {"Account": {"hub": "accounts", "field_mappings": []}, "Contact": contact("Account")}},
            {"system": "desk", "mappings": {"Account": {"connection_name": "orgs", "hub": "accounts", "field_mappings": []}, "Contact": contact("orgs")}},
        ],
    }));
    let of = |name: &str| {
        let pair = config.config.pairs.iter().find(|pair| &*pair.name == name).unwrap();
        let Mappings::Listed(listed) = &pair.mappings else { panic!("listed") };
        let lookup = listed[0].lookup.clone().unwrap();
        let ends = lookup.ends.unwrap();
        (lookup.pair.to_string(), ends.source.1.name.to_string(), ends.target.1.collection)
    };
    let all = |parts: [&str; 3]| (parts[0].to_owned(), parts[1].to_owned(), parts[2].to_owned());
    assert_eq!(of("crm.Contact"), all(["crm.Account", "crm", "accounts"]));
    assert_eq!(of("desk.Contact"), all(["orgs", "desk", "accounts"]));
}

#[test]
fn a_service_and_what_it_includes() {
    let config = golden("service");
    let names: Vec<&str> = config.pairs.iter().map(|pair| &*pair.name).collect();
    assert_eq!(names, ["service-1", "second", "third"]);
    let sizes: Vec<usize> = config.pairs.iter().map(|pair| pair.batch_size).collect();
    assert_eq!(sizes, [50, 60, 1000], "keys beside syncs hold for them, not for included files");
    let path = |index: usize| config.pairs[index].source.credentials.path.clone().unwrap();
    assert_eq!((path(0), path(2)), ("tests/config/ok/a.db".into(), "tests/config/ok/a.db".into()));
    assert_eq!(config.state_url, "sqlite://tests/config/state/tidelock.db");
    assert_eq!(config.plugins.dir, Path::new("/opt/plugins"));
    assert_eq!((config.plugins.limits.call_ms, config.plugins.limits.memory_bytes), (100, 1 << 20));
    assert_eq!(config.plugins.limits.row_us, 20);
    assert_eq!(config.plugins.grants["mine"], ["wasi:clocks", "wasi:cli/stdout"]);
    let rollback = config.plugins.rollback.unwrap();
    assert_eq!((rollback.window_values, rollback.error_rate), (200, 0.2));
    assert_eq!(config.server.token.as_ref().unwrap().expose(), "token-token-token");
    assert_eq!(config.log_level.as_deref(), Some("debug"));
}

#[test]
fn polling_goes_by_updated_at_or_the_timestamp_field() {
    let config = golden("polling");
    let pair = &config.pairs[0];
    assert_eq!(pair.capture, CaptureMethod::Polling);
    assert_eq!(pair.polling_interval, Duration::from_millis(250));
    assert_eq!(pair.source.updated_at.as_deref(), Some("changed"), "what the target's name maps to");
    assert_eq!(pair.target.updated_at.as_deref(), Some("written"), "said at the endpoint");
}

#[test]
fn field_selection_keeps_keys_and_adds_what_is_not_mapped() {
    let config = golden("field_selection");
    let listed = |index: usize| match &config.pairs[index].mappings {
        Mappings::Listed(listed) => {
            listed.iter().map(|one| (one.source.clone(), one.target.clone())).collect::<Vec<_>>()
        }
        Mappings::SameNames { exclude } => exclude.iter().map(|name| ("-".to_owned(), name.clone())).collect(),
    };
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(listed(0), own(&[("id", "id"), ("name", "name")]));
    assert_eq!(listed(1), own(&[("-", "notes")]), "the key stays");
    assert_eq!(listed(2), own(&[("id", "crm_id"), ("name", "full_name"), ("phone", "phone")]));
    let Mappings::Listed(added) = &config.pairs[0].mappings else { panic!("listed") };
    assert!(added[0].target_to_source && added[0].reverse.as_ref().is_some_and(Vec::is_empty));
}

#[test]
fn field_rules_name_fields_as_either_side_calls_them() {
    let config = golden("conflict_rules");
    let pair = &config.pairs[0];
    assert_eq!(pair.conflict.default, Rule::Prefer(End::Target));
    assert_eq!(pair.conflict.fields["mail"], Rule::Prefer(End::Source));
    assert_eq!(pair.conflict.fields["phone"], Rule::LATER);
    assert_eq!(pair.conflict.fields["tags"], Rule::Plugin(0));
    assert_eq!(pair.conflict.resolvers[0].name, "merge_tags");
    assert_eq!(pair.conflict.fields["notes"], Rule::Manual);
    assert_eq!(pair.capture, CaptureMethod::DatabaseTriggers);
}

#[test]
fn both_spellings_that_agree_are_fine() {
    let (pair, _) = pair(&json!({
        "sync_type": "bidirectional", "source_to_target": true, "target_to_source": true,
        "conflict_resolution": "last_write_wins",
        "sync_settings": {"sync_type": "bidirectional",
                          "conflict_resolution": {"strategy": "last_write_wins", "timestamp_field": "changed"}},
        "monitoring": {"logging": {"level": "warn"}, "log_level": "warn",
                       "metrics": ["sync_latency", "throughput"], "metric_collection": ["throughput", "latency"]},
        "error_handling": {"notification": {"channels": ["email"]}, "notifications": {"email": "a@example.com"}},
    }));
    assert_eq!(pair.conflict.timestamp_field.as_deref(), Some("changed"), "the longer spelling counts");
    assert_eq!(pair.planned.notifications.email, ["a@example.com"]);
    assert_eq!(pair.planned.notifications.channels.len(), 1);
}

#[test]
fn single_keys() {
    let (one, warnings) = pair(&json!({"deletes": "ignore", "mapping_options": {"handle_nulls": "ignore"},
        "error_handling": {"retry_strategy": {"max_attempts": 0, "initial_delay_seconds": 0.5, "max_delay_seconds": 2}},
        "performance_settings": {"change_detection": "polling"}, "source": {"updated_at": "t"}}));
    assert_eq!(warnings, []);
    assert_eq!((one.deletes, one.nulls, one.capture), (Deletes::Ignore, Nulls::Ignore, CaptureMethod::Polling));
    assert_eq!((one.retry.initial_delay, one.retry.max_delay), (Duration::from_millis(500), Duration::from_secs(2)));
    let columns = Ends { source: one.source.updated_at, target: one.target.updated_at };
    assert_eq!(columns, Ends { source: Some("t".to_owned()), target: None });
    let (long, _) = pair(&json!({"error_handling": {"retry_strategy": {"initial_delay_seconds": 1000}}}));
    assert_eq!(long.retry.max_delay, Duration::from_secs(1000), "no delay is shorter than the first");
}

#[test]
fn servers_and_tokens() {
    for (listen, token, expected) in [
        ("127.0.0.1:0", None, None),
        ("[::1]:7070", None, None),
        ("localhost:7070", None, None),
        ("0.0.0.0:7070", Some("${TIDELOCK_TOKEN}"), None),
        ("0.0.0.0:7070", None, Some(codes::TOKEN_REQUIRED)),
        ("[::]:7070", None, Some(codes::TOKEN_REQUIRED)),
        ("tidelock.example:80", None, Some(codes::TOKEN_REQUIRED)),
        ("tidelock.example", None, Some(codes::INVALID_VALUE)),
        ("0.0.0.0:7070", Some("${UNSET}"), Some(codes::MISSING_VARIABLE)),
    ] {
        let config = merge(&base(), &json!({"server": {"listen": listen, "token": token}}));
        let (result, _folder) = load_value(&config);
        let found = result.err().map(|problems| codes_of(&problems));
        assert_eq!(found, expected.map(|code| vec![code]), "{listen} {token:?}");
    }
}

#[test]
fn the_state_may_be_kept_in_memory() {
    let (result, _folder) = load_value(&merge(&base(), &json!({"state": {"url": "sqlite://:memory:"}})));
    assert_eq!(result.unwrap().config.state_url, "sqlite://:memory:");
    let problems = refused(&merge(&base(), &json!({"state": {"url": "postgres://u:hunter2@h/d"}})));
    assert_eq!(codes_of(&problems), [codes::UNSUPPORTED_STATE]);
    assert!(!format!("{problems:?}").contains("hunter2"), "I12");
}

#[test]
fn values_of_variables_are_never_shown() {
    let config = merge(
        &base(),
        &json!({"sync_type": "bidirectional", "source": {"type": "${CRM_PASSWORD}"}, "connection_name": "a ${CRM_PASSWORD}",
        "conflict_resolution": {"strategy": "system_priority", "priority_system": "${TIDELOCK_TOKEN}"}}),
    );
    let problems = refused(&config);
    assert_eq!(problems.len(), 3, "{problems:?}");
    let shown = tidelock::cli::check::render(&problems, false);
    assert!(!shown.contains("hunter2") && !shown.contains("token-token"), "{shown}");
    assert!(shown.contains("${CRM_PASSWORD}"), "{shown}");
}

#[test]
fn files_are_read_once_and_circles_end() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, value: serde_json::Value| std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    write("a.json", merge(&base(), &json!({"include": ["*.json", "./b.json"]})));
    write("b.json", merge(&base(), &json!({"include": ["a.json", "../nowhere/a.json"]})));
    let problems = load(&folder.path().join("a.json")).unwrap_err();
    assert_eq!(codes_of(&problems), [codes::UNREADABLE]);
    write("b.json", merge(&base(), &json!({"include": ["a.json"]})));
    let config = load(&folder.path().join("a.json")).unwrap().config;
    let names: Vec<&str> = config.pairs.iter().map(|pair| &*pair.name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.json");
    let not_text = folder.path().join("bytes.json");
    std::fs::write(&not_text, [0xff, 0xfe]).unwrap();
    for path in [missing.as_path(), folder.path(), not_text.as_path()] {
        let problems = load(path).unwrap_err();
        assert_eq!(codes_of(&problems), [codes::UNREADABLE], "{}", path.display());
    }
}
