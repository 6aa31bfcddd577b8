use tokio::sync::oneshot;

use super::*;

const SESSION: Duration = Duration::from_secs(6);

/// A group and its clock.
struct Scene {
    group: Group,
    now: Instant,
    n_ids: u32,
}

type Answer<T> = oneshot::Receiver<Result<T, Refused>>;

#[track_caller]
fn given<T>(answer: &mut Answer<T>) -> T {
    match answer.try_recv() {
        Ok(Ok(answer)) => answer,
        Ok(Err(refused)) => panic!("refused: {refused:?}"),
        Err(none) => panic!("no answer: {none}"),
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: &mut Answer<T>) -> Refused {
    answer.try_recv().expect("an answer").expect_err("a refusal")
}

impl Scene {
    fn new() -> Self {
        Self { group: Group::default(), now: Instant::now(), n_ids: 0 }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.advance(self.now);
    }

    fn join_with(&mut self, id: &str, change: impl FnOnce(&mut Join)) -> Answer<Membership> {
        self.n_ids += 1;
        let mut join = Join {
            member_id: id.to_owned(),
            instance: None,
            client_id: "client".to_owned(),
            host: "/host".to_owned(),
            session: SESSION,
            rebalance: Duration::from_secs(60),
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
            returns_with_id: false,
            fresh_id: format!("member-{}", self.n_ids),
            members_max: 10,
        };
        change(&mut join);
        let (reply, answer) = oneshot::channel();
        self.group.join(join, self.now, reply);
        answer
    }

    fn join(&mut self, id: &str) -> Answer<Membership> {
        self.join_with(id, |_| ())
    }

    fn sync(&mut self, membership: &Membership, given: &[(&str, &'static str)]) -> Answer<Assignment> {
        let (reply, answer) = oneshot::channel();
        let claim =
            Claim { member_id: &membership.member_id, instance: None, generation: membership.generation };
        let assignments =
            given.iter().map(|(id, bytes)| ((*id).to_owned(), Bytes::from_static(bytes.as_bytes())));
        self.group.sync(&claim, assignments.collect(), self.now, reply);
        answer
    }

    /// A stable group of one.
    fn stable() -> (Self, Membership) {
        let mut scene = Self::new();
        let mut joining = scene.join("");
        scene.pass(FIRST_ROUND_DELAY);
        let membership = given(&mut joining);
        given(&mut scene.sync(&membership, &[]));
        (scene, membership)
    }

    fn claim<'a>(membership: &'a Membership) -> Claim<'a> {
        Claim { member_id: &membership.member_id, instance: None, generation: membership.generation }
    }
}

#[test]
fn members_that_come_together_are_in_one_round() {
    let mut scene = Scene::new();
    let (mut a, mut b) = (scene.join(""), scene.join(""));
    assert!(a.try_recv().is_err());
    scene.pass(FIRST_ROUND_DELAY);
    let (a, b) = (given(&mut a), given(&mut b));
    assert_eq!((a.generation, b.generation), (1, 1));
    assert_eq!((a.members.len(), b.members.len()), (2, 0));
    let mut waiting = scene.sync(&b, &[]);
    assert!(waiting.try_recv().is_err());
    let leads = given(&mut scene.sync(&a, &[("member-1", "x"), ("member-2", "y")]));
    assert_eq!((leads.assignment, given(&mut waiting).assignment), ("x".into(), "y".into()));
    assert_eq!(scene.group.state(), State::Stable);
}

#[test]
fn a_new_member_comes_back_with_the_id_that_it_is_given() {
    let mut scene = Scene::new();
    let required = refused(&mut scene.join_with("", |join| join.returns_with_id = true));
    assert_eq!(required.error, ResponseError::MemberIdRequired);
    let mut joining = scene.join(&required.member_id);
    scene.pass(FIRST_ROUND_DELAY);
    assert_eq!(given(&mut joining).member_id, required.member_id);
    assert_eq!(refused(&mut scene.join("stranger")).error, ResponseError::UnknownMemberId);
}

#[test]
fn an_unchanged_follower_learns_the_generation_and_a_changed_one_begins_a_round() {
    let (mut scene, leader) = Scene::stable();
    let mut joining = scene.join("");
    let mut again = scene.join(&leader.member_id);
    let (follower, leader) = (given(&mut joining), given(&mut again));
    given(&mut scene.sync(&leader, &[]));
    assert_eq!(given(&mut scene.join(&follower.member_id)).generation, 2);
    let mut changed = scene.join_with(&follower.member_id, |join| {
        join.protocols[0].1 = Bytes::from_static(b"owns less");
    });
    assert!(changed.try_recv().is_err());
    let beat = scene.group.heartbeat(&Scene::claim(&leader), scene.now);
    assert_eq!(beat, Err(ResponseError::RebalanceInProgress));
}

#[test]
fn a_silent_member_expires_and_a_waiting_one_does_not() {
    let (mut scene, leader) = Scene::stable();
    let mut joining = scene.join("");
    scene.pass(SESSION / 2);
    assert!(joining.try_recv().is_err(), "the round waits for the leader");
    scene.pass(SESSION);
    let membership = given(&mut joining);
    assert_eq!(membership.leader, membership.member_id);
    assert!(!scene.group.members().contains_key(&leader.member_id));
}

#[test]
fn a_round_ends_without_those_who_do_not_join() {
    let (mut scene, leader) = Scene::stable();
    let mut joining = scene.join_with("", |join| join.rebalance = Duration::from_secs(1));
    for _ in 0..30 {
        scene.pass(Duration::from_secs(2));
        let _ = scene.group.heartbeat(&Scene::claim(&leader), scene.now);
    }
    assert_eq!(given(&mut joining).generation, 2);
    let late = scene.group.heartbeat(&Scene::claim(&leader), scene.now);
    assert_eq!(late, Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_static_member_returns_without_a_round_and_fences_its_old_id() {
    let mut scene = Scene::new();
    let named = |join: &mut Join| join.instance = Some("i".to_owned());
    let mut joining = scene.join_with("", named);
    scene.pass(FIRST_ROUND_DELAY);
    let old = given(&mut joining);
    given(&mut scene.sync(&old, &[(&old.member_id, "mine")]));
    let new = given(&mut scene.join_with("", named));
    assert_eq!((new.generation, new.member_id != old.member_id), (old.generation, true));
    assert_eq!(given(&mut scene.sync(&new, &[])).assignment, "mine");
    let zombie = Claim { instance: Some("i"), ..Scene::claim(&old) };
    assert_eq!(scene.group.heartbeat(&zombie, scene.now), Err(ResponseError::FencedInstanceId));
}

#[test]
fn a_commit_of_an_old_generation_is_refused() {
    let (mut scene, old) = Scene::stable();
    let mut joining = scene.join("");
    let mut again = scene.join(&old.member_id);
    let (_, new) = (given(&mut joining), given(&mut again));
    let now = scene.now;
    assert_eq!(
        scene.group.admit_transactional_commit(&Scene::claim(&old), now),
        Err(ResponseError::IllegalGeneration)
    );
    assert_eq!(scene.group.admit_transactional_commit(&Scene::claim(&new), now), Ok(()));
    assert_eq!(scene.group.admit_commit(&Scene::claim(&new), now), Err(ResponseError::RebalanceInProgress));
    given(&mut scene.sync(&new, &[]));
    assert_eq!(scene.group.admit_commit(&Scene::claim(&new), now), Ok(()));
    let outsider = Claim { member_id: "", instance: None, generation: -1 };
    assert_eq!(scene.group.admit_commit(&outsider, now), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_group_is_left_by_id_or_by_instance() {
    let (mut scene, member) = Scene::stable();
    let now = scene.now;
    assert_eq!(scene.group.leave("stranger", None, now), Err(ResponseError::UnknownMemberId));
    assert_eq!(scene.group.leave(&member.member_id, None, now), Ok(()));
    assert_eq!(scene.group.state(), State::Empty);
    assert!(scene.group.vacant());
}

#[test]
fn a_full_group_and_a_foreign_protocol_are_refused() {
    let (mut scene, _) = Scene::stable();
    let full = refused(&mut scene.join_with("", |join| join.members_max = 1));
    assert_eq!(full.error, ResponseError::GroupMaxSizeReached);
    let foreign = refused(&mut scene.join_with("", |join| join.protocols[0].0 = "other".to_owned()));
    assert_eq!(foreign.error, ResponseError::InconsistentGroupProtocol);
}
