use super::*;

const A: Sender<'_> = Sender { user: "u", client: "a" };
const B: Sender<'_> = Sender { user: "u", client: "b" };
const STRANGER: Sender<'_> = Sender { user: "v", client: "a" };

fn named(name: &str) -> Option<Whose> {
    Some(Whose::Named(name.to_owned()))
}

fn rates(fallback: Rates) -> (tempfile::TempDir, ClientRates) {
    let directory = tempfile::tempdir().unwrap();
    let rates = ClientRates::open(directory.path(), fallback).unwrap();
    (directory, rates)
}

fn produce(rates: &ClientRates, sender: Sender<'_>, size_bytes: usize, now: Instant) -> u128 {
    rates.charge(sender, Direction::Produce, size_bytes, now).as_millis()
}

#[test]
fn what_is_used_beyond_a_second_is_waited_for() {
    let (_directory, rates) = rates(Rates { produce: Some(1_000), fetch: None });
    let now = Instant::now();
    let after = |ms: u64| now + Duration::from_millis(ms);
    assert_eq!(produce(&rates, A, 1_000, now), 0);
    assert_eq!(produce(&rates, A, 500, now), 500);
    assert_eq!(produce(&rates, A, 0, after(500)), 0);
    assert_eq!(produce(&rates, A, 500, after(1_000)), 0);
    assert_eq!(produce(&rates, A, 1, after(1_000)), 1);
    assert_eq!(rates.charge(A, Direction::Fetch, usize::MAX, now), Duration::ZERO);
    assert_eq!(produce(&rates, B, 1_000, now), 0, "each client id has its own");
}

#[test]
fn over_time_the_rate_is_kept() {
    let (_directory, rates) = rates(Rates { produce: Some(10_000), fetch: None });
    let begin = Instant::now();
    let (mut now, mut sent) = (begin, 0);
    while sent < 1_000_000 {
        sent += 3_000;
        now += rates.charge(A, Direction::Produce, 3_000, now) + Duration::from_millis(1);
    }
    let per_second = f64::from(sent) / (now - begin).as_secs_f64();
    assert!((9_500.0..10_500.0).contains(&per_second), "{per_second}");
}

#[test]
fn nobody_is_left_alone_for_long() {
    let (_directory, rates) = rates(Rates { produce: Some(1), fetch: None });
    let now = Instant::now();
    assert_eq!(produce(&rates, A, usize::MAX, now), MUTE_MAX.as_millis());
    assert_eq!(produce(&rates, A, 0, now + MUTE_MAX), 0);
}

#[test]
fn the_nearest_quota_counts() {
    let (_directory, rates) = rates(Rates { produce: Some(9), fetch: None });
    let every = || Some(Whose::Default);
    let rate = |sender| rates.quota(sender, Direction::Produce).unwrap().1;
    assert_eq!((rate(A), rate(STRANGER)), (9, 9));
    let by_rising_precedence = [
        (None, every(), 8),
        (None, named("a"), 7),
        (every(), None, 6),
        (every(), every(), 5),
        (every(), named("a"), 4),
        (named("u"), None, 3),
        (named("u"), every(), 2),
        (named("u"), named("a"), 1),
    ];
    for (user, client, at) in by_rising_precedence {
        rates.change(Entity { user, client }, |rates| rates.produce = Some(at)).unwrap();
        assert_eq!(rate(A), at);
    }
    assert_eq!((rate(B), rate(STRANGER)), (2, 4));
}

#[test]
fn a_users_clients_share_the_users_quota() {
    let (_directory, rates) = rates(Rates::default());
    let user = Entity { user: named("u"), client: None };
    rates.change(user, |rates| rates.produce = Some(1_000)).unwrap();
    let now = Instant::now();
    assert_eq!(produce(&rates, A, 1_000, now), 0);
    assert_eq!(produce(&rates, B, 100, now), 100);
    assert_eq!(produce(&rates, STRANGER, 1_000_000, now), 0);
}

#[test]
fn quotas_survive_a_restart_and_go_when_removed() {
    let (directory, rates) = rates(Rates::default());
    let entity = Entity { user: named("u"), client: Some(Whose::Default) };
    rates.change(entity.clone(), |rates| rates.fetch = Some(7)).unwrap();
    let again = ClientRates::open(directory.path(), Rates::default()).unwrap();
    assert_eq!(again.all(), BTreeMap::from([(entity.clone(), Rates { produce: None, fetch: Some(7) })]));
    again.change(entity, |rates| rates.fetch = None).unwrap();
    assert!(ClientRates::open(directory.path(), Rates::default()).unwrap().all().is_empty());
}

#[test]
fn the_options_rates_are_told_as_the_default_of_clients() {
    let (_directory, rates) = rates(Rates { produce: Some(9), fetch: Some(8) });
    let every = Entity { user: None, client: Some(Whose::Default) };
    rates.change(every.clone(), |rates| rates.fetch = Some(7)).unwrap();
    assert_eq!(rates.all(), BTreeMap::from([(every, Rates { produce: Some(9), fetch: Some(7) })]));
}

#[test]
fn names_without_end_take_no_memory_without_end() {
    let (_directory, rates) = rates(Rates { produce: Some(1_000), fetch: None });
    let now = Instant::now();
    for n in 0..REMEMBERED_MAX + 100 {
        produce(&rates, Sender { user: "u", client: &n.to_string() }, 1, now);
    }
    assert_eq!(lock(&rates.used).len(), REMEMBERED_MAX + 1);
    produce(&rates, Sender { user: "u", client: "later" }, 1, now + BURST + MUTE_MAX * 2);
    assert_eq!(lock(&rates.used).len(), 1);
}
