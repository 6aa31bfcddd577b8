//! What a group of the consumer protocol is asked, and what it answers.

use std::collections::BTreeSet;
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use uuid::Uuid;

use super::{Assignor, Place};

const EXPRESSION_BYTES_MAX: usize = 1_024;
const COMPILED_BYTES_MAX: usize = 256 << 10;

/// An expression that a topic's whole name must match.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    given: String,
    compiled: Regex,
}

impl Expression {
    /// `None`: it is malformed, or would need too much memory. Kafka's syntax is RE2's, which Rust's is close
    /// to; neither has look-around or back-references.
    pub(crate) fn parse(given: &str) -> Option<Self> {
        if given.len() > EXPRESSION_BYTES_MAX {
            return None;
        }
        let whole = RegexBuilder::new(&format!("^(?:{given})$")).size_limit(COMPILED_BYTES_MAX).build();
        whole.ok().map(|compiled| Self { given: given.to_owned(), compiled })
    }

    pub(crate) fn given(&self) -> &str {
        &self.given
    }

    pub(crate) fn admits(&self, topic: &str) -> bool {
        self.compiled.is_match(topic)
    }
}

/// What it says is what it is.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given
    }
}

/// The topics that a member wants: those that it names, and those that its expression admits.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Subscription {
    pub(crate) names: BTreeSet<String>,
    pub(crate) expression: Option<Expression>,
}

impl Subscription {
    pub(crate) fn contains(&self, topic: &str) -> bool {
        self.names.contains(topic) || self.expression.as_ref().is_some_and(|one| one.admits(topic))
    }
}

/// The topics that there are.
pub(crate) struct Topics<'a> {
    /// A topic's id and number of partitions.
    pub(crate) find: &'a dyn Fn(&str) -> Option<(Uuid, i32)>,
    /// All names.
    pub(crate) names: &'a dyn Fn() -> Vec<String>,
}

/// What a member comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// To join, with nothing in its hands.
    Join,
    /// To go on at this epoch.
    Live {
        /// The member's epoch.
        epoch: i32,
    },
    /// To leave for good.
    Leave,
    /// To leave for a while, as static members do.
    Pause,
}

/// A heartbeat. What is `None` has not changed since the last one.
#[derive(Debug, Clone)]
pub(crate) struct Beat {
    pub(crate) member_id: String,
    pub(crate) step: Step,
    pub(crate) instance: Option<String>,
    pub(crate) rack: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) rebalance: Option<Duration>,
    pub(crate) subscription: Option<Subscription>,
    pub(crate) assignor: Option<Assignor>,
    pub(crate) owned: Option<BTreeSet<Place>>,
    /// The member has said everything about itself, and wants to know everything.
    pub(crate) complete: bool,
    pub(crate) members_max: usize,
}

/// What a member learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) member_id: String,
    pub(crate) epoch: i32,
    /// `None`: as it was told before.
    pub(crate) assigned: Option<BTreeSet<Place>>,
}
