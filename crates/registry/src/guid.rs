//! What tells schemas apart: the MD5 of their text, references, metadata and rules, as Confluent
//! computes it. Inside a context the same one means the same id.

use std::fmt;
use std::str::FromStr;

use md5::{Digest, Md5};

use crate::entity::{Metadata, Reference, RuleSet};

/// A schema's identity across contexts and registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid([u8; 16]);

impl Guid {
    /// The identity of a schema.
    #[must_use]
    pub fn of(
        text: &str,
        references: &[Reference],
        metadata: Option<&Metadata>,
        rules: Option<&RuleSet>,
    ) -> Self {
        let mut hash = Md5::new();
        hash.update(text);
        for reference in references {
            hash.update(&reference.name);
            hash.update(&reference.subject);
            hash.update(reference.version.to_be_bytes());
        }
        if let Some(metadata) = metadata {
            hash.update([1]);
            for (path, tags) in &metadata.tags {
                hash.update(path);
                tags.iter().for_each(|tag| hash.update(tag));
            }
            for (name, value) in &metadata.properties {
                hash.update(name);
                hash.update(value);
            }
            metadata.sensitive.iter().for_each(|name| hash.update(name));
        }
        if let Some(rules) = rules {
            hash.update([1]);
            add_rules(&mut hash, rules);
        }
        Self(hash.finalize().into())
    }
}

fn add_rules(hash: &mut Md5, rules: &RuleSet) {
    for rule in rules.migration_rules.iter().chain(&rules.domain_rules).chain(&rules.encoding_rules) {
        let texts = [
            rule.name.as_ref(),
            rule.doc.as_ref(),
            Some(&rule.kind),
            Some(&rule.mode),
            rule.executor.as_ref(),
        ];
        texts.into_iter().flatten().for_each(|text| hash.update(text));
        rule.tags.iter().for_each(|tag| hash.update(tag));
        for (name, value) in &rule.params {
            hash.update(name);
            hash.update(value);
        }
        let texts = [rule.expr.as_ref(), rule.on_success.as_ref(), rule.on_failure.as_ref()];
        texts.into_iter().flatten().for_each(|text| hash.update(text));
        if rule.disabled {
            hash.update([1]);
        }
    }
    if let Some(enable_at) = &rules.enable_at {
        hash.update(enable_at);
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for Guid {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text.chars().filter(|char| *char != '-').collect();
        let value = u128::from_str_radix(&digits, 16)?;
        Ok(Self(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guid_is_that_of_the_java_registry() {
        let guid = Guid::of("\"string\"", &[], None, None);
        assert_eq!(guid.to_string(), "095d71cf-1255-6b9d-5e33-0ad575b3df5d");
        assert_eq!(guid.to_string().parse(), Ok(guid));
    }

    #[test]
    fn references_metadata_and_rules_count() {
        let reference = Reference { name: "n".to_owned(), subject: "s".to_owned(), version: 1 };
        let all = [
            Guid::of("x", &[], None, None),
            Guid::of("x", &[reference], None, None),
            Guid::of("x", &[], Some(&Metadata::default()), None),
            Guid::of(
                "x",
                &[],
                None,
                Some(&RuleSet { enable_at: Some("y".to_owned()), ..RuleSet::default() }),
            ),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
