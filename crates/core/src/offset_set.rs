//! Many offsets of one partition, as runs.

use crate::range::OffsetRange;

/// A set of offsets. Offsets that follow each other cost as much as one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OffsetSet {
    /// Not empty, in order, with a gap between any two.
    runs: Vec<OffsetRange>,
}

impl OffsetSet {
    /// Whether the offset is in the set.
    #[must_use]
    pub fn contains(&self, offset: i64) -> bool {
        let at = self.runs.partition_point(|run| run.end() <= offset);
        self.runs.get(at).is_some_and(|run| run.contains(offset))
    }

    /// How many offsets there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|run| run.end().abs_diff(run.first())).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The offsets that are in this set and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut others = other.runs.iter().peekable();
        for run in &self.runs {
            let mut first = run.first();
            while let Some(gone) = others.peek().filter(|gone| gone.first() < run.end()) {
                left.extend(OffsetRange::new(first, gone.first()));
                first = first.max(gone.end());
                if gone.end() > run.end() {
                    break;
                }
                others.next();
            }
            left.extend(OffsetRange::new(first, run.end()));
        }
        left.into_iter().collect()
    }

    /// The runs, in order; between two of them at least one offset is missing.
    #[must_use]
    pub fn runs(&self) -> &[OffsetRange] {
        &self.runs
    }
}

impl FromIterator<OffsetRange> for OffsetSet {
    fn from_iter<I: IntoIterator<Item = OffsetRange>>(ranges: I) -> Self {
        let mut ranges: Vec<OffsetRange> = ranges.into_iter().collect();
        ranges.sort_unstable_by_key(|range| (range.first(), range.end()));
        let mut runs: Vec<OffsetRange> = Vec::new();
        for range in ranges {
            match runs.last_mut().filter(|last| last.end() >= range.first()) {
                Some(last) => {
                    let joined = OffsetRange::new(last.first(), last.end().max(range.end()));
                    *last = joined.expect("a run only grows");
                }
                None if range.first() < range.end() => runs.push(range),
                None => {}
            }
        }
        Self { runs }
    }
}

impl FromIterator<i64> for OffsetSet {
    fn from_iter<I: IntoIterator<Item = i64>>(offsets: I) -> Self {
        offsets.into_iter().filter_map(|offset| OffsetRange::new(offset, offset.checked_add(1)?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_in_any_order_become_runs() {
        let set: OffsetSet = [5, 1, 2, 9, 3, 2, 6].into_iter().collect();
        let runs: Vec<String> = set.runs().iter().map(ToString::to_string).collect();
        assert_eq!(runs, ["1-4", "5-7", "9-10"]);
        assert_eq!(set.len(), 6);
        let inside: Vec<i64> = (-1..12).filter(|offset| set.contains(*offset)).collect();
        assert_eq!(inside, [1, 2, 3, 5, 6, 9]);
    }

    #[test]
    fn ranges_that_touch_or_overlap_are_one() {
        let range = |first, end| OffsetRange::new(first, end).unwrap();
        let set: OffsetSet = [range(4, 9), range(1, 4), range(5, 6), range(20, 21)].into_iter().collect();
        assert_eq!(set.runs(), [range(1, 9), range(20, 21)]);
        let without = set.without(&[range(0, 2), range(4, 5), range(8, 21)].into_iter().collect());
        assert_eq!(without.runs(), [range(2, 4), range(5, 8)]);
        assert_eq!(set.without(&OffsetSet::default()), set);
        assert!(!OffsetSet::default().contains(0) && OffsetSet::default().is_empty());
    }
}
