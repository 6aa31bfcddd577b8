//! What a reset of offsets means, partition by partition. Pure.

use std::collections::BTreeMap;

use thiserror::Error;
use tidegate_core::{Checkpoint, OffsetRange, Replay, Rewind};

/// Where a partition stands before the reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The partition.
    pub partition: i32,
    /// What the topic holds of it.
    pub log: OffsetRange,
    /// What the group has committed. A commit of another program counts as its offset.
    pub committed: Option<Checkpoint>,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The first record.
    Earliest,
    /// The end.
    Latest,
    /// These offsets, by partition; others stay where they are.
    Offsets(BTreeMap<i32, i64>),
}

/// One partition's part of a reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The partition.
    pub partition: i32,
    /// What the topic holds of it.
    pub log: OffsetRange,
    /// The committed offset before.
    pub from: Option<i64>,
    /// What is to be committed.
    pub checkpoint: Checkpoint,
    /// Offsets that would have been read next, and will not be.
    pub skipped: Option<OffsetRange>,
    /// Offsets that have been read, and will be again.
    pub again: Option<OffsetRange>,
}

/// Why offsets cannot be reset like that.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such partition.
    #[error("the topic has no partition {partition}; its partitions are 0 to {last}")]
    NoPartition {
        /// The partition asked for.
        partition: i32,
        /// The last one that there is.
        last: i32,
    },
    /// The offset is not in the log.
    #[error("partition {partition} holds the offsets {log}; expected {} to {}, found {offset}", log.first(), log.end())]
    OutsideLog {
        /// The partition.
        partition: i32,
        /// The offset asked for.
        offset: i64,
        /// What there is.
        log: OffsetRange,
    },
}

/// Plans a reset. `now` is the time in milliseconds since the epoch; it tells this rewind from others. Partitions
/// that would stay exactly where they are are left out.
///
/// # Errors
/// When the target names what is not there.
pub fn plan(standings: &[Standing], target: &Target, replay: Replay, now: u64) -> Result<Vec<Move>, Refusal> {
    if let Target::Offsets(offsets) = target {
        let known = |partition: &i32| standings.iter().any(|standing| standing.partition == *partition);
        if let Some(partition) = offsets.keys().find(|partition| !known(partition)) {
            let last = standings.iter().map(|standing| standing.partition).max().unwrap_or(0);
            return Err(Refusal::NoPartition { partition: *partition, last });
        }
    }
    let mut moves = Vec::new();
    for standing in standings {
        let log = standing.log;
        let to = match target {
            Target::Earliest => log.first(),
            Target::Latest => log.end(),
            Target::Offsets(offsets) => match offsets.get(&standing.partition) {
                Some(offset) => *offset,
                None => continue,
            },
        };
        if to < log.first() || to > log.end() {
            return Err(Refusal::OutsideLog { partition: standing.partition, offset: to, log });
        }
        moves.extend(one(standing, to, replay, now));
    }
    Ok(moves)
}

fn one(standing: &Standing, to: i64, replay: Replay, now: u64) -> Option<Move> {
    let Standing { partition, log, committed } = standing;
    let settled = committed.as_ref().is_some_and(|committed| committed.intent.is_none());
    let before = committed.as_ref().map(|committed| committed.offset);
    if settled && before == Some(to) {
        return None;
    }
    let earlier = committed.as_ref().and_then(|committed| committed.rewind);
    // What a process has begun to insert beyond the committed offset may be in the tables too.
    let root = committed.as_ref().and_then(|committed| committed.intent.as_ref()).map(|intent| intent.root);
    let read = root.or(before).unwrap_or(log.first()).max(log.first());
    let next = before.unwrap_or(log.first()).max(log.first());
    let until = [Some(log.end()), root, before, earlier.map(|earlier| earlier.until)];
    let until = until.into_iter().flatten().max().unwrap_or(to);
    let id = now.max(earlier.map_or(0, |earlier| earlier.id.saturating_add(1)));
    let not_empty = |range: Option<OffsetRange>| range.filter(|range| range.first() < range.end());
    Some(Move {
        partition: *partition,
        log: *log,
        from: before,
        checkpoint: Checkpoint::settled(to).rewound(Some(Rewind { id, until, replay })),
        skipped: not_empty(OffsetRange::new(next, to)),
        again: not_empty(OffsetRange::new(to, read)),
    })
}

#[cfg(test)]
mod tests {
    use tidegate_core::PlanFingerprint;

    use super::*;

