//! What is said about schemas: by whoever registers them, by the version before, by the settings.

use serde_json::{Value, json};

use crate::stack::{Stack, record};

fn with(schema: &str, properties: Value) -> Value {
    json!({"schema": schema, "metadata": {"properties": properties}})
}

#[tokio::test]
async fn defaults_lie_below_and_overrides_above_what_a_schema_brings() {
    let stack = Stack::start().await;
    let rule = |name: &str, doc: &str| json!({"name": name, "doc": doc, "kind": "CONDITION", "mode": "WRITE", "type": "CEL"});
    let config = json!({
        "defaultMetadata": {"properties": {"team": "default", "tier": "default", "zone": "default"}, "tags": {"a": ["low"], "b": ["low"]}},
        "overrideMetadata": {"properties": {"zone": "override"}, "sensitive": ["zone"]},
        "defaultRuleSet": {"domainRules": [rule("one", "default"), rule("two", "default")]},
        "overrideRuleSet": {"domainRules": [rule("two", "override")]},
    });
    assert_eq!(stack.ask("PUT", "/config/s", config).await.0, 200);
    let request = json!({
        "schema": "\"int\"",
        "metadata": {"properties": {"team": "own", "zone": "own"}, "tags": {"a": ["high"]}},
        "ruleSet": {"domainRules": [rule("one", "own")]},
    });
    let first = stack.register_as("s", request.clone()).await;
    let metadata = json!({
        "tags": {"a": ["high"], "b": ["low"]},
        "properties": {"team": "own", "tier": "default", "zone": "override"},
        "sensitive": ["zone"],
    });
    assert_eq!(first["metadata"], metadata);
    let docs = |body: &Value| -> Vec<String> {
        let rules = body["ruleSet"]["domainRules"].as_array().unwrap().iter();
        rules
            .map(|rule| format!("{}: {}", rule["name"].as_str().unwrap(), rule["doc"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(docs(&first), ["one: own", "two: override"]);
    for path in ["/subjects/s/versions/1", "/schemas/ids/1", "/subjects/s/metadata?key=zone&value=override"] {
        let found = stack.get(path).await;
        assert_eq!((&found["metadata"], docs(&found)), (&metadata, docs(&first)), "{path}");
    }
    // The same again, whole or without what the version before and the settings say.
    for request in [request, json!({"schema": "\"int\""})] {
        assert_eq!(stack.register_as("s", request.clone()).await["version"], 1);
        let (status, found) = stack.ask("POST", "/subjects/s", request).await;
        assert_eq!((status, &found["version"]), (200, &json!(1)), "{found}");
    }
}

#[tokio::test]
async fn a_version_is_repeated_in_the_metadata_where_one_was_asked_for() {
    let stack = Stack::start().await;
    let said = |body: &Value| body["metadata"]["properties"]["confluent:version"].clone();
    assert_eq!(said(&stack.register("s", &record("R", &["a", "b"])).await), Value::Null);
    let request = |version: i32, fields: &[&str]| json!({"schema": record("R", fields), "version": version});
    let second = stack.register_as("s", request(-1, &["a"])).await;
    assert_eq!((&second["version"], said(&second)), (&json!(2), json!("2")));
    // It is passed on, and right each time.
    let third = stack.register("s", &record("R", &[])).await;
    assert_eq!((&third["version"], said(&third)), (&json!(3), json!("3")));
    assert_eq!(said(&stack.get("/subjects/s/versions/3").await), "3");
    // The latest once more is no new version, an older one is.
    assert_eq!(stack.register_as("s", request(-1, &[])).await["version"], 3);
    stack.ask("PUT", "/config/s", json!({"compatibility": "NONE"})).await;
    let back = stack.register_as("s", request(-1, &["a"])).await;
    assert_eq!((&back["version"], said(&back)), (&json!(4), json!("4")));
    let fifth = stack.register_as("s", request(5, &["c"])).await;
    assert_eq!((&fifth["version"], said(&fifth)), (&json!(5), json!("5")));
    let wrong = stack.refuses("POST", "/subjects/s/versions", request(9, &["d"]), 42201).await;
    assert!(wrong.contains("Version is not one more than previous version: found 9, expected 6"), "{wrong}");
}

#[tokio::test]
async fn a_schema_is_found_whether_it_says_its_version_or_not() {
    let stack = Stack::start().await;
    let (first, second) = (record("R", &["a"]), record("R", &[]));
    stack.register_as("s", with(&first, json!({"owner": "me"}))).await;
    stack.register_as("s", with(&second, json!({"owner": "me", "confluent:version": "2"}))).await;
    let version = async |request: Value| stack.ask("POST", "/subjects/s", request).await.1["version"].clone();
    assert_eq!(version(with(&second, json!({"owner": "me"}))).await, 2);
    assert_eq!(version(with(&first, json!({"owner": "me", "confluent:version": "1"}))).await, 1);
    assert_eq!(version(with(&first, json!({"owner": "me", "confluent:version": "2"}))).await, Value::Null);
    assert_eq!(version(with(&second, json!({"owner": "you"}))).await, Value::Null);
    assert_eq!(stack.register_as("s", with(&second, json!({"owner": "me"}))).await["version"], 2);
}

#[tokio::test]
async fn without_a_text_the_latest_one_gets_new_metadata_with_its_own_references() {
    let stack = Stack::start().await;
    stack.register("address", &record("Address", &["zip"])).await;
    let user = r#"{"type":"record","name":"User","fields":[{"name":"a","type":"Address"}]}"#;
    let references = json!([{"name": "Address", "subject": "address", "version": 1}]);
    stack.register_as("user", json!({"schema": user, "references": references})).await;
    let request = json!({"references": [], "metadata": {"properties": {"owner": "me"}}});
    let second = stack.register_as("user", request).await;
    assert_eq!((&second["version"], &second["references"]), (&json!(2), &references));
    assert_eq!(second["metadata"]["properties"]["owner"], "me");
    // Who has the whole type in one text means the same.
    let whole = stack.get("/subjects/user/versions/2?format=Resolved").await["schema"].clone();
    assert_eq!(stack.register_as("user", json!({"schema": whole})).await["version"], 2);
}

#[tokio::test]
async fn rules_are_checked_across_their_lists() {
    let stack = Stack::start().await;
    let rule = |name: &str, mode: &str| json!({"name": name, "kind": "TRANSFORM", "mode": mode, "type": "X"});
    let refused = [
        (json!({"domainRules": [rule("r", "UPGRADE")]}), "Domain rules can only be WRITE, READ, WRITEREAD"),
        (
            json!({"encodingRules": [rule("r", "UPDOWN")]}),
            "Encoding rules can only be WRITE, READ, WRITEREAD",
        ),
        (
            json!({"migrationRules": [rule("r", "READ")]}),
            "Migration rules can only be UPGRADE, DOWNGRADE, UPDOWN",
        ),
        (
            json!({"domainRules": [rule("r", "READ")], "migrationRules": [rule("r", "UPGRADE")]}),
            "Found rule with duplicate name 'r'",
        ),
        (json!({"domainRules": [{"name": "r", "mode": "READ"}]}), "Missing rule type"),
        (json!({"domainRules": [{"type": "CEL"}]}), "Missing rule name"),
        (json!({"domainRules": [rule("1r", "READ")]}), "Illegal initial character in rule name: 1r"),
        (
            json!({"domainRules": [{"name": "r", "kind": "WISH", "mode": "READ", "type": "X"}]}),
            "of kind WISH",
        ),
    ];
    for (rules, words) in refused {
        let request = json!({"schema": "\"int\"", "ruleSet": rules});
        let said = stack.refuses("POST", "/subjects/s/versions", request, 42210).await;
        assert!(said.contains(words), "{said}");
        let said = stack.refuses("PUT", "/config/s", json!({"defaultRuleSet": rules}), 42210).await;
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn fields_are_validated_from_the_first_version_on_and_at_every_level() {
    let stack = Stack::start().await;
    stack.ask("PUT", "/config/s", json!({"compatibility": "NONE", "validateFields": true})).await;
    let reserved = |reserved: &str| with(&record("R", &["a"]), json!({"confluent:reserved": reserved}));
    let said = stack.refuses("POST", "/subjects/s/versions", reserved("b, a"), 40901).await;
    assert!(said.contains("FIELD_CONFLICTS_WITH_RESERVED_FIELD"), "{said}");
    assert!(said.ends_with("{validateFields: 'true', compatibility: 'NONE'}]"), "{said}");
    stack.register_as("s", reserved("b")).await;
    let said = stack.refuses("POST", "/subjects/s/versions", reserved("c"), 40901).await;
    assert!(said.contains("RESERVED_FIELD_REMOVED"), "{said}");
    let dollars = json!({"schema": json!({"properties": {"$$x": {}}}).to_string(), "schemaType": "JSON"});
    let said = stack.refuses("POST", "/subjects/s/versions", dollars.clone(), 42201).await;
    assert!(said.contains("`$$x`"), "{said}");
    stack.register_as("elsewhere", dollars).await;
}

#[tokio::test]
async fn only_versions_of_one_group_are_compared() {
    let stack = Stack::start().await;
    stack.ask("PUT", "/config/s", json!({"compatibilityGroup": "major"})).await;
    stack.register_as("s", with(&record("R", &["a"]), json!({"major": "1"}))).await;
    let next = |major: &str| with(&record("R", &["b"]), json!({"major": major}));
    stack.refuses("POST", "/subjects/s/versions", next("1"), 40901).await;
    for path in ["/compatibility/subjects/s/versions/1", "/compatibility/subjects/s/versions"] {
        for (major, compatible) in [("1", false), ("2", true)] {
            assert_eq!(stack.ask("POST", path, next(major)).await.1["is_compatible"], compatible, "{path}");
        }
    }
    assert_eq!(stack.register_as("s", next("2")).await["version"], 2);
}

#[tokio::test]
async fn what_was_taken_without_checks_is_found_again_with_them() {
    let stack = Stack::start().await;
    let loose = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}"#;
    stack.ask("PUT", "/config/s", json!({"validateNewSchemas": false})).await;
    stack.register("s", loose).await;
    stack.ask("DELETE", "/config/s", Value::Null).await;
    assert_eq!(stack.register("s", &loose.replace(":\"R\"", ": \"R\"")).await["version"], 1);
    let (status, _) = stack.ask("POST", "/subjects/s", json!({"schema": loose.replace(':', ": ")})).await;
    assert_eq!(status, 200);
    stack.refuses("POST", "/subjects/t/versions", json!({"schema": loose}), 42201).await;
}
