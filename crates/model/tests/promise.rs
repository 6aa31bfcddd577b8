//! The promise holds over every interleaving within the bounds, and each mutation breaks it.

use tidegate_model::{Bounds, Kind, Mutation, Scenario};

#[track_caller]
fn holds(scenario: Scenario) {
    let (n_states, broken) = scenario.clone().check();
    println!("{n_states} states: {scenario:?}");
    for (property, steps) in &broken {
        println!("{property}:");
        steps.iter().for_each(|step| println!("  {step:?}"));
    }
    assert!(broken.is_empty(), "{scenario:?}");
    assert!(n_states > 100, "a model that hardly moves shows nothing");
}

#[track_caller]
fn breaks(scenario: Scenario) {
    let (n_states, broken) = scenario.clone().check();
    println!("{n_states} states until broken: {scenario:?}");
    assert!(!broken.is_empty(), "it was not caught: {scenario:?}");
}

fn good(part: u64) -> Kind {
    Kind::good(part)
}

/// Two tables, one poison row in each, that the server takes after its rules have been relaxed.
fn relaxed() -> Vec<Kind> {
    vec![good(0), Kind::poison(0, true), good(1), Kind::poison(1, true), good(0)]
}

#[test]
fn good_records_survive_crashes_zombies_and_lost_answers() {
    holds(Scenario::new(vec![good(0); 3], Bounds { losses: 2, joins: 4, ..Bounds::default() }));
    holds(Scenario::new([good(0), good(1), good(0)], Bounds::default()));
}

#[test]
fn records_that_do_not_fit_become_dead_letters_once() {
    let unfit = Kind::fitting(0, false, false);
    holds(Scenario::new([good(0), unfit, good(1)], Bounds { losses: 2, ..Bounds::default() }));
    holds(Scenario::new([unfit, unfit], Bounds { losses: 2, joins: 4, ..Bounds::default() }));
}

#[test]
fn poison_rows_alone_become_dead_letters() {
    let poison = Kind::poison(0, false);
    holds(Scenario::new([good(0), poison, good(0), poison], Bounds::default()));
    holds(Scenario::new([poison, good(1), poison, good(0)], Bounds::default()));
    holds(Scenario::new([poison, poison, poison], Bounds::default()));
}

#[test]
fn a_rule_may_be_relaxed_in_the_middle_of_a_bisect() {
    let bounds = Bounds { late: false, rules_change: true, losses: 0, joins: 2, ..Bounds::default() };
    holds(Scenario::new(relaxed(), bounds));
    holds(Scenario::new(&relaxed()[..3], Bounds { losses: 1, joins: 3, ..bounds }));
}

#[test]
fn a_table_may_be_altered_so_that_more_records_fit() {
    let bounds = Bounds { late: false, tables_change: true, ..Bounds::default() };
    let more = Kind::fitting(0, false, true);
    holds(Scenario::new([good(0), more, Kind::poison(0, false), good(1)], bounds));
    // What is stored of one table was formed without a record that fits by now.
    holds(Scenario::new([good(1), good(0), Kind::poison(1, false), more], bounds));
}

#[test]
fn whoever_can_look_into_the_tables_survives_any_change() {
    let rules = Bounds { late: false, rules_change: true, ..Bounds::default() };
    let mut scenario = Scenario::new([good(0), Kind::forbidden_later(0), good(0), good(1)], rules);
    scenario.witness = true;
    holds(scenario.clone());
    scenario.witness = false;
    breaks(scenario);
    let tables = Bounds { late: false, tables_change: true, ..Bounds::default() };
    let mut scenario =
        Scenario::new([good(0), Kind::fitting(0, true, false), Kind::poison(0, false), good(1)], tables);
    scenario.witness = true;
    holds(scenario.clone());
    scenario.witness = false;
    breaks(scenario);
}

/// A scenario in which tables can be asked, and the server is killed amid inserts.
fn killed(kinds: impl Into<Vec<Kind>>, bounds: Bounds) -> Scenario {
    Scenario { witness: true, ..Scenario::new(kinds, Bounds { losses: 0, kills: 1, ..bounds }) }
}

