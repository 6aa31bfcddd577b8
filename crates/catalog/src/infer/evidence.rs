//! What was seen at one place of a topic's values, and below it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::number::Numbers;
use super::text::{Forms, Texts};

/// The most different names that an object's members are told apart by. What has more is a map.
const MEMBERS_MAX: usize = 256;
/// The longest name that is remembered, in bytes: longer ones are values.
const NAME_BYTES_MAX: usize = 200;

/// The values of one place, summed up. Evidence of parts put together is the evidence of the whole, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// How often it was null.
    pub nulls: u64,
    /// How often true or false.
    pub bools: u64,
    /// Numbers.
    pub numbers: Numbers,
    /// Texts.
    pub texts: Texts,
    /// How often a list.
    pub lists: u64,
    /// What the lists held; nothing if all were empty.
    pub items: Option<Box<Evidence>>,
    /// How often an object.
    pub objects: u64,
    /// What the objects held.
    pub members: Members,
    /// Whether lists or objects held something that was not looked at, since it stood too deep.
    pub deep: bool,
}

/// The members of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// By their names.
    Named(BTreeMap<String, Evidence>),
    /// There were too many names: all of them together.
    Any(Box<Evidence>),
}

impl Default for Members {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

/// How a value is looked at.
#[derive(Debug)]
pub(super) struct Looking<'a> {
    pub(super) forms: &'a Forms,
    /// Places that came anew.
    pub(super) places: usize,
}

impl Evidence {
    /// How many values there were, nulls among them.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.nulls + self.values()
    }

    /// How many values there were, without nulls.
    #[must_use]
    pub const fn values(&self) -> u64 {
        self.bools + self.numbers.count() + self.texts.count + self.lists + self.objects
    }

    /// Takes in a value; `depth` is how many levels below it are looked at.
    pub(super) fn see(&mut self, value: &Value, depth: usize, looking: &mut Looking<'_>) {
        match value {
            Value::Null => self.nulls += 1,
            Value::Bool(_) => self.bools += 1,
            Value::Number(number) => self.numbers.see(number),
            Value::String(text) => self.texts.see(text, looking.forms),
            Value::Array(list) => {
                self.lists += 1;
                self.deep |= depth == 0 && !list.is_empty();
                if depth > 0 && !list.is_empty() {
                    let items = self.items.get_or_insert_with(|| {
                        looking.places += 1;
                        Box::default()
                    });
                    list.iter().for_each(|item| items.see(item, depth - 1, looking));
                }
            }
            Value::Object(object) => {
                self.objects += 1;
                self.deep |= depth == 0 && !object.is_empty();
                if depth > 0 {
                    self.see_members(object, depth - 1, looking);
                }
            }
        }
    }

    fn see_members(&mut self, object: &Map<String, Value>, depth: usize, looking: &mut Looking<'_>) {
        for (name, value) in object {
            let of = self.members.of(name, &mut looking.places);
            of.see(value, depth, looking);
        }
    }

    /// Takes in what others saw of the same place.
    pub fn merge(&mut self, other: Self) {
        self.nulls += other.nulls;
        self.bools += other.bools;
        self.numbers.merge(&other.numbers);
        self.texts.merge(&other.texts);
        self.lists += other.lists;
        self.objects += other.objects;
        self.deep |= other.deep;
        match (&mut self.items, other.items) {
            (_, None) => {}
            (Some(own), Some(others)) => own.merge(*others),
            (own @ None, others @ Some(_)) => *own = others,
        }
        match other.members {
            Members::Any(others) => self.members.together().merge(*others),
            Members::Named(members) => {
                for (name, others) in members {
                    self.members.of(&name, &mut 0).merge(others);
                }
            }
        }
    }

    /// How many places there are, this one among them.
    pub(super) fn places(&self) -> usize {
        let items = self.items.as_ref().map_or(0, |items| items.places());
        let members = match &self.members {
            Members::Named(members) => members.values().map(Self::places).sum(),
            Members::Any(all) => all.places(),
        };
        1 + items + members
    }

    /// Forgets what stands more than `depth` levels below.
    pub(super) fn forget_below(&mut self, depth: usize) {
        if depth == 0 {
            let members = !matches!(&self.members, Members::Named(members) if members.is_empty());
            self.deep |= members || self.items.is_some();
            self.items = None;
            self.members = Members::default();
            return;
        }
        if let Some(items) = &mut self.items {
            items.forget_below(depth - 1);
        }
        match &mut self.members {
            Members::Named(members) => members.values_mut().for_each(|of| of.forget_below(depth - 1)),
            Members::Any(all) => all.forget_below(depth - 1),
        }
    }
}

impl Members {
    /// The evidence of a member, which may be that of all.
    fn of(&mut self, name: &str, places: &mut usize) -> &mut Evidence {
        let fits = match self {
            Self::Any(_) => false,
            Self::Named(members) => {
                members.contains_key(name) || (members.len() < MEMBERS_MAX && name.len() <= NAME_BYTES_MAX)
            }
        };
        if !fits {
            return self.together();
        }
        match self {
            Self::Any(all) => all,
            Self::Named(members) => members.entry(name.to_owned()).or_insert_with(|| {
                *places += 1;
                Evidence::default()
            }),
        }
    }

    /// Puts all members together.
    fn together(&mut self) -> &mut Evidence {
        if let Self::Named(members) = self {
            let mut all = Evidence::default();
            std::mem::take(members).into_values().for_each(|of| all.merge(of));
            *self = Self::Any(Box::new(all));
        }
        match self {
            Self::Any(all) => all,
            Self::Named(_) => unreachable!("put together above"),
        }
    }

    /// The members by their names; none if there were too many.
    #[must_use]
    pub fn named(&self) -> Option<&BTreeMap<String, Evidence>> {
        match self {
            Self::Named(members) => Some(members),
            Self::Any(_) => None,
        }
    }
}
