//! Several registries on one topic.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_broker::{Broker, BrokerOptions, Listener};
use tidegate_kafka::KafkaOptions;
use tidegate_registry::election::{Advertised, ElectionOptions, LeaderTls, Role};
use tidegate_registry::{Registry, RegistryOptions, Server, Users};

struct Member {
    registry: Arc<Registry>,
    _server: Server,
    url: String,
}

impl Member {
    async fn start(kafka: &KafkaOptions) -> Self {
        // What is advertised must be known before the election.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut options = RegistryOptions::new(kafka.clone());
        let advertised = Advertised { scheme: "http".to_owned(), host: "127.0.0.1".to_owned(), port };
        let group = "schema-registry".to_owned();
        options.election =
            Some(ElectionOptions { group, advertised, eligible: true, tls: LeaderTls::default() });
        let registry = Registry::start(&options).await.unwrap();
        let listen = format!("127.0.0.1:{port}").parse().unwrap();
        let server = Server::start(listen, Arc::clone(&registry), Users::default()).await.unwrap();
        Self { registry, _server: server, url: format!("http://127.0.0.1:{port}") }
    }

    async fn register(&self, subject: &str, schema: &str) -> (u16, Value) {
        let url = format!("{}/subjects/{subject}/versions", self.url);
        let body = json!({ "schema": schema }).to_string();
        let request = reqwest::Client::new().post(url).header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    async fn becomes(&self, wanted: impl Fn(&Role) -> bool) -> Role {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let role = self.registry.role();
            if wanted(&role) {
                return role;
            }
            assert!(Instant::now() < deadline, "{role:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_registries_writes_the_others_forward_and_take_over() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(BrokerOptions::new(dir.path(), Listener::loopback(0))).await.unwrap();
    let kafka = KafkaOptions::new([broker.address().to_string()]);
    let (first, second) = (Member::start(&kafka).await, Member::start(&kafka).await);
    let both = [&first, &second];
    let leaders = || both.iter().filter(|one| one.registry.role() == Role::Leader).count();
    for one in both {
        one.becomes(|role| *role != Role::Undecided && leaders() == 1).await;
    }
    let (leader, follower) =
        if first.registry.role() == Role::Leader { (first, second) } else { (second, first) };
    follower.becomes(|role| *role == Role::Follower(leader.url.clone())).await;

    let (status, through_follower) = follower.register("a", "\"int\"").await;
    assert_eq!((status, &through_follower["id"]), (200, &json!(1)), "{through_follower}");
    assert_eq!(leader.register("a", "\"int\"").await.1["id"], 1);
    assert_eq!(leader.register("b", "\"long\"").await.1["id"], 2);
    let refused = follower.register("a", "\"string\"").await;
    assert_eq!((refused.0, &refused.1["error_code"]), (409, &json!(40901)), "the leader's answer is relayed");

    leader.registry.stop().await;
    follower.becomes(|role| *role == Role::Leader).await;
    assert_eq!(follower.register("c", "\"string\"").await.1["id"], 3);
    follower.registry.stop().await;
    assert_eq!(follower.register("d", "\"bytes\"").await.1["error_code"], 50004);
}
