use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use crate::stack::{Stack, record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_at_once_give_each_schema_one_id_and_leave_no_gap() {
    let mut stack = Stack::start().await;
    let shared = Arc::new(stack);
    // A hundred times the same ten schemas, under subjects of their own.
    let tasks: Vec<_> = (0..1_000)
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_schemas_at_once_get_a_thousand_ids_that_a_restart_keeps() {
    let mut shared = Arc::new(Stack::start().await);
    let tasks: Vec<_> = (0..1_000)
        .map(|n| {
            let stack = Arc::clone(&shared);
            tokio::spawn(async move {
                let name = format!("R{n}");
                (stack.register(&name, &record(&name, &["a"])).await["id"].as_i64().unwrap(), name)
            })
        })
        .collect();
    let mut names = BTreeMap::new();
    for task in tasks {
        let (id, name) = task.await.unwrap();
        assert_eq!(names.insert(id, name), None, "id {id} was given twice");
    }
    assert!(names.keys().copied().eq(1..=1_000), "there is a gap");
    Arc::get_mut(&mut shared).unwrap().restart().await;
    for (id, name) in names {
        let found = shared.get(&format!("/schemas/ids/{id}")).await;
        assert!(found["schema"].as_str().unwrap().contains(&format!("\"{name}\"")), "{found}");
    }
}
