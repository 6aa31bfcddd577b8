//! What schemas carry besides their text, in the order in which the registry writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::problem::Problem;

/// Members that are null count as absent.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// A schema's mention of another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// How the schema's text names it.
    #[serde(default, deserialize_with = "nullable")]
    pub name: String,
    /// Where it is registered.
    #[serde(default, deserialize_with = "nullable")]
    pub subject: String,
    /// As which version; -1 is the latest.
    #[serde(default, deserialize_with = "nullable")]
    pub version: i32,
}

/// What people say about a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Tags by the path of what they are on.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, BTreeSet<String>>,
    /// Anything by name.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Properties whose values are secret.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeSet::is_empty")]
    pub sensitive: BTreeSet<String>,
}

/// Rules that serialisers carry out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleSet {
    /// Between versions.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub migration_rules: Vec<Rule>,
    /// On values.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub domain_rules: Vec<Rule>,
    /// On bytes.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub encoding_rules: Vec<Rule>,
    /// From which release on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_at: Option<String>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it says about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// CONDITION or TRANSFORM.
    #[serde(default = "transform", deserialize_with = "or_transform")]
    pub kind: String,
    /// When it applies.
    #[serde(default = "write_read", deserialize_with = "or_write_read")]
    pub mode: String,
    /// Who carries it out.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// What it applies to.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Its settings.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// What follows when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_success: Option<String>,
    /// What follows when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<String>,
    /// Whether it is off.
    #[serde(default, deserialize_with = "nullable")]
    pub disabled: bool,
}

fn transform() -> String {
    "TRANSFORM".to_owned()
}

fn write_read() -> String {
    "WRITEREAD".to_owned()
}

fn or_transform<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(from).map(|kind| kind.unwrap_or_else(transform))
}

fn or_write_read<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(from).map(|mode| mode.unwrap_or_else(write_read))
}

impl RuleSet {
    /// Whether one of its rules is carried out by this executor.
    #[must_use]
    pub fn has_type(&self, executor: &str) -> bool {
        let all = [&self.migration_rules, &self.domain_rules, &self.encoding_rules];
        all.into_iter().flatten().any(|rule| rule.executor.as_deref() == Some(executor))
    }

    /// # Errors
    /// If rules have no or equal names, no type, or a mode that is not of their list.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let migration = ("Migration", &self.migration_rules, ["UPGRADE", "DOWNGRADE", "UPDOWN"]);
        let others = [("Domain", &self.domain_rules), ("Encoding", &self.encoding_rules)]
            .map(|(list, rules)| (list, rules, ["WRITE", "READ", "WRITEREAD"]));
        let mut names = BTreeSet::new();
        for (list, rules, modes) in std::iter::once(migration).chain(others) {
            for rule in rules {
                let name = rule.name.as_deref().unwrap_or_default();
                if !names.insert(&rule.name) {
                    return Err(Problem::new(42210, format!("Found rule with duplicate name '{name}'")));
                }
                rule.check()?;
                if !modes.contains(&rule.mode.as_str()) {
                    let modes = modes.join(", ");
                    let found = &rule.mode;
                    let message = format!("{list} rules can only be {modes}; rule '{name}' is {found}");
                    return Err(Problem::new(42210, message));
                }
            }
        }
        Ok(())
    }
}

impl Rule {
    fn check(&self) -> Result<(), Problem> {
        let refuse = |message: String| Err(Problem::new(42210, message));
        let Some(name) = &self.name else { return refuse("Missing rule name".to_owned()) };
        let mut chars = name.chars();
        match chars.next() {
            None => return refuse("Empty rule name".to_owned()),
            Some(first) if !(first.is_alphabetic() || first == '_') => {
                return refuse(format!("Illegal initial character in rule name: {name}"));
            }
            Some(_) => {}
        }
        if !chars.all(|char| char.is_alphanumeric() || char == '_') {
            return refuse(format!("Illegal character in rule name: {name}"));
        }
        if self.executor.is_none() {
            return refuse("Missing rule type".to_owned());
        }
        if self.kind != "CONDITION" && self.kind != "TRANSFORM" {
            return refuse(format!(
                "rule '{name}' is of kind {}; expected CONDITION or TRANSFORM",
                self.kind
            ));
        }
        Ok(())
    }
}