#[test]
fn whoever_can_look_into_the_tables_survives_a_server_that_notes_tokens_and_has_no_rows() {
    holds(killed([good(0), good(1), good(0)], Bounds { kills: 2, ..Bounds::default() }));
    holds(killed([good(0), Kind::another_day(0), good(0)], Bounds::default()));
    holds(killed([Kind::another_day(0), good(0), Kind::fitting(0, false, false)], Bounds::default()));
    holds(killed([good(0), Kind::poison(0, false), good(1)], Bounds { batch_max: 3, ..Bounds::default() }));
    let two = Scenario {
        witness: true,
        ..Scenario::new([good(0), good(0)], Bounds { kills: 2, joins: 4, ..Bounds::default() })
    };
    holds(two);
    let rules = Bounds { late: false, rules_change: true, joins: 2, ..Bounds::default() };
    holds(killed([good(0), Kind::forbidden_later(0), good(1)], rules));
    holds(killed([good(0), Kind::poison(0, true), good(0)], rules));
    // Where tables cannot be asked, the rows are lost.
    breaks(Scenario { witness: false, ..killed([good(0)], Bounds::default()) });
}

#[test]
fn a_code_that_nobody_knows_condemns_a_row_only_beside_one_that_is_taken() {
    let mut scenario = Scenario::new([Kind::poison(0, false), good(0), good(1)], Bounds::default());
    scenario.suspected = true;
    holds(scenario);
}

#[test]
fn each_part_of_the_protocol_is_needed() {
    let two = || vec![good(0), good(0)];
    let mixed = || vec![good(0), Kind::fitting(0, false, false)];
    let plain = Bounds::default();
    let calm = Bounds { late: false, rules_change: true, losses: 0, joins: 2, ..Bounds::default() };
    let altered = Bounds { late: false, tables_change: true, ..Bounds::default() };
    let more = vec![good(0), Kind::fitting(0, false, true), good(0)];
    let cut = || vec![good(0), good(1), Kind::poison(0, true), good(0)];
    let dying = || vec![good(0), Kind::another_day(0)];
    for mutation in [Mutation::TrustRepeats, Mutation::SameToken] {
        holds(killed(dying(), plain));
        println!("{mutation:?}:");
        breaks(killed(dying(), plain).without(mutation));
    }
    let mut before = Vec::new();
    for (mutation, kinds, bounds) in [
        (Mutation::NoIntent, two(), plain),
        (Mutation::NoToken, two(), plain),
        (Mutation::CommitFirst, two(), plain),
        (Mutation::Recut, two(), plain),
        (Mutation::LettersApart, mixed(), plain),
        (Mutation::NoFence, mixed(), plain),
        (Mutation::BlindRetry, mixed(), plain),
        (Mutation::UnstatedCut, cut(), calm),
        (Mutation::ForgetStored, cut(), plain),
        (Mutation::ForgetRefused, more, altered),
    ] {
        // The same with nothing left out holds, so that it is the mutation that breaks it.
        if before != kinds {
            holds(Scenario::new(kinds.clone(), bounds));
            before.clone_from(&kinds);
        }
        println!("{mutation:?}:");
        breaks(Scenario::new(kinds, bounds).without(mutation));
    }
}

/// The one combination that is not promised: a process sends a block that it had stated long before, after
/// others have gone on without the block's poison row and the server has come to accept it.
#[test]
fn a_late_insert_of_rows_that_the_server_has_come_to_accept_loses_nothing() {
    let bounds = Bounds { rules_change: true, ..Bounds::default() };
    let kinds = [good(0), Kind::poison(0, true), good(0)];
    let (n_states, broken) = Scenario::new(kinds, bounds).check();
    println!("{n_states} states");
    let broken: Vec<_> = broken.iter().map(|(property, _)| *property).collect();
    assert!(broken.contains(&"no row twice"), "this is no longer a limit: {broken:?}");
    assert!(!broken.contains(&"nothing is passed over"), "{broken:?}");
}

#[test]
fn a_memory_that_is_shorter_than_a_zombies_sleep_is_not_enough() {
    let short = Bounds { window: 1, ..Bounds::default() };
    breaks(Scenario::new(vec![good(0); 3], short));
}
