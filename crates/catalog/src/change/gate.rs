//! Who must say yes to a change.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Whether a change may be made. What it must be proved not to harm is asked besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum Gate {
    /// It needs nobody's word.
    Open,
    /// Somebody asked for it by name.
    Asked {
        /// The flag that did.
        flag: String,
    },
    /// It must be asked for.
    Needs {
        /// The flag that does.
        flag: String,
    },
    /// It is not made.
    Closed {
        /// Why, and what to do instead.
        why: String,
    },
}

/// What a person allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permission {
    /// The tables and columns (`table.column`) that may be changed in a way that others notice.
    pub allow: BTreeSet<String>,
    /// The tables and columns that may be dropped.
    pub drop: BTreeSet<String>,
    /// Whether the catalog's policy lets changes through without a flag.
    pub destructive: bool,
    /// How long a removed field's column stays, in days.
    pub deprecate_days: u32,
    /// The server's day: `2026-11-22`.
    pub today: String,
}

impl Permission {
    /// The gate of a change that must be asked for by `--allow`.
    #[must_use]
    pub(super) fn gate(&self, thing: &str) -> Gate {
        let flag = format!("--allow {thing}");
        if self.destructive || self.allow.contains(thing) {
            Gate::Asked { flag }
        } else {
            Gate::Needs { flag }
        }
    }

    pub(super) fn dropped(&self, thing: &str) -> bool {
        self.drop.contains(thing)
    }
}
