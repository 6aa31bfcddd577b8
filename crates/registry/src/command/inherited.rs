//! What a schema takes over: from the version before it, and from the settings of its subject.

use crate::command::SchemaRequest;
use crate::entity::{Config, Metadata, Rule, RuleSet};
use crate::state::{Text, Version};

/// The metadata property that repeats the version.
const VERSION_PROPERTY: &str = "confluent:version";

/// The request with what it leaves out taken from the latest version and from the settings. Without a text
/// it is the latest one's, with its references, that gets new metadata and rules.
pub(super) fn completed(request: &SchemaRequest, latest: Option<&Version>, config: Config) -> SchemaRequest {
    let mut request = request.clone();
    if let Some(latest) = latest
        && request.schema.as_deref().unwrap_or_default().trim().is_empty()
    {
        request.schema = Some(latest.schema.text.clone());
        request.schema_type = Some(latest.schema.language.as_str().to_owned());
        request.references = Some(latest.schema.references.clone());
    }
    said_about(&mut request, latest, config);
    request
}

/// Sets metadata and rules: the given ones or the latest version's, over the defaults, under the overrides.
pub(super) fn said_about(request: &mut SchemaRequest, latest: Option<&Version>, config: Config) {
    let metadata = request.metadata.take().or_else(|| latest?.schema.metadata.clone());
    let rules = request.rule_set.take().or_else(|| latest?.schema.rules.clone());
    let Config { default_metadata, override_metadata, default_rule_set, override_rule_set, .. } = config;
    request.metadata =
        [default_metadata, metadata, override_metadata].into_iter().flatten().reduce(merged_metadata);
    request.rule_set =
        [default_rule_set, rules, override_rule_set].into_iter().flatten().reduce(merged_rules);
}

/// The upper one's tags of a path, and its properties, replace the lower one's.
fn merged_metadata(mut below: Metadata, above: Metadata) -> Metadata {
    below.tags.extend(above.tags);
    below.properties.extend(above.properties);
    below.sensitive.extend(above.sensitive);
    below
}

/// The upper one's rules replace the lower one's of the same name.
fn merged_rules(below: RuleSet, above: RuleSet) -> RuleSet {
    let merge = |below: Vec<Rule>, above: Vec<Rule>| -> Vec<Rule> {
        let mut all: Vec<Rule> =
            below.into_iter().filter(|rule| above.iter().all(|other| other.name != rule.name)).collect();
        all.extend(above);
        all
    };
    RuleSet {
        migration_rules: merge(below.migration_rules, above.migration_rules),
        domain_rules: merge(below.domain_rules, above.domain_rules),
        encoding_rules: merge(below.encoding_rules, above.encoding_rules),
        enable_at: above.enable_at.or(below.enable_at),
    }
}

/// Says in the metadata which version it is, if the metadata said one before, or `always`.
pub(super) fn state_version(text: &mut Text, version: i32, always: bool) {
    if !always && stated_version(text.metadata.as_ref()).is_none() {
        return;
    }
    let properties = &mut text.metadata.get_or_insert_default().properties;
    properties.insert(VERSION_PROPERTY.to_owned(), version.to_string());
    text.state_guid();
}

/// Whether what is said about a schema is what is said about a stored version. If one side alone says
/// which version it is, it has to be right.
pub(super) fn same_metadata(ours: Option<&Metadata>, stored: Option<&Metadata>, version: i32) -> bool {
    match (stated_version(ours), stated_version(stored)) {
        (None, Some(_)) => without_version(ours) == without_version(stored),
        (Some(said), None) => said.parse() == Ok(version) && without_version(ours) == without_version(stored),
        (Some(_), Some(_)) | (None, None) => ours == stored,
    }
}

fn stated_version(metadata: Option<&Metadata>) -> Option<&str> {
    metadata?.properties.get(VERSION_PROPERTY).map(String::as_str)
}

fn without_version(metadata: Option<&Metadata>) -> Metadata {
    let mut metadata = metadata.cloned().unwrap_or_default();
    metadata.properties.remove(VERSION_PROPERTY);
    metadata
}
