//! Names that the catalog gives, in the order in which it gives them.

use std::fmt;

use indexmap::IndexMap;
use serde_json::{Value, json};
use tidegate_yaml::Mistake;
use tidegate_yaml::node::{Node, NodeKind};
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::{Definitions, Located, Shape, Word, quoted};

/// The longest name. Tables are files, and a rollup's name is joined from two.
const BYTES_MAX: usize = 100;
const PATTERN: &str = "^[a-z][a-z0-9_]{0,99}$";

/// A name: lower-case letters, digits and `_`, a letter first. It is a column, a table, a JSON member, an
/// Avro name and a Protobuf field without being changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Name {
    /// The name with `_` and `mark` behind it, cut so that it stays a name.
    pub(crate) fn marked(&self, mark: &str) -> Self {
        let room = BYTES_MAX.saturating_sub(mark.len() + 1);
        // Names are ASCII.
        let head = self.0.get(..room.min(self.0.len())).unwrap_or_default().trim_end_matches('_');
        Self(format!("{head}_{mark}"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn legal(text: &str) -> bool {
    text.len() <= BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !text.contains("__")
}

const RULE: &str =
    "names have lower-case letters, digits and single `_`, begin with a letter, and have at most 100";

impl Word for Name {
    const EXPECTED: &'static str = "a name such as `video_viewed`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        if legal(text) { Ok(Self(text.to_owned())) } else { Err(Some(RULE)) }
    }

    fn word_schema() -> Value {
        json!({"type": "string", "pattern": PATTERN})
    }
}

/// Named things in the file's order, each with the place of its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Names<T> {
    map: IndexMap<String, Located<T>>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { map: IndexMap::new() }
    }
}

impl<T> Names<T> {
    /// The thing of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.map.get(name).map(|located| &located.value)
    }

    /// Whether something has that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// Names with their things, in the file's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.map.iter().map(|(name, located)| (name.as_str(), &located.value))
    }

    /// As [`Names::iter`], with the place of each name.
    pub fn located(&self) -> impl ExactSizeIterator<Item = (&str, &Located<T>)> {
        self.map.iter().map(|(name, located)| (name.as_str(), located))
    }

    /// The names, in the file's order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.map.keys().map(String::as_str)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }
}

impl<T: Shape> Shape for Names<T> {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        let NodeKind::Map(entries) = &node.kind else {
            cx.wrong_type(node, "a mapping");
            return None;
        };
        let mut complete = true;
        let mut map = IndexMap::with_capacity(entries.len());
        for entry in entries {
            if !legal(&entry.key) {
                let message = format!("{} cannot be a name", quoted(&entry.key));
                cx.report(Mistake::BadValue, entry.key_at, message, Some(RULE.to_owned()));
                complete = false;
            }
            match T::read(&entry.value, cx) {
                Some(value) => drop(map.insert(entry.key.clone(), Located { at: entry.key_at, value })),
                None => complete = false,
            }
        }
        complete.then_some(Self { map })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({
            "type": "object",
            "propertyNames": {"pattern": PATTERN},
            "additionalProperties": T::schema(definitions),
        })
    }
}
