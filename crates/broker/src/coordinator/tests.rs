use super::*;
use crate::consumers::{Beat, Step, Subscription, Topics};
use crate::group::Join;

const WEEK: Duration = Duration::from_hours(7 * 24);
const SECOND: Duration = Duration::from_secs(1);
const OUTSIDER: Claim<'_> = Claim { member_id: "", instance: None, generation: -1 };

/// A coordinator with its directory and its clock.
struct Scene {
    directory: tempfile::TempDir,
    coordinator: Coordinator,
    now: Instant,
}

fn open(directory: &Path) -> Coordinator {
    Coordinator::open(directory, Fsync::Never, &Limits::default()).unwrap()
}

fn place(topic: &str) -> Place {
    (topic.to_owned(), 0)
}

fn offsets(topic: &str) -> Vec<(Place, Committed)> {
    vec![(place(topic), Committed { offset: 7, leader_epoch: -1, metadata: "v1".to_owned() })]
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let coordinator = open(directory.path());
        let mut scene = Self { directory, coordinator, now: Instant::now() };
        scene.pass(Duration::ZERO);
        scene
    }

    /// Time passes, in steps at which the broker looks at the groups.
    fn pass(&mut self, time: Duration) {
        for _ in 0..100 {
            self.now += time / 100;
            self.coordinator.advance(self.now);
            self.expire();
        }
    }

    fn expire(&self) {
        self.coordinator.expire(WEEK, |topic| topic != "gone").unwrap();
    }

    /// The process dies, and another one opens the directory much later.
    fn restart(&mut self) {
        self.coordinator = open(self.directory.path());
        self.now += 10 * WEEK;
        self.coordinator.advance(self.now);
        self.expire();
    }

    fn commit(&self, group: &str, topic: &str) {
        self.coordinator.commit(group, &OUTSIDER, offsets(topic), self.now).unwrap();
    }

    fn has(&self, group: &str, topic: &str) -> bool {
        let get = |group: &mut Coordinated| group.offsets.get(&place(topic)).is_some();
        self.coordinator.with_known(group, get).unwrap_or(false)
    }

    /// A member of the classic protocol, which stays for `session` if nothing is heard of it.
    fn join(&self, group: &str, session: Duration) {
        let join = Join {
            member_id: String::new(),
            instance: None,
            client_id: "client".to_owned(),
            host: "/host".to_owned(),
            session,
            rebalance: SECOND,
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), bytes::Bytes::new())],
            returns_with_id: false,
            fresh_id: "member".to_owned(),
            members_max: 10,
        };
        let (reply, _) = tokio::sync::oneshot::channel();
        self.coordinator.with(group, |group| group.group.join(join, self.now, reply)).unwrap();
    }

    fn beat(&self, group: &str, step: Step) {
        let beat = Beat {
            member_id: "member".to_owned(),
            step,
            instance: None,
            rack: None,
            client_id: String::new(),
            host: String::new(),
            rebalance: Some(WEEK),
            subscription: Some(Subscription { names: ["t".to_owned()].into(), expression: None }),
            assignor: None,
            owned: Some(Default::default()),
            complete: false,
            members_max: 10,
        };
        let topics = Topics { find: &|_| None, names: &Vec::new };
        let beaten = self.coordinator.with(group, |group| group.consumers.beat(beat, &topics, self.now));
        beaten.unwrap().unwrap();
    }
}

#[test]
fn offsets_that_nobody_uses_expire_after_their_time_and_not_before() {
    let mut scene = Scene::new();
    scene.commit("g", "t");
    scene.pass(WEEK / 2);
    scene.commit("later", "t");
    scene.pass(WEEK / 2 - SECOND);
    assert!(scene.has("g", "t"));
    scene.pass(SECOND);
    assert!(!scene.has("g", "t") && scene.has("later", "t"));
    scene.coordinator.advance(scene.now);
    assert!(scene.coordinator.with_known("g", |_| ()).is_none(), "the group goes with its offsets");
    scene.restart();
    assert!(!scene.has("g", "t") && scene.has("later", "t"));
}