/// How much a new version may differ from the old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// As it likes.
    None,
    /// It reads what the version before wrote.
    Backward,
    /// It reads what any version wrote.
    BackwardTransitive,
    /// The version before reads what it writes.
    Forward,
    /// Every version does.
    ForwardTransitive,
    /// Both ways with the version before.
    Full,
    /// Both ways with every version.
    FullTransitive,
}

impl Level {
    const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// Whether all versions count, not the newest alone.
    #[must_use]
    pub const fn transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }
}

impl FromStr for Level {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().find(|level| level.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            Problem::new(
                42203,
                "Invalid compatibility level. Valid values are none, backward, forward, full, \
                 backward_transitive, forward_transitive, and full_transitive",
            )
        })
    }
}

/// What a subject allows to be done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// Everything.
    ReadWrite,
    /// Nothing, but the mode may be changed.
    ReadOnly,
    /// Nothing, whatever a subject's own mode says.
    #[serde(rename = "READONLY_OVERRIDE")]
    ReadOnlyOverride,
    /// Schemas with given ids.
    Import,
    /// Writes of a replicating registry alone.
    Forward,
}

impl Mode {
    const ALL: [Self; 5] =
        [Self::ReadWrite, Self::ReadOnly, Self::ReadOnlyOverride, Self::Import, Self::Forward];

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "READWRITE",
            Self::ReadOnly => "READONLY",
            Self::ReadOnlyOverride => "READONLY_OVERRIDE",
            Self::Import => "IMPORT",
            Self::Forward => "FORWARD",
        }
    }

    /// Whether schemas come with ids of their own.
    #[must_use]
    pub const fn imports(self) -> bool {
        matches!(self, Self::Import | Self::Forward)
    }

    /// Whether nothing may be written.
    #[must_use]
    pub const fn read_only(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadOnlyOverride)
    }
}

impl FromStr for Mode {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            Problem::new(
                42204,
                "Invalid mode. Valid values are READWRITE, READONLY, READONLY_OVERRIDE, IMPORT and FORWARD.",
            )
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The settings of a subject, a context or all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// Another subject that this one stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Whether that holds for encryption keys too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias_for_deks: Option<bool>,
    /// Whether new schemas are normalised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<bool>,
    /// Whether the names of fields are checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_fields: Option<bool>,
    /// Whether new schemas are checked at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_new_schemas: Option<bool>,
    /// Whether rules are checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_rules: Option<bool>,
    /// How much new versions may differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatibility_level: Option<Level>,
    /// STRICT, LENIENT or LOGICAL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatibility_policy: Option<String>,
    /// The metadata property whose value says which versions are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatibility_group: Option<String>,
    /// Metadata of schemas that bring none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_metadata: Option<Metadata>,
    /// Metadata over what schemas bring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_metadata: Option<Metadata>,
    /// Rules of schemas that bring none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_rule_set: Option<RuleSet>,
    /// Rules over what schemas bring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_rule_set: Option<RuleSet>,
}

impl Config {
    /// What is said here, and where nothing is, what the other says.
    #[must_use]
    pub(crate) fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            alias: self.alias,
            alias_for_deks: self.alias_for_deks,
            normalize: self.normalize.or(other.normalize),
            validate_fields: self.validate_fields.or(other.validate_fields),
            validate_new_schemas: self.validate_new_schemas.or(other.validate_new_schemas),
            validate_rules: self.validate_rules.or(other.validate_rules),
            compatibility_level: self.compatibility_level.or(other.compatibility_level),
            compatibility_policy: self.compatibility_policy.or(other.compatibility_policy),
            compatibility_group: self.compatibility_group.or(other.compatibility_group),
            default_metadata: self.default_metadata.or(other.default_metadata),
            override_metadata: self.override_metadata.or(other.override_metadata),
            default_rule_set: self.default_rule_set.or(other.default_rule_set),
            override_rule_set: self.override_rule_set.or(other.override_rule_set),
        }
    }
}
