use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::stack::{Stack, record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_at_once_give_each_schema_one_id_and_leave_no_gap() {
    let mut stack = Stack::start().await;
    let shared = Arc::new(stack);
    // Forty times the same ten schemas, under subjects of their own.
    let tasks: Vec<_> = (0..400)
        .map(|n| {
            let stack = Arc::clone(&shared);
            tokio::spawn(async move {
                let answer = stack.register(&format!("s{n}"), &record(&format!("R{}", n % 10), &["a"])).await;
                (n % 10, answer["id"].as_i64().unwrap())
            })
        })
        .collect();
    let mut pairs = BTreeSet::new();
    for task in tasks {
        pairs.insert(task.await.unwrap());
    }
    assert_eq!(pairs.len(), 10, "{pairs:?}");
    assert_eq!(pairs.iter().map(|(_, id)| *id).collect::<BTreeSet<_>>(), (1..=10).collect());
    stack = Arc::into_inner(shared).unwrap();
    stack.restart().await;
    for (n, id) in pairs {
        let found = stack.get(&format!("/schemas/ids/{id}")).await;
        assert!(found["schema"].as_str().unwrap().contains(&format!("\"R{n}\"")), "{found}");
    }
    assert_eq!(stack.register_as("new", json!({"schema": "\"int\""})).await["id"], 11);
}