#[test]
fn the_time_begins_when_the_last_classic_member_has_gone() {
    let mut scene = Scene::new();
    scene.commit("g", "t");
    scene.join("g", 3 * WEEK);
    scene.pass(2 * WEEK);
    assert!(scene.has("g", "t"));
    scene.coordinator.with("g", |group| group.group.leave("member", None, scene.now)).unwrap().unwrap();
    scene.pass(WEEK - WEEK / 50);
    assert!(scene.has("g", "t"));
    scene.pass(WEEK / 50);
    assert!(!scene.has("g", "t"));
}

#[test]
fn the_time_begins_when_the_last_member_of_the_consumer_protocol_has_gone() {
    let mut scene = Scene::new();
    scene.commit("g", "t");
    scene.beat("g", Step::Join);
    let lives = |scene: &Scene| scene.coordinator.with("g", |group| !group.consumers.vacant()).unwrap();
    while lives(&scene) {
        scene.now += SECOND;
        scene.coordinator.advance(scene.now);
        assert!(scene.now < Instant::now() + WEEK, "the silent member expires");
    }
    scene.pass(WEEK - 2 * SECOND);
    assert!(scene.has("g", "t"));
    scene.pass(3 * SECOND);
    assert!(!scene.has("g", "t"));
}

#[test]
fn a_group_in_use_starts_anew_after_a_crash_and_the_time_of_being_off_does_not_count() {
    let mut scene = Scene::new();
    scene.commit("used", "t");
    scene.commit("idle", "t");
    scene.join("used", 10 * WEEK);
    scene.pass(WEEK / 2);
    scene.restart();
    scene.pass(WEEK / 2 - SECOND);
    assert!(scene.has("used", "t") && scene.has("idle", "t"));
    scene.pass(2 * RECORD_INTERVAL + WEEK / 100);
    assert!(scene.has("used", "t") && !scene.has("idle", "t"));
    scene.pass(WEEK / 2);
    assert!(!scene.has("used", "t"));
}

#[test]
fn offsets_of_an_open_transaction_keep_the_group() {
    let mut scene = Scene::new();
    scene.commit("g", "t");
    scene.coordinator.hold(("g", 1), &OUTSIDER, offsets("t"), scene.now).unwrap();
    scene.pass(2 * WEEK);
    assert!(scene.has("g", "t"));
    scene.coordinator.release("g", 1);
    scene.pass(WEEK);
    assert!(!scene.has("g", "t"));
}

#[test]
fn offsets_of_topics_that_are_gone_are_removed() {
    let mut scene = Scene::new();
    for topic in ["kept", "deleted", "gone"] {
        scene.commit("g", topic);
    }
    scene.coordinator.forget_topic("deleted").unwrap();
    assert!(scene.has("g", "kept") && !scene.has("g", "deleted") && scene.has("g", "gone"));
    scene.pass(2 * RECORD_INTERVAL);
    assert!(!scene.has("g", "gone"), "what a crash left is found");
    scene.restart();
    assert!(scene.has("g", "kept") && !scene.has("g", "deleted") && !scene.has("g", "gone"));
}

#[test]
fn a_journal_without_times_is_read_as_if_it_were_of_now() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(&directory.path().join("offsets.log"), Fsync::Never).unwrap();
    let entry = Entry::Commit { group: "g".to_owned(), offsets: offsets("t") };
    journal.append(&serde_json::to_string(&entry).unwrap()).unwrap();
    let coordinator = open(directory.path());
    let mut scene = Scene { directory, coordinator, now: Instant::now() };
    scene.restart();
    scene.pass(WEEK - SECOND);
    assert!(scene.has("g", "t"));
    scene.pass(SECOND);
    assert!(!scene.has("g", "t"));
}
