//! The engine on the real library: its life, its users, its settings, and what it must bear.
//! Skipped, with a message, where the library is absent.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    unreachable_pub,
    reason = "a test has no public interface; `pub` tells a module's surface from its insides"
)]

mod abuse;
mod client;
mod settings;
mod supervision;
mod unconfined;
mod users;

use std::path::Path;

use tidegate_engine::Engine;

/// Not a claim: the engine's process when these tests start one.
#[test]
#[ignore = "is the engine's process, started by the other tests"]
fn engine_child() {
    tidegate_engine::run_child_if_asked();
}

/// Not a claim: a supervisor in a process of its own, for the test that kills it.
#[test]
#[ignore = "is a supervisor's process, started by another test"]
fn supervisor_child() {
    let Some(folder) = std::env::var_os("TIDEGATE_TEST_FOLDER") else { return };
    let options = client::options(Path::new(&folder)).expect("the parent found the library");
    client::run(async {
        let engine = Engine::start(options).await.unwrap();
        println!("engine {}", engine.child_id().unwrap());
        std::future::pending::<()>().await;
    });
}
