//! The records of the registry's topic, byte for byte as Confluent writes them.
//!
//! Compaction compares keys by their bytes, so the order of members counts. Whatever cannot be read is
//! none of ours and is left alone.

use serde::{Deserialize, Serialize};

use crate::entity::{Config, Metadata, Mode, Reference, RuleSet};

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A version of a subject.
    Schema {
        /// The qualified subject.
        subject: String,
        /// The version.
        version: i32,
    },
    /// Settings of a scope; of everything, if it is empty.
    Config(String),
    /// The mode of a scope.
    Mode(String),
    /// Nothing: whoever wrote it wants to know where the log ends.
    Noop,
    /// A subject that was soft-deleted.
    DeleteSubject(String),
    /// A scope whose soft-deleted versions are forgotten.
    ClearSubject(String),
    /// A context that exists.
    Context(String),
}

#[derive(Serialize)]
struct WireKey<'a> {
    keytype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i32>,
    magic: i32,
}

impl Key {
    /// Reads a key; `None` of kinds that we do not act on, and of what is none.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        // A text with escapes cannot be borrowed.
        #[derive(Deserialize)]
        struct Kind {
            keytype: String,
            context: Option<String>,
            subject: Option<String>,
            version: Option<i32>,
            magic: Option<i32>,
        }
        let key: Kind = serde_json::from_slice(bytes).ok()?;
        let magic = key.magic.unwrap_or(0);
        let scope = key.subject.clone().unwrap_or_default();
        Some(match key.keytype.as_str() {
            "SCHEMA" if magic <= 1 => Self::Schema { subject: key.subject?, version: key.version? },
            "CONFIG" if magic == 0 => Self::Config(scope),
            "MODE" if magic == 0 => Self::Mode(scope),
            "NOOP" => Self::Noop,
            "DELETE_SUBJECT" if magic == 0 => Self::DeleteSubject(key.subject?),
            "CLEAR_SUBJECT" if magic == 0 => Self::ClearSubject(scope),
            "CONTEXT" if magic == 0 => Self::Context(key.context?),
            _ => return None,
        })
    }

    /// The key's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let scope = |scope: &String| Some(scope.clone()).filter(|scope| !scope.is_empty());
        let mut key =
            WireKey { keytype: "", tenant: None, context: None, subject: None, version: None, magic: 0 };
        match self {
            Self::Schema { subject, version } => {
                key = WireKey {
                    keytype: "SCHEMA",
                    subject: Some(subject.clone()),
                    version: Some(*version),
                    magic: 1,
                    ..key
                }
            }
            Self::Config(subject) => key = WireKey { keytype: "CONFIG", subject: scope(subject), ..key },
            Self::Mode(subject) => key = WireKey { keytype: "MODE", subject: scope(subject), ..key },
            Self::Noop => key.keytype = "NOOP",
            Self::DeleteSubject(subject) => {
                key = WireKey { keytype: "DELETE_SUBJECT", subject: scope(subject), ..key }
            }
            Self::ClearSubject(subject) => {
                key = WireKey { keytype: "CLEAR_SUBJECT", subject: scope(subject), ..key }
            }
            Self::Context(context) => {
                key = WireKey {
                    keytype: "CONTEXT",
                    tenant: Some("default".to_owned()),
                    context: Some(context.clone()),
                    ..key
                }
            }
        }
        json(&key)
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers are JSON")
}

/// A version of a subject, as a record's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchemaValue {
    /// The qualified subject.
    pub subject: String,
    /// The version.
    pub version: i32,
    /// The id.
    pub id: i32,
    /// The language; of Avro, old registries say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_type: Option<String>,
    /// What it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<Vec<Reference>>,
    /// What people say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_set: Option<RuleSet>,
    /// Its text.
    pub schema: String,
    /// Whether it is soft-deleted.
    #[serde(default)]
    pub deleted: bool,
}

/// A whole subject's soft deletion, or a scope's clearing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectValue {
    /// The qualified subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Versions up to this one are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
}

/// Settings, with the scope that they are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigValue {
    /// The scope; absent of everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The settings.
    #[serde(flatten)]
    pub config: Config,
}

/// A mode, with the scope that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeValue {
    /// The scope; absent of everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The mode.
    pub mode: Mode,
}