    fn range(first: i64, end: i64) -> OffsetRange {
        OffsetRange::new(first, end).unwrap()
    }

    fn standing(partition: i32, committed: Option<Checkpoint>) -> Standing {
        Standing { partition, log: range(10, 100), committed }
    }

    fn at(offsets: &[(i32, i64)]) -> Target {
        Target::Offsets(offsets.iter().copied().collect())
    }

    /// `to`, `until`, skipped and read again, in short.
    #[track_caller]
    fn check(committed: Option<Checkpoint>, to: i64, expected: Option<&str>) {
        let moves = plan(&[standing(0, committed)], &at(&[(0, to)]), Replay::Fill, 7).unwrap();
        let show = |range: Option<OffsetRange>| range.map_or("-".to_owned(), |range| range.to_string());
        let short = moves.first().map(|m| {
            let Checkpoint { offset, rewind, .. } = &m.checkpoint;
            let until = rewind.map_or("-".to_owned(), |rewind| format!("{}/{}", rewind.until, rewind.id));
            format!("to {offset} until {until} skips {} again {}", show(m.skipped), show(m.again))
        });
        assert_eq!(short.as_deref(), expected);
    }

    #[test]
    fn back_is_read_again_and_forth_is_skipped() {
        let settled = || Some(Checkpoint::settled(58));
        check(settled(), 59, Some("to 59 until 100/7 skips 58-59 again -"));
        check(settled(), 20, Some("to 20 until 100/7 skips - again 20-58"));
        check(settled(), 100, Some("to 100 until - skips 58-100 again -"));
        check(settled(), 58, None);
        check(None, 10, Some("to 10 until 100/7 skips - again -"));
        check(None, 12, Some("to 12 until 100/7 skips 10-12 again -"));
        // Retention has passed the committed offset.
        check(Some(Checkpoint::settled(3)), 12, Some("to 12 until 100/7 skips 10-12 again -"));
    }

    #[test]
    fn a_batch_in_flight_may_be_stored_already() {
        let intent = || Some(Checkpoint::intending(range(58, 90), PlanFingerprint(1)));
        check(intent(), 59, Some("to 59 until 100/7 skips 58-59 again 59-90"));
        check(intent(), 58, Some("to 58 until 100/7 skips - again 58-90"));
        check(intent(), 95, Some("to 95 until 100/7 skips 58-95 again -"));
    }

    #[test]
    fn each_rewind_has_an_id_of_its_own_and_forgets_no_earlier_one() {
        let earlier = Rewind { id: 9, until: 300, replay: Replay::Again };
        let committed = Checkpoint::settled(20).rewound(Some(earlier));
        check(Some(committed), 15, Some("to 15 until 300/10 skips - again 15-20"));
    }

    #[test]
    fn the_incidents_offsets_are_one_command() {
        let standings: Vec<Standing> = [58, 56, 113]
            .iter()
            .zip(0..)
            .map(|(at, p)| standing(p, Some(Checkpoint::settled(*at))))
            .collect();
        let standings: Vec<Standing> =
            standings.into_iter().map(|standing| Standing { log: range(0, 200), ..standing }).collect();
        let moves = plan(&standings, &at(&[(0, 59), (1, 57), (2, 114)]), Replay::Fill, 1).unwrap();
        let short: Vec<_> = moves.iter().map(|m| (m.partition, m.checkpoint.offset, m.skipped)).collect();
        let skips = |first| Some(range(first, first + 1));
        assert_eq!(short, [(0, 59, skips(58)), (1, 57, skips(56)), (2, 114, skips(113))]);
        for (target, to) in [(Target::Earliest, 0), (Target::Latest, 200)] {
            let moves = plan(&standings, &target, Replay::Again, 1).unwrap();
            assert!(moves.iter().all(|m| m.checkpoint.offset == to), "{moves:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let standings = [standing(0, None), standing(1, None)];
        let refused = |target| plan(&standings, &target, Replay::Fill, 1).unwrap_err();
        assert_eq!(refused(at(&[(2, 20)])), Refusal::NoPartition { partition: 2, last: 1 });
        for offset in [9, 101] {
            let log = range(10, 100);
            assert_eq!(refused(at(&[(1, offset)])), Refusal::OutsideLog { partition: 1, offset, log });
        }
        assert_eq!(
            refused(at(&[(1, 9)])).to_string(),
            "partition 1 holds the offsets 10-100; expected 10 to 100, found 9"
        );
    }
}
