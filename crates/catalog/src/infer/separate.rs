//! What tells the events of a topic apart: a member of the records, a header, or nothing but the topic.
//!
//! Records of one event have the same members, more or less. So the best separator is the one whose values put records
//! together that are alike, compared with any two records. Pairs are compared, not groups as a whole: small groups
//! would look alike by chance otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::EVENTS_MAX;
use super::scalar::share;

/// The most shapes of records that are compared, and the most names of each.
const SHAPES_MAX: usize = 300;
const NAMES_MAX: usize = 300;
/// The most separators that are tried.
const CANDIDATES_MAX: usize = 400;
/// The longest name of an event, in bytes.
const VALUE_BYTES_MAX: usize = 100;
/// Records that are alike to that degree are one event.
const ALIKE: f64 = 0.95;
/// What a separator must bring.
const GAIN_MIN: f64 = 0.1;
/// The share of records that have it.
const THERE_MIN: f64 = 0.9;

/// What tells events apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Separator {
    /// Nothing: the topic has one event.
    Topic,
    /// A member of the records, a text.
    Member(String),
    /// A header of the records.
    Header(String),
}

impl Separator {
    /// The event of a record by this separator; `None` if the record does not say.
    #[must_use]
    pub fn event<'a>(&self, headers: &[(&'a str, &'a str)], value: &'a Value) -> Option<&'a str> {
        let found = match self {
            Self::Topic => return Some(""),
            Self::Member(name) => value.get(name)?.as_str()?,
            Self::Header(name) => headers.iter().rev().find(|(header, _)| header == name)?.1,
        };
        (!found.is_empty() && found.len() <= VALUE_BYTES_MAX).then_some(found)
    }

    /// As it is shown to people.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Topic => "the topic".to_owned(),
            Self::Member(name) => format!("the field `{name}`"),
            Self::Header(name) => format!("the header `{name}`"),
        }
    }
}

/// A separator, and why this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Separation {
    /// What tells events apart.
    pub by: Separator,
    /// Why.
    pub why: String,
    /// What else might, and how well.
    pub others: Vec<String>,
}

/// Finds what tells events apart, from headers and values of records.
pub fn separate<'a>(records: impl Iterator<Item = (Vec<(&'a str, &'a str)>, &'a Value)>) -> Separation {
    let mut shapes = Shapes::default();
    let mut candidates: BTreeMap<Separator, BTreeMap<&str, Counts>> = BTreeMap::new();
    let mut all = Counts::new();
    for (headers, value) in records {
        let Some(shape) = shapes.of(value) else { continue };
        *all.entry(shape).or_default() += 1;
        let members = value.as_object().into_iter().flatten().filter(|(_, value)| value.is_string());
        let members = members.map(|(name, _)| Separator::Member(name.clone()));
        let headers_of = headers.iter().map(|(name, _)| Separator::Header((*name).to_owned()));
        for separator in headers_of.chain(members) {
            let Some(event) = separator.event(&headers, value) else { continue };
            if candidates.len() >= CANDIDATES_MAX && !candidates.contains_key(&separator) {
                continue;
            }
            let groups = candidates.entry(separator).or_default();
            // One value too many shows that there are too many.
            if groups.len() <= EVENTS_MAX || groups.contains_key(event) {
                *groups.entry(event).or_default().entry(shape).or_default() += 1;
            }
        }
    }
    choose(&shapes, &all, &candidates)
}

/// How many records have each shape.
type Counts = BTreeMap<usize, u64>;

fn total(counts: &Counts) -> u64 {
    counts.values().sum()
}

fn choose(
    shapes: &Shapes,
    all: &Counts,
    candidates: &BTreeMap<Separator, BTreeMap<&str, Counts>>,
) -> Separation {
    let any_two = shapes.likeness(all);
    let mut found: Vec<(i64, bool, usize, f64, &Separator)> = Vec::new();
    for (separator, groups) in candidates {
        let there: u64 = groups.values().map(total).sum();
        let compared: u64 = groups.values().map(total).filter(|count| *count > 1).sum();
        let enough = ratio(there, total(all)) >= THERE_MIN && compared * 2 >= there;
        if groups.len() < 2 || groups.len() > EVENTS_MAX || !enough {
            continue;
        }
        let weighted = groups.values().filter(|group| total(group) > 1);
        let sum: f64 = weighted.map(|group| ratio(total(group), compared) * shapes.likeness(group)).sum();
        // Differences below a twentieth say nothing.
        #[expect(clippy::cast_possible_truncation, reason = "a share of one, in twentieths")]
        let step = ((sum - any_two) * 20.0).round() as i64;
        found.push((-step, !called_event(separator), groups.len(), sum, separator));
    }
    found.sort_by(|a, b| (a.0, a.1, a.2, a.4).cmp(&(b.0, b.1, b.2, b.4)));
    let told = |sum: f64, separator: &Separator, n: usize| {
        format!(
            "records with the same value of {} ({n} values) share {} of their fields, any two {}",
            separator.told(),
            percent(sum),
            percent(any_two)
        )
    };
    let best = found.first().filter(|(_, _, _, sum, _)| any_two < ALIKE && sum - any_two >= GAIN_MIN);
    let (by, why, skip) = match best {
        Some((_, _, n, sum, separator)) => ((*separator).clone(), told(*sum, separator, *n), 1),
        None if any_two >= ALIKE => (
            Separator::Topic,
            format!("any two records share {} of their fields: one event", percent(any_two)),
            0,
        ),
        None => {
            let why = format!(
                "any two records share only {} of their fields, and neither a field nor a header tells them apart",
                percent(any_two)
            );
            (Separator::Topic, why, 0)
        }
    };
    let others = found.iter().skip(skip).filter(|(_, named, _, sum, _)| !*named || sum - any_two >= GAIN_MIN);
    let others = others.take(3).map(|(_, _, n, sum, separator)| told(*sum, separator, *n)).collect();
    Separation { by, why, others }
}

