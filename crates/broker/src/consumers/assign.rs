//! The server-side assignors of KIP-848: pure functions of the members, what they subscribe to and what they
//! have.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// A topic, by its id, and a partition.
pub(crate) type Place = (Uuid, i32);

/// Kafka's two assignors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Assignor {
    /// As many partitions for each member as for any other, and as few moves as that allows.
    #[default]
    Uniform,
    /// Of each topic a range of partitions for each member, the same ranges for topics of one size.
    Range,
}

impl Assignor {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Kafka's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What each member shall have.
    pub(crate) fn assign(self, members: &[Candidate<'_>]) -> Vec<BTreeSet<Place>> {
        match self {
            Self::Uniform => uniform(members),
            Self::Range => range(members),
        }
    }
}

/// A member as an assignor sees it.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// Orders members for ranges; a static member's instance, so that it gets its ranges back.
    pub(crate) name: &'a str,
    /// The topics that it subscribes to and that exist, with their numbers of partitions.
    pub(crate) topics: BTreeMap<Uuid, i32>,
    pub(crate) has: &'a BTreeSet<Place>,
}

fn range(members: &[Candidate<'_>]) -> Vec<BTreeSet<Place>> {
    let mut shares = vec![BTreeSet::new(); members.len()];
    let topics: BTreeMap<Uuid, i32> = members.iter().flat_map(|member| member.topics.clone()).collect();
    for (topic, n_partitions) in topics {
        let mut takers: Vec<usize> =
            (0..members.len()).filter(|index| members[*index].topics.contains_key(&topic)).collect();
        takers.sort_by_key(|index| members[*index].name);
        let (n_partitions, n_takers) = (n_partitions as usize, takers.len());
        let (each, more) = (n_partitions / n_takers, n_partitions % n_takers);
        let mut next = 0;
        for (rank, taker) in takers.into_iter().enumerate() {
            let end = next + each + usize::from(rank < more);
            shares[taker].extend((next..end).map(|index| (topic, index as i32)));
            next = end;
        }
    }
    shares
}

fn uniform(members: &[Candidate<'_>]) -> Vec<BTreeSet<Place>> {
    let exists = |member: &Candidate<'_>, (topic, index): &Place| {
        member.topics.get(topic).is_some_and(|n_partitions| index < n_partitions)
    };
    let mut taken = BTreeSet::new();
    let mut shares: Vec<BTreeSet<Place>> = members
        .iter()
        .map(|member| {
            let kept = member.has.iter().filter(|place| exists(member, place) && taken.insert(**place));
            kept.copied().collect()
        })
        .collect();
    let topics: BTreeMap<Uuid, i32> = members.iter().flat_map(|member| member.topics.clone()).collect();
    for (topic, n_partitions) in topics {
        for place in (0..n_partitions).map(|index| (topic, index)).filter(|place| !taken.contains(place)) {
            let takers = (0..members.len()).filter(|index| members[*index].topics.contains_key(&topic));
            if let Some(taker) = takers.min_by_key(|index| shares[*index].len()) {
                shares[taker].insert(place);
            }
        }
    }
    while let Some((from, to, place)) = fairer(members, &shares) {
        shares[from].remove(&place);
        shares[to].insert(place);
    }
    shares
}

/// A partition whose move makes the shares more even. Each move makes the sum of their squares smaller, so
/// that moves come to an end.
fn fairer(members: &[Candidate<'_>], shares: &[BTreeSet<Place>]) -> Option<(usize, usize, Place)> {
    let mut by_load: Vec<usize> = (0..shares.len()).collect();
    by_load.sort_by_key(|index| shares[*index].len());
    for from in by_load.iter().rev() {
        for to in &by_load {
            if shares[*to].len() + 2 > shares[*from].len() {
                break;
            }
            let movable = |place: &&Place| members[*to].topics.contains_key(&place.0);
            if let Some(place) = shares[*from].iter().rev().find(movable) {
                return Some((*from, *to, *place));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn assign(
        assignor: Assignor,
        subscriptions: &[Vec<(u128, i32)>],
        before: &[BTreeSet<Place>],
    ) -> Vec<BTreeSet<Place>> {
        let names: Vec<String> = (0..subscriptions.len()).map(|index| format!("m{index}")).collect();
        let members: Vec<Candidate<'_>> = subscriptions
            .iter()
            .zip(before)
            .zip(&names)
            .map(|((subscribed, has), name)| {
                let topics = subscribed.iter().map(|(number, n)| (topic(*number), *n)).collect();
                Candidate { name, topics, has }
            })
            .collect();
        assignor.assign(&members)
    }

    fn sizes(shares: &[BTreeSet<Place>]) -> Vec<usize> {
        shares.iter().map(BTreeSet::len).collect()
    }

    #[test]
    fn a_range_is_contiguous_and_the_same_for_topics_of_one_size() {
        let both = vec![(1, 5), (2, 5)];
        let shares = assign(Assignor::Range, &[both.clone(), both], &vec![BTreeSet::new(); 2]);
        let of = |number, share: &BTreeSet<Place>| -> Vec<i32> {
            share.iter().filter(|place| place.0 == topic(number)).map(|place| place.1).collect()
        };
        assert_eq!((of(1, &shares[0]), of(2, &shares[0])), (vec![0, 1, 2], vec![0, 1, 2]));
        assert_eq!((of(1, &shares[1]), of(2, &shares[1])), (vec![3, 4], vec![3, 4]));
    }

    #[test]
    fn a_second_member_takes_half_and_nothing_else_moves() {
        let alone = assign(Assignor::Uniform, &[vec![(1, 6)]], &[BTreeSet::new()]);
        let two =
            assign(Assignor::Uniform, &[vec![(1, 6)], vec![(1, 6)]], &[alone[0].clone(), BTreeSet::new()]);
        assert_eq!(sizes(&two), [3, 3]);
        assert!(two[0].is_subset(&alone[0]));
    }

    proptest! {
        #[test]
        fn every_partition_has_one_taker_who_subscribes_to_it(
            subscriptions in proptest::collection::vec(proptest::collection::btree_set(0_u128..4, 0..4), 1..6),
            sizes in proptest::collection::vec(1_i32..8, 4),
            seed in proptest::collection::vec((0_u128..5, 0_i32..10), 0..10),
        ) {
            let subscriptions: Vec<Vec<(u128, i32)>> = subscriptions
                .into_iter()
                .map(|topics| topics.into_iter().map(|number| (number, sizes[number as usize])).collect())
                .collect();
            let stale: BTreeSet<Place> = seed.into_iter().map(|(number, index)| (topic(number), index)).collect();
            let before = vec![stale; subscriptions.len()];
            for assignor in [Assignor::Uniform, Assignor::Range] {
                let shares = assign(assignor, &subscriptions, &before);
                let mut all = BTreeSet::new();
                for (share, subscribed) in shares.iter().zip(&subscriptions) {
                    for place in share {
                        prop_assert!(all.insert(*place), "twice");
                        let size = subscribed.iter().find(|(number, _)| topic(*number) == place.0);
                        prop_assert!(size.is_some_and(|(_, n)| place.1 < *n), "not subscribed");
                    }
                }
                let wanted: BTreeMap<u128, i32> = subscriptions.iter().flatten().copied().collect();
                prop_assert_eq!(all.len(), wanted.values().sum::<i32>() as usize);
            }
        }

        #[test]
        fn equal_subscriptions_get_equal_shares_whatever_they_had(
            n_members in 1_usize..7,
            n_partitions in 1_i32..30,
            had in proptest::collection::vec((0_usize..7, 0_i32..30), 0..30),
        ) {
            let mut before = vec![BTreeSet::new(); n_members];
            for (member, index) in had {
                before[member % n_members].insert((topic(1), index));
            }
            let shares = assign(Assignor::Uniform, &vec![vec![(1, n_partitions)]; n_members], &before);
            let sizes = sizes(&shares);
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);
        }
    }
}
