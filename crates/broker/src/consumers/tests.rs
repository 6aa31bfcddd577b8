use super::*;

/// A group with its time, its topics, and what each member has in its hands.
struct Bench {
    group: Consumers,
    now: Instant,
    topics: TopicSizes,
    epochs: BTreeMap<String, i32>,
    owned: BTreeMap<String, BTreeSet<Place>>,
}

fn beat(id: &str, step: Step) -> Beat {
    Beat {
        member_id: id.to_owned(),
        step,
        instance: None,
        rack: None,
        client_id: String::new(),
        host: String::new(),
        rebalance: Some(Duration::from_secs(60)),
        subscription: None,
        assignor: None,
        owned: None,
        complete: false,
        members_max: 10,
    }
}

fn subscription(names: &[&str]) -> Subscription {
    Subscription { names: names.iter().map(|name| (*name).to_owned()).collect(), expression: None }
}

impl Bench {
    fn new(topics: &[(&str, i32)]) -> Self {
        let topics =
            topics.iter().zip(1..).map(|((name, n), id)| ((*name).to_owned(), (Uuid::from_u128(id), *n)));
        Self {
            group: Consumers::default(),
            now: Instant::now(),
            topics: topics.collect(),
            epochs: BTreeMap::new(),
            owned: BTreeMap::new(),
        }
    }

    fn send(&mut self, beat: Beat) -> Result<Answer, ResponseError> {
        let find = |name: &str| self.topics.get(name).copied();
        let names = || self.topics.keys().cloned().collect();
        self.group.beat(beat, &Topics { find: &find, names: &names }, self.now)
    }

    /// Takes an answer in as a client does: what it shall not have it gives up, and says so next time.
    fn take(&mut self, answer: Answer) {
        self.epochs.insert(answer.member_id.clone(), answer.epoch);
        if let Some(assigned) = answer.assigned {
            self.owned.insert(answer.member_id, assigned);
        }
        // Whoever was put out learns that with its next heartbeat; until then its hands are its own affair.
        let members = &self.group.members;
        self.owned.retain(|id, _| members.contains_key(id));
        let mut all = BTreeSet::new();
        let owners = self.owned.values().flatten();
        assert!(owners.copied().all(|place| all.insert(place)), "two have one partition: {:?}", self.owned);
    }

    fn join(&mut self, id: &str, names: &[&str]) {
        self.owned.remove(id);
        let joining = Beat {
            subscription: Some(subscription(names)),
            owned: Some(BTreeSet::new()),
            ..beat(id, Step::Join)
        };
        let answer = self.send(joining).unwrap();
        self.take(answer);
    }

    fn live(&mut self, id: &str) {
        let (epoch, owned) = (self.epochs[id], self.owned.get(id).cloned().unwrap_or_default());
        match self.send(Beat { owned: Some(owned), ..beat(id, Step::Live { epoch }) }) {
            Ok(answer) => self.take(answer),
            Err(error) => assert_eq!(error, ResponseError::UnknownMemberId),
        }
    }

    /// As many heartbeats of everyone as a rebalance can need.
    fn settle(&mut self) {
        for _ in 0..4 {
            for id in self.group.members.keys().cloned().collect::<Vec<_>>() {
                if !self.group.members[&id].away {
                    self.live(&id);
                }
            }
        }
        assert_eq!(self.group.state(), "Stable");
    }

    fn shares(&self) -> Vec<usize> {
        self.owned.values().map(BTreeSet::len).collect()
    }
}

#[test]
fn one_has_everything_two_share_and_the_one_that_stays_gets_everything_back() {
    let mut bench = Bench::new(&[("t", 6)]);
    bench.join("a", &["t"]);
    assert_eq!(bench.shares(), [6]);
    bench.join("b", &["t"]);
    assert_eq!(bench.shares(), [6, 0], "nothing is given before it is given up");
    assert_eq!(bench.group.state(), "Reconciling");
    bench.settle();
    assert_eq!(bench.shares(), [3, 3]);
    bench.send(beat("b", Step::Leave)).unwrap();
    bench.owned.remove("b");
    bench.settle();
    assert_eq!(bench.shares(), [6]);
}

#[test]
fn what_is_being_given_up_goes_to_nobody_until_its_owner_says_so() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.join("a", &["t"]);
    bench.join("b", &["t"]);
    let epoch = bench.epochs["a"];
    let both = bench.owned["a"].clone();
    for _ in 0..3 {
        let told = bench.send(Beat { owned: Some(both.clone()), ..beat("a", Step::Live { epoch }) }).unwrap();
        assert_eq!(told.epoch, epoch, "it stays at its epoch");
        bench.live("b");
        assert_eq!(bench.owned["b"].len(), 0);
    }
    bench.owned.insert("a".to_owned(), bench.group.members["a"].assigned.clone());
    bench.settle();
    assert_eq!(bench.shares(), [1, 1]);
}

#[test]
fn who_does_not_give_up_in_time_and_who_is_silent_is_put_out() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.join("a", &["t"]);
    bench.join("b", &["t"]);
    let (epoch, both) = (bench.epochs["a"], bench.owned["a"].clone());
    let stubborn = || Beat { owned: Some(both.clone()), ..beat("a", Step::Live { epoch }) };
    bench.send(stubborn()).unwrap();
    for _ in 0..3 {
        bench.now += Duration::from_secs(20);
        bench.live("b");
        let _ = bench.send(stubborn());
    }
    assert_eq!(bench.send(stubborn()), Err(ResponseError::UnknownMemberId));
    bench.settle();
    assert_eq!(bench.shares(), [2]);
    bench.now += SESSION;
    bench.group.advance(bench.now);
    assert!(bench.group.vacant());
}