fn called_event(separator: &Separator) -> bool {
    let (Separator::Member(name) | Separator::Header(name)) = separator else { return false };
    let name = name.to_ascii_lowercase();
    ["type", "kind", "event"].contains(&name.as_str()) || name.contains("event")
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn percent(share_of_one: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of one")]
    let thousandths = (share_of_one * 1000.0).round() as u64;
    share(thousandths, 1000)
}

/// The sets of names that records have, two levels deep.
#[derive(Debug, Default)]
struct Shapes {
    known: BTreeMap<BTreeSet<String>, usize>,
    sets: Vec<BTreeSet<String>>,
}

impl Shapes {
    /// The number of a record's shape; `None` if it is no object, or one shape too many.
    fn of(&mut self, value: &Value) -> Option<usize> {
        let object = value.as_object()?;
        let mut names = BTreeSet::new();
        for (name, value) in object {
            names.insert(name.clone());
            let inner = value.as_object().into_iter().flatten();
            names.extend(inner.map(|(member, _)| format!("{name}/{member}")));
            if names.len() >= NAMES_MAX {
                break;
            }
        }
        if let Some(known) = self.known.get(&names) {
            return Some(*known);
        }
        if self.sets.len() >= SHAPES_MAX {
            return None;
        }
        self.sets.push(names.clone());
        self.known.insert(names, self.sets.len() - 1);
        Some(self.sets.len() - 1)
    }

    /// The mean share of names that two of these records have in common.
    fn likeness(&self, counts: &Counts) -> f64 {
        let n = total(counts);
        if n < 2 {
            return 1.0;
        }
        let mut sum = 0.0;
        for (one, n_one) in counts {
            sum += ratio(n_one * (n_one - 1), 2);
            for (other, n_other) in counts.range(one + 1..) {
                sum += ratio(n_one * n_other, 1) * self.common(*one, *other);
            }
        }
        sum / ratio(n * (n - 1), 2)
    }

    fn common(&self, one: usize, other: usize) -> f64 {
        let (Some(one), Some(other)) = (self.sets.get(one), self.sets.get(other)) else { return 0.0 };
        let both = one.intersection(other).count();
        let either = one.len() + other.len() - both;
        ratio(both as u64, either as u64)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(values: &[Value]) -> Separation {
        separate(values.iter().map(|value| (Vec::new(), value)))
    }

    fn mixed() -> Vec<Value> {
        (0..60)
            .map(|n| match n % 3 {
                0 => json!({"id": format!("{n}"), "user": format!("u{}", n % 7), "type": "view", "page": "x", "ms": n}),
                1 => json!({"id": format!("{n}"), "user": format!("u{}", n % 7), "type": "buy", "price": 1, "sku": "s"}),
                _ => json!({"id": format!("{n}"), "user": format!("u{}", n % 7), "type": "login", "method": "sms"}),
            })
            .collect()
    }

    #[test]
    fn the_field_whose_values_go_with_the_shape_separates() {
        let found = of(&mixed());
        assert_eq!(found.by, Separator::Member("type".into()), "{found:?}");
        assert!(found.why.contains("share 100 % of their fields, any two"), "{found:?}");
    }

    #[test]
    fn a_header_separates_where_no_field_does() {
        let values: Vec<Value> = mixed()
            .into_iter()
            .map(|mut value| {
                value.as_object_mut().unwrap().remove("type");
                value
            })
            .collect();
        let records = values.iter().map(|value| {
            let kind = if value.get("page").is_some() {
                "view"
            } else if value.get("sku").is_some() {
                "buy"
            } else {
                "login"
            };
            (vec![("trace", "t"), ("x-kind", kind)], value)
        });
        assert_eq!(separate(records).by, Separator::Header("x-kind".into()));
        assert_eq!(of(&values).by, Separator::Topic, "users do not tell them apart");
    }

    #[test]
    fn records_that_are_alike_are_one_event() {
        let values: Vec<Value> =
            (0..40).map(|n| json!({"type": if n % 2 == 0 { "a" } else { "b" }, "n": n})).collect();
        let found = of(&values);
        assert_eq!(found.by, Separator::Topic);
        assert!(found.others[0].contains("`type` (2 values)"), "{found:?}");
    }
}