/// What a record says; `None` takes back what an earlier one of the same key said.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of [`Key::Schema`].
    Schema(Box<SchemaValue>),
    /// Of [`Key::Config`].
    Config(Box<ConfigValue>),
    /// Of [`Key::Mode`].
    Mode(ModeValue),
    /// Of [`Key::DeleteSubject`] and [`Key::ClearSubject`].
    Subject(SubjectValue),
    /// Of [`Key::Context`].
    Context,
}

impl Value {
    /// Reads the value of a key.
    ///
    /// # Errors
    /// With the reader's words, if it is not what such a key has.
    pub fn read(key: &Key, bytes: &[u8]) -> Result<Option<Self>, String> {
        fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
            serde_json::from_slice(bytes).map_err(|error| error.to_string())
        }
        Ok(Some(match key {
            Key::Schema { .. } => Self::Schema(Box::new(parse(bytes)?)),
            Key::Config(_) => Self::Config(Box::new(parse(bytes)?)),
            Key::Mode(_) => Self::Mode(parse(bytes)?),
            Key::Noop => return Ok(None),
            Key::DeleteSubject(_) | Key::ClearSubject(_) => Self::Subject(parse(bytes)?),
            Key::Context(_) => Self::Context,
        }))
    }

    /// The value's bytes under a key.
    #[must_use]
    pub fn to_bytes(&self, key: &Key) -> Vec<u8> {
        match self {
            Self::Schema(value) => json(value),
            Self::Config(value) => json(value),
            Self::Mode(value) => json(value),
            Self::Subject(value) => json(value),
            Self::Context => {
                let Key::Context(context) = key else { return b"{}".to_vec() };
                json(&serde_json::json!({ "tenant": "default", "context": context }))
            }
        }
    }
}

/// A record that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What it is about.
    pub key: Key,
    /// What it says.
    pub value: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(key: &str) {
        assert_eq!(String::from_utf8(Key::read(key.as_bytes()).unwrap().to_bytes()).unwrap(), key);
    }

    #[test]
    fn keys_are_written_as_they_are_read() {
        same(r#"{"keytype":"SCHEMA","subject":"s1","version":1,"magic":1}"#);
        same(r#"{"keytype":"CONFIG","magic":0}"#);
        same(r#"{"keytype":"CONFIG","subject":"s1","magic":0}"#);
        same(r#"{"keytype":"MODE","subject":":.c:s1","magic":0}"#);
        same(r#"{"keytype":"NOOP","magic":0}"#);
        same(r#"{"keytype":"DELETE_SUBJECT","subject":"s1","magic":0}"#);
        same(r#"{"keytype":"CLEAR_SUBJECT","magic":0}"#);
        same(r#"{"keytype":"CONTEXT","tenant":"default","context":".ctx1","magic":0}"#);
    }

    #[test]
    fn keys_of_other_kinds_and_noise_are_none_of_ours() {
        assert_eq!(Key::read(br#"{"keytype":"ASSOC","magic":0}"#), None);
        assert_eq!(Key::read(b"\x00\x01"), None);
        let other_order = br#"{"magic":1,"version":2,"subject":"a\"b","keytype":"SCHEMA","seq":3}"#;
        assert_eq!(Key::read(other_order), Some(Key::Schema { subject: "a\"b".to_owned(), version: 2 }));
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        let schema = r#"{"subject":"s1","version":1,"id":1,"schemaType":"JSON","references":[{"name":"n","subject":"s","version":2}],"metadata":{"properties":{"a":"b"}},"ruleSet":{"domainRules":[{"name":"r","kind":"CONDITION","mode":"WRITE","type":"CEL","expr":"x","disabled":false}]},"schema":"{}","deleted":false}"#;
        let config = r#"{"subject":"s1","normalize":true,"compatibilityLevel":"FULL_TRANSITIVE","compatibilityGroup":"g"}"#;
        let cases = [
            (Key::Schema { subject: "s1".to_owned(), version: 1 }, schema),
            (Key::Config("s1".to_owned()), config),
            (Key::Config(String::new()), r#"{"compatibilityLevel":"FULL"}"#),
            (Key::Mode("s1".to_owned()), r#"{"subject":"s1","mode":"READONLY_OVERRIDE"}"#),
            (Key::DeleteSubject("s1".to_owned()), r#"{"subject":"s1","version":3}"#),
        ];
        for (key, text) in cases {
            let value = Value::read(&key, text.as_bytes()).unwrap().unwrap();
            assert_eq!(String::from_utf8(value.to_bytes(&key)).unwrap(), text);
        }
    }
}