#[test]
fn another_epoch_is_fenced_and_the_one_before_is_not_if_nothing_is_claimed() {
    let mut bench = Bench::new(&[("t", 2)]);
    bench.join("a", &["t"]);
    let first = bench.epochs["a"];
    bench.topics.insert("t".to_owned(), (Uuid::from_u128(1), 3));
    bench.live("a");
    assert!(bench.epochs["a"] > first);
    assert_eq!(bench.shares(), [3]);
    let retried = Beat { owned: Some(BTreeSet::new()), ..beat("a", Step::Live { epoch: first }) };
    assert_eq!(bench.send(retried).map(|answer| answer.epoch), Ok(bench.epochs["a"]));
    let unsure = beat("a", Step::Live { epoch: first });
    assert_eq!(bench.send(unsure), Err(ResponseError::FencedMemberEpoch));
    let ahead = beat("a", Step::Live { epoch: bench.epochs["a"] + 1 });
    assert_eq!(bench.send(ahead), Err(ResponseError::FencedMemberEpoch));
    bench.join("a", &["t"]);
    assert_eq!(bench.shares(), [3], "who begins anew gets its share");
    let claim = |generation| Claim { member_id: "a", instance: None, generation };
    assert_eq!(bench.group.admit_offsets(&claim(first)), Err(ResponseError::StaleMemberEpoch));
    assert_eq!(bench.group.admit_offsets(&claim(bench.epochs["a"])), Ok(()));
}

fn of_instance(id: &str, step: Step) -> Beat {
    let subscription = (step == Step::Join).then(|| subscription(&["t"]));
    let owned = (step == Step::Join).then(BTreeSet::new);
    Beat { instance: Some("i".to_owned()), subscription, owned, ..beat(id, step) }
}

#[test]
fn a_static_member_comes_back_to_its_share_and_its_other_self_is_fenced() {
    let mut bench = Bench::new(&[("t", 4)]);
    let first = bench.send(of_instance("a1", Step::Join)).unwrap();
    bench.take(first);
    bench.join("b", &["t"]);
    bench.settle();
    let share = bench.owned["a1"].clone();
    assert_eq!(
        bench.send(of_instance("a2", Step::Join)),
        Err(ResponseError::UnreleasedInstanceId),
        "the instance is in use"
    );
    bench.send(of_instance("a1", Step::Pause)).unwrap();
    bench.owned.remove("a1");
    bench.settle();
    assert_eq!(bench.shares(), [2], "its share is kept for it");
    let back = bench.send(of_instance("a2", Step::Join)).unwrap();
    assert_eq!(back.assigned.as_ref(), Some(&share));
    bench.take(back);
    let epoch = bench.epochs["a1"];
    assert_eq!(bench.send(of_instance("a1", Step::Live { epoch })), Err(ResponseError::FencedInstanceId));
}

#[test]
fn a_static_member_that_stays_away_loses_its_share() {
    let mut bench = Bench::new(&[("t", 4)]);
    let first = bench.send(of_instance("a1", Step::Join)).unwrap();
    bench.take(first);
    bench.join("b", &["t"]);
    bench.settle();
    bench.send(of_instance("a1", Step::Pause)).unwrap();
    bench.owned.remove("a1");
    bench.now += SESSION / 2;
    bench.settle();
    bench.now += SESSION / 2;
    bench.settle();
    assert_eq!(bench.shares(), [4]);
}

#[test]
fn an_expression_takes_in_topics_that_come_later() {
    let mut bench = Bench::new(&[("events.a", 1), ("other", 1)]);
    let expression = Expression::parse("events\\..*").unwrap();
    let wanted = Subscription { names: BTreeSet::new(), expression: Some(expression) };
    let joining = Beat { subscription: Some(wanted), owned: Some(BTreeSet::new()), ..beat("a", Step::Join) };
    let answer = bench.send(joining).unwrap();
    bench.take(answer);
    assert_eq!(bench.shares(), [1]);
    bench.topics.insert("events.b".to_owned(), (Uuid::from_u128(9), 2));
    bench.live("a");
    assert_eq!(bench.shares(), [3]);
    assert!(Expression::parse("(").is_none());
    assert!(Expression::parse("(a{1000}){1000}").is_none(), "too large to compile");
}

#[test]
fn a_full_group_takes_no_more() {
    let mut bench = Bench::new(&[("t", 1)]);
    let joining = |id: &str| Beat { members_max: 1, ..beat(id, Step::Join) };
    assert!(bench.send(joining("a")).is_ok());
    assert_eq!(bench.send(joining("b")), Err(ResponseError::GroupMaxSizeReached));
}

#[test]
fn no_schedule_gives_one_partition_to_two() {
    use proptest::prelude::*;
    let steps = proptest::collection::vec((0_usize..4, 0_u8..8), 1..60);
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }, |(steps in steps)| {
        let mut bench = Bench::new(&[("t", 5), ("u", 3)]);
        for (member, act) in steps {
            let id = format!("m{member}");
            let known = bench.group.members.contains_key(&id);
            match act {
                0 => bench.join(&id, &["t"]),
                1 => bench.join(&id, &["t", "u"]),
                2 if known => {
                    let _ = bench.send(beat(&id, Step::Leave));
                    bench.owned.remove(&id);
                }
                3 => bench.now += Duration::from_secs(7),
                _ if known => bench.live(&id),
                _ => {}
            }
        }
        // Whoever has been silent for too long is put out here, not while the others settle.
        bench.group.advance(bench.now);
        if !bench.group.vacant() {
            bench.settle();
        }
    });
}
