//! Answers: bodies in Confluent's order of members, content types, errors.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidegate_languages::Tagged;

use crate::command::lookup::Found;
use crate::entity::{Metadata, Reference, RuleSet};
use crate::problem::Problem;
use crate::service::Dialect;
use crate::state::{Text, Version};

/// The body of an answer that is yes: JSON, or nothing.
#[derive(Debug)]
pub(super) enum Answer {
    /// With this body.
    Body(Vec<u8>),
    /// It is done, and there is nothing to say.
    Done,
}

impl Answer {
    pub(super) fn json(value: &impl Serialize) -> Result<Option<Self>, Problem> {
        let bytes = serde_json::to_vec(value);
        bytes.map(|bytes| Some(Self::Body(bytes))).map_err(|error| Problem::new(500, error.to_string()))
    }

    pub(super) fn text(text: &str) -> Option<Self> {
        Some(Self::Body(text.as_bytes().to_vec()))
    }
}

const V1: &str = "application/vnd.schemaregistry.v1+json";
const VENDOR: &str = "application/vnd.schemaregistry+json";
const JSON: &str = "application/json";

/// The content type that a client asked for: the first of ours that its `Accept` names, by quality.
pub(super) fn content_type(headers: &HeaderMap) -> &'static str {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut best = (0.0, V1);
    for part in accept.split(',') {
        let mut parts = part.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok());
        let quality: f32 = quality.unwrap_or(1.0);
        let (ours, own) = match kind {
            V1 | "*/*" | "application/*" => (V1, 1.0),
            VENDOR => (VENDOR, 0.9),
            JSON => (JSON, 0.5),
            _ => continue,
        };
        if quality * own > best.0 {
            best = (quality * own, ours);
        }
    }
    best.1
}

/// The HTTP answer.
pub(super) fn respond(answer: Result<Answer, Problem>, content_type: &'static str) -> Response {
    let (status, body) = match answer {
        Ok(Answer::Body(body)) => (StatusCode::OK, body),
        Ok(Answer::Done) => return StatusCode::NO_CONTENT.into_response(),
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = serde_json::to_vec(&problem).unwrap_or_default();
            (status, body)
        }
    };
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let ask = HeaderValue::from_static("Basic realm=\"schema registry\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
    }
    response
}

/// What all answers about a schema have in common.
struct Told<'a> {
    guid: Option<String>,
    schema_type: Option<&'static str>,
    references: &'a [Reference],
    metadata: Option<&'a Metadata>,
    rules: Option<&'a RuleSet>,
}

fn tell(schema: &Text, dialect: Dialect) -> Told<'_> {
    let language = schema.language.as_str();
    Told {
        guid: (dialect == Dialect::V8).then(|| schema.guid.to_string()),
        schema_type: Some(language).filter(|language| dialect == Dialect::V8 || *language != "AVRO"),
        references: &schema.references,
        metadata: schema.metadata.as_ref(),
        rules: schema.rules.as_ref(),
    }
}

fn none_or_empty<T>(items: &&[T]) -> bool {
    items.is_empty()
}

/// What in a schema has tags.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchemaTags {
    schema_entity: SchemaEntity,
    tags: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SchemaEntity {
    entity_path: String,
    entity_type: &'static str,
}

impl From<Tagged> for SchemaTags {
    fn from(tagged: Tagged) -> Self {
        let Tagged { path, kind, tags } = tagged;
        Self { schema_entity: SchemaEntity { entity_path: path, entity_type: kind.as_str() }, tags }
    }
}

/// A version of a subject.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchemaBody<'a> {
    subject: String,
    version: i32,
    id: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    guid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_type: Option<&'static str>,
    #[serde(skip_serializing_if = "none_or_empty")]
    references: &'a [Reference],
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Metadata>,
    schema: &'a str,
    /// If they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema_tags: Option<Vec<SchemaTags>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
    /// The subjects that stand for this one, if they were asked for.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) aliases: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_set: Option<&'a RuleSet>,
}

impl<'a> SchemaBody<'a> {
    pub(super) fn of(found: &'a Found, schema: &'a str, dialect: Dialect) -> Self {
        let Told { guid, schema_type, references, metadata, rules } = tell(&found.entry.schema, dialect);
        Self {
            subject: found.subject.qualified(),
            version: found.version,
            id: found.entry.id,
            guid,
            schema_type,
            references,
            metadata,
            schema,
            schema_tags: None,
            ts: found.entry.written_at.filter(|_| dialect == Dialect::V8),
            deleted: (dialect == Dialect::V8).then_some(found.entry.deleted),
            aliases: &[],
            rule_set: rules,
        }
    }
}

/// A schema by its id.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchemaString<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_type: Option<&'static str>,
    schema: &'a str,
    #[serde(skip_serializing_if = "none_or_empty")]
    references: &'a [Reference],
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_set: Option<&'a RuleSet>,
    /// If they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema_tags: Option<Vec<SchemaTags>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
}

impl<'a> SchemaString<'a> {
    /// Of a schema, as the version of a subject that was found to have it.
    pub(super) fn of(stored: &'a Text, schema: &'a str, found: Option<&Version>, dialect: Dialect) -> Self {
        let Told { guid, schema_type, references, metadata, rules } = tell(stored, dialect);
        let found = found.filter(|_| dialect == Dialect::V8);
        Self {
            subject: None,
            version: None,
            guid,
            schema_type,
            schema,
            references,
            metadata,
            rule_set: rules,
            schema_tags: None,
            max_id: None,
            ts: found.and_then(|found| found.written_at),
            deleted: found.map(|found| found.deleted),
        }
    }
}

/// What registering came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registered<'a> {
    id: i32,
    version: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    guid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_type: Option<&'static str>,
    #[serde(skip_serializing_if = "none_or_empty")]
    references: &'a [Reference],
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_set: Option<&'a RuleSet>,
    schema: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
}

impl<'a> Registered<'a> {
    pub(super) fn of((version, entry): (i32, &'a Version), schema: &'a str, dialect: Dialect) -> Self {
        let Told { guid, schema_type, references, metadata, rules } = tell(&entry.schema, dialect);
        Self {
            id: entry.id,
            version,
            guid,
            schema_type,
            references,
            metadata,
            rule_set: rules,
            schema,
            ts: entry.written_at.filter(|_| dialect == Dialect::V8),
            deleted: (dialect == Dialect::V8).then_some(entry.deleted),
        }
    }
}

/// A subject with a version.
#[derive(Serialize)]
pub(super) struct SubjectVersion<'a> {
    pub(super) subject: &'a str,
    pub(super) version: i32,
}

/// Whether a schema may follow.
#[derive(Serialize)]
pub(super) struct Compatible {
    pub(super) is_compatible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<Vec<String>>,
}
