//! Batches of two partitions that are sent together keep the promise over every interleaving within the bounds, and each
//! mutation breaks it.

use tidegate_model::{JointBounds, JointMutation, JointScenario, Kind};

#[track_caller]
fn holds(scenario: JointScenario) {
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
fn breaks(scenario: JointScenario) {
    let (n_states, broken) = scenario.clone().check();
    println!("{n_states} states until broken: {scenario:?}");
    assert!(!broken.is_empty(), "it was not caught: {scenario:?}");
}

fn good(part: u64) -> Kind {
    Kind::good(part)
}

#[test]
fn good_records_survive_whoever_takes_which_partition() {
    let bounds = JointBounds { takes: 5, losses: 0, crashes: 0, ..JointBounds::default() };
    holds(JointScenario::new([vec![good(0)], vec![good(0)]], bounds));
    let two_tables = [vec![good(0), good(1)], vec![good(0)]];
    holds(JointScenario::new(two_tables, JointBounds { takes: 3, ..JointBounds::default() }));
}

#[test]
fn a_joint_block_may_land_in_some_partitions_of_its_table_only() {
    let bounds = JointBounds { takes: 3, ..JointBounds::default() };
    holds(JointScenario::new([vec![good(0), Kind::another_day(0)], vec![good(0)]], bounds));
    holds(JointScenario::new([vec![Kind::another_day(0), good(0)], vec![good(0)]], bounds));
}

#[test]
fn batches_may_go_together_or_alone() {
    let bounds = JointBounds { takes: 3, always_joint: false, ..JointBounds::default() };
    holds(JointScenario::new([vec![good(0), good(0)], vec![good(0)]], bounds));
}

#[test]
fn records_that_do_not_fit_become_dead_letters_once() {
    let unfit = Kind::fitting(0, false, false);
    let bounds = JointBounds { takes: 3, ..JointBounds::default() };
    holds(JointScenario::new([vec![good(0), unfit], vec![good(0)]], bounds));
    holds(JointScenario::new([vec![unfit], vec![good(0)]], bounds));
}

#[test]
fn a_row_that_the_server_refuses_becomes_a_dead_letter_and_the_others_rows() {
    let poison = Kind::poison(0, false);
    holds(JointScenario::new(
        [vec![good(0), poison], vec![good(0)]],
        JointBounds { takes: 3, ..JointBounds::default() },
    ));
    holds(JointScenario::new(
        [vec![poison], vec![good(0), good(1)]],
        JointBounds { takes: 3, ..JointBounds::default() },
    ));
}

#[test]
fn a_server_that_notes_a_joint_token_and_has_no_rows_loses_none() {
    let bounds = JointBounds { takes: 3, losses: 0, kills: 1, ..JointBounds::default() };
    holds(JointScenario::new([vec![good(0), Kind::another_day(0)], vec![good(0)]], bounds));
    holds(JointScenario::new([vec![good(0), Kind::poison(0, false)], vec![good(1)]], bounds));
    let twice = JointBounds { takes: 2, crashes: 0, losses: 0, kills: 2, ..bounds };
    holds(JointScenario::new([vec![good(0)], vec![good(0)]], twice));
    breaks(JointScenario::new([vec![good(0)], vec![good(0)]], bounds).without(JointMutation::TrustRepeats));
}

/// The joint token is not taken by a claim that the server refuses.
#[test]
fn whoever_is_late_after_a_refused_claim_doubles_nothing() {
    let poison = Kind::poison(0, false);
    let bounds = JointBounds { takes: 4, losses: 0, crashes: 0, ..JointBounds::default() };
    holds(JointScenario::new([vec![poison, good(0)], vec![good(1)]], bounds));
}

#[test]
fn a_rule_may_change_while_a_joint_batch_is_on_its_way() {
    let bounds = JointBounds { rules_change: true, losses: 0, ..JointBounds::default() };
    holds(JointScenario::new([vec![Kind::poison(0, true)], vec![good(0)]], bounds));
    holds(JointScenario::new([vec![Kind::forbidden_later(0)], vec![good(0)]], bounds));
}

#[test]
fn each_part_of_the_protocol_is_needed() {
    let kinds = || [vec![good(0)], vec![good(0)]];
    holds(JointScenario::new(kinds(), JointBounds::default()));
    for mutation in [
        JointMutation::Unstated,
        JointMutation::Unnamed,
        JointMutation::BorrowedToken,
        JointMutation::NoClaim,
        JointMutation::BlindClaim,
        JointMutation::TornConfirm,
        JointMutation::Trespass,
    ] {
        println!("{mutation:?}:");
        breaks(JointScenario::new(kinds(), JointBounds::default()).without(mutation));
    }
}
